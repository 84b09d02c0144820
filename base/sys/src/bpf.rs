//! bpf(2): the commands that the `aya` crate lacks or ties to its own objects: batch operations, links by interface index,
//! atomic link updates, pins. Map keys and values are bytes; their types live with the maps' definition.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

// Commands, uapi/linux/bpf.h.
const MAP_LOOKUP_ELEM: u32 = 1;
const MAP_UPDATE_ELEM: u32 = 2;
const MAP_DELETE_ELEM: u32 = 3;
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const PROG_ATTACH: u32 = 8;
const MAP_LOOKUP_BATCH: u32 = 24;
const MAP_UPDATE_BATCH: u32 = 26;
const MAP_DELETE_BATCH: u32 = 27;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

/// Where a link holds its program; the numbers are the kernel's `bpf_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    Inet4Connect = 10,
    Inet6Connect = 11,
    Udp4Sendmsg = 14,
    Udp6Sendmsg = 15,
    Udp4Recvmsg = 19,
    Udp6Recvmsg = 20,
    Inet4Getpeername = 29,
    Inet6Getpeername = 30,
    TcxIngress = 46,
    TcxEgress = 47,
}

#[repr(C)]
struct ElemAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ObjAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
struct LinkCreateAttr {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// One bpf(2) call.
fn bpf<T>(command: u32, attr: &mut T) -> io::Result<i32> {
    let size = size_of::<T>();
    // SAFETY: the kernel reads and writes `size` bytes of `attr`; every pointer inside comes from a slice that the caller
    // borrows across the call, with the length that the map's key and value sizes demand (asserted by `Sizes::check`).
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A map with the sizes of its key and value, against which every access is checked.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// The sizes are the kernel's own, so that no caller can hand over a buffer that the kernel would overrun.
    pub fn new(fd: OwnedFd) -> io::Result<Map> {
        let (key_size, value_size) = map_sizes(fd.as_fd())?;
        Ok(Map { fd, key_size, value_size })
    }

    pub fn open(pin: &Path) -> io::Result<Map> {
        Map::new(get(pin)?)
    }

    fn elem(&self, command: u32, key: &[u8], value: u64, flags: u64) -> io::Result<()> {
        assert_eq!(key.len(), self.key_size, "a key has its map's size");
        let mut attr =
            ElemAttr { map_fd: raw(self.fd.as_fd()), pad: 0, key: key.as_ptr() as u64, value, flags };
        bpf(command, &mut attr).map(drop)
    }

    /// `None`: no such key.
    pub fn lookup(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_size];
        match self.elem(MAP_LOOKUP_ELEM, key, value.as_mut_ptr() as u64, 0) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        assert_eq!(value.len(), self.value_size, "a value has its map's size");
        self.elem(MAP_UPDATE_ELEM, key, value.as_ptr() as u64, 0)
    }

    /// An absent key is success.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        match self.elem(MAP_DELETE_ELEM, key, 0, 0) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes many elements in one call; keys and values lie one after another.
    pub fn update_batch(&self, keys: &[u8], values: &[u8]) -> io::Result<()> {
        let count = keys.len() / self.key_size;
        assert_eq!(keys.len(), count * self.key_size, "whole keys");
        assert_eq!(values.len(), count * self.value_size, "a value for each key");
        self.batch(MAP_UPDATE_BATCH, keys.as_ptr() as u64, values.as_ptr() as u64, count)
    }

    pub fn delete_batch(&self, keys: &[u8]) -> io::Result<()> {
        let count = keys.len() / self.key_size;
        assert_eq!(keys.len(), count * self.key_size, "whole keys");
        self.batch(MAP_DELETE_BATCH, keys.as_ptr() as u64, 0, count)
    }

    fn batch(&self, command: u32, keys: u64, values: u64, count: usize) -> io::Result<()> {
        if count == 0 {
            return Ok(());
        }
        let mut attr = BatchAttr {
            in_batch: 0,
            out_batch: 0,
            keys,
            values,
            count: count as u32,
            map_fd: raw(self.fd.as_fd()),
            elem_flags: 0,
            flags: 0,
        };
        bpf(command, &mut attr).map(drop)
    }

