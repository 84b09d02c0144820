//! The mount API of Linux 5.2 and later: mounts are made as descriptors and put in place by descriptor, so no path of a
//! container is ever followed by a mount.

use std::ffi::{CStr, c_int, c_uint};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::Errno;

/// MOUNT_ATTR_* of `linux/mount.h`.
pub mod attr {
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const IDMAP: u64 = 0x0010_0000;
}

/// How a mount takes part in propagation (`mount_setattr`'s field of this name).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
}

const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_SET_FD: c_uint = 5;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const OPEN_TREE_CLONE: c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;

fn check(result: libc::c_long) -> Result<(), Errno> {
    if result < 0 { Err(crate::last_errno()) } else { Ok(()) }
}

fn own(result: libc::c_long) -> Result<OwnedFd, Errno> {
    check(result)?;
    // SAFETY: the kernel has just returned this descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

/// A filesystem under construction.
#[derive(Debug)]
pub struct Fs(OwnedFd);

impl Fs {
    pub fn open(fstype: &CStr) -> Result<Fs, Errno> {
        // SAFETY: a terminated string and flags.
        own(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), 1) }).map(Fs)
    }

    pub fn set_string(&self, key: &CStr, value: &CStr) -> Result<(), Errno> {
        self.config(FSCONFIG_SET_STRING, Some(key), Some(value), 0)
    }

    pub fn set_flag(&self, key: &CStr) -> Result<(), Errno> {
        self.config(FSCONFIG_SET_FLAG, Some(key), None, 0)
    }

    pub fn set_fd(&self, key: &CStr, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.config(FSCONFIG_SET_FD, Some(key), None, fd.as_raw_fd())
    }

    /// Creates the superblock and a detached mount of it.
    pub fn mount(self, attributes: u64) -> Result<OwnedFd, Errno> {
        self.create()?;
        // SAFETY: a descriptor and plain numbers.
        own(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), 1, attributes as c_uint) })
    }

    pub fn create(&self) -> Result<(), Errno> {
        self.config(FSCONFIG_CMD_CREATE, None, None, 0)
    }

    fn config(&self, cmd: c_uint, key: Option<&CStr>, value: Option<&CStr>, aux: c_int) -> Result<(), Errno> {
        let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: strings are terminated or null where the command takes none.
        check(unsafe {
            libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), cmd, pointer(key), pointer(value), aux)
        })
    }
}

/// A detached copy of the mount at `path` (empty: at `dir` itself), with everything mounted below it if `is_recursive`.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, is_recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as c_uint | libc::AT_EMPTY_PATH as c_uint;
    if is_recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: a terminated path and flags.
    own(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })
}

/// Puts a detached mount on top of what `target` points at.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to, none) = (mount.as_raw_fd(), target.as_raw_fd(), c"".as_ptr());
    // SAFETY: descriptors and empty paths.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, none, to, none, flags) })
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}
const _: () = assert!(size_of::<MountAttr>() == 32);

/// A change of mount attributes.
#[derive(Debug, Default)]
pub struct SetAttributes<'a> {
    pub set: u64,
    pub clear: u64,
    pub propagation: Option<Propagation>,
    /// Idmaps the mount by this user namespace (then `attr::IDMAP` is set as well).
    pub user_namespace: Option<BorrowedFd<'a>>,
    pub is_recursive: bool,
}

pub fn set_attributes(mount: BorrowedFd<'_>, change: &SetAttributes<'_>) -> Result<(), Errno> {
    let attr = MountAttr {
        set: change.set | if change.user_namespace.is_some() { attr::IDMAP } else { 0 },
        clear: change.clear,
        propagation: change.propagation.map_or(0, |propagation| match propagation {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        }),
        userns_fd: change.user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if change.is_recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let (fd, size) = (mount.as_raw_fd(), size_of::<MountAttr>());
    // SAFETY: the structure is the kernel's and its size is passed.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, ptr::from_ref(&attr), size)
    })
}

/// Changes the propagation of everything below `/` in this mount namespace.
pub fn set_root_propagation(propagation: Propagation) -> Result<(), Errno> {
    let kind = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::Slave => libc::MS_SLAVE,
        Propagation::Shared => libc::MS_SHARED,
    };
    // SAFETY: a constant path; the other pointers may be null for a propagation change.
    check(
        unsafe { libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), kind | libc::MS_REC, ptr::null()) }
            .into(),
    )
}

/// Makes the current directory the root and the old root unreachable: `pivot_root(".", ".")`, then a lazy unmount.
pub fn pivot_into_current_directory() -> Result<(), Errno> {
    let here = c".".as_ptr();
    // SAFETY: constant paths.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, here, here) })?;
    unmount_lazily(c".")?;
    // SAFETY: a constant path.
    check(unsafe { libc::chdir(c"/".as_ptr()) }.into())
}

pub fn unmount_lazily(path: &CStr) -> Result<(), Errno> {
    // SAFETY: a terminated path.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into())
}

/// A mount of `fstype` without options, detached.
pub fn new_detached(fstype: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd, Errno> {
    let fs = Fs::open(fstype)?;
    for (key, value) in options {
        if value.is_empty() { fs.set_flag(key)? } else { fs.set_string(key, value)? }
    }
    fs.mount(attributes)
}

/// True if the file behind `fd` is a character device with this number.
pub fn is_char_device(fd: impl AsFd, major: u32, minor: u32) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let is_char = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice;
    Ok(is_char && stat.st_rdev == rustix::fs::makedev(major, minor))
}