    /// Every element, as keys and values one after another. A map that changes meanwhile yields some mixture.
    pub fn dump(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut all_keys, mut all_values) = (Vec::new(), Vec::new());
        let mut chunk = 4096;
        // A hash map's cursor is four bytes, whatever the key.
        let mut cursor = [0u8; 64];
        let mut started = false;
        loop {
            let mut keys = vec![0; chunk * self.key_size];
            let mut values = vec![0; chunk * self.value_size];
            let cursor_at = cursor.as_mut_ptr() as u64;
            let mut attr = BatchAttr {
                in_batch: if started { cursor_at } else { 0 },
                out_batch: cursor_at,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: chunk as u32,
                map_fd: raw(self.fd.as_fd()),
                elem_flags: 0,
                flags: 0,
            };
            let result = bpf(MAP_LOOKUP_BATCH, &mut attr);
            let end = match &result {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                // One bucket holds more than a whole chunk.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && chunk < 1 << 20 => {
                    chunk *= 2;
                    continue;
                }
                Err(_) => return result.map(|_| unreachable!("matched above")),
            };
            let count = (attr.count as usize).min(chunk);
            all_keys.extend_from_slice(&keys[..count * self.key_size]);
            all_values.extend_from_slice(&values[..count * self.value_size]);
            if end {
                return Ok((all_keys, all_values));
            }
            started = true;
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The head of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

const OBJ_GET_INFO_BY_FD: u32 = 15;

/// Per-CPU maps are not served: their values are longer than the size says.
fn map_sizes(fd: BorrowedFd<'_>) -> io::Result<(usize, usize)> {
    let mut info = MapInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: raw(fd),
        info_len: size_of::<MapInfo>() as u32,
        info: std::ptr::from_mut(&mut info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    const PER_CPU: [u32; 3] = [5, 6, 10];
    if PER_CPU.contains(&info.kind) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok((info.key_size as usize, info.value_size as usize))
}

/// Gives a map, program or link a name in a bpffs, by which it outlives its process.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr { pathname: path.as_ptr() as u64, bpf_fd: raw(fd), file_flags: 0 };
    bpf(OBJ_PIN, &mut attr).map(drop)
}

/// Opens what is pinned at `path`.
pub fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjAttr { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    bpf(OBJ_GET, &mut attr).map(owned)
}

/// Attaches a program to an interface of the calling thread's network namespace by tcx. EINVAL: the kernel is before 6.6.
pub fn link_interface(program: BorrowedFd<'_>, ifindex: u32, at: AttachType) -> io::Result<OwnedFd> {
    link_create(raw(program), ifindex, at)
}

/// Attaches a program to a cgroup, beside whatever else is attached there.
pub fn link_cgroup(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, at: AttachType) -> io::Result<OwnedFd> {
    link_create(raw(program), raw(cgroup), at)
}

fn link_create(prog_fd: u32, target: u32, at: AttachType) -> io::Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        prog_fd,
        target,
        attach_type: at as u32,
        flags: 0,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    bpf(LINK_CREATE, &mut attr).map(owned)
}

/// Replaces a link's program between two packets. ENOLINK: its interface or cgroup is gone.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdateAttr { link_fd: raw(link), new_prog_fd: raw(program), flags: 0, old_prog_fd: 0 };
    bpf(LINK_UPDATE, &mut attr).map(drop)
}

/// Takes the program off although pins may keep the link object.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut link_fd = raw(link);
    bpf(LINK_DETACH, &mut link_fd).map(drop)
}

/// The head of the attributes of BPF_PROG_LOAD.
#[repr(C)]
struct ProgLoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
struct ProgAttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program that decides about a cgroup's device files (BPF_PROG_TYPE_CGROUP_DEVICE), as its instructions.
pub fn load_device_program(instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    const CGROUP_DEVICE: u32 = 15;
    let mut attr = ProgLoadAttr {
        prog_type: CGROUP_DEVICE,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"kedge_devices\0\0\0",
    };
    bpf(PROG_LOAD, &mut attr).map(owned)
}

/// Attaches it for as long as the cgroup lives, beside those of the groups above: each of them must agree.
pub fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<()> {
    const DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let mut attr = ProgAttachAttr {
        target_fd: raw(cgroup),
        attach_bpf_fd: raw(program),
        attach_type: DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// The kernel's number for the network namespace that a socket belongs to, as `bpf_get_netns_cookie` gives it.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has that size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
