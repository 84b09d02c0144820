//! Paths below a directory that somebody else controls. Every component is resolved by the kernel inside that directory
//! (openat2), so that no symbolic link, `..` or /proc magic leads out of it, not even one that changes meanwhile.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::Errno;

const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_BENEATH: u64 = 0x08;
const RESOLVE_IN_ROOT: u64 = 0x10;
/// An openat2 that lost a race against a rename says EAGAIN: ask again, but not for ever.
const RACES_MAX: usize = 64;
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// `struct open_how` of `linux/openat2.h`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}
const _: () = assert!(size_of::<OpenHow>() == 24);

/// How links inside the root are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Followed, with the root as `/`.
    InRoot,
    /// Refused anywhere in the path (ELOOP).
    Refused,
    /// Followed while they stay beneath the root; an absolute link, or one that climbs out, is refused (EXDEV).
    Beneath,
}

/// Opens `path` below `root`. `flags` are O_* of open(2).
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: c_int, links: Links) -> Result<OwnedFd, Errno> {
    open_with_mode(root, path, flags, 0, links)
}

fn open_with_mode(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: c_int,
    mode: u64,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let resolve = match links {
        Links::InRoot => RESOLVE_IN_ROOT,
        Links::Refused => RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
        Links::Beneath => RESOLVE_BENEATH,
    };
    let how =
        OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode, resolve: RESOLVE_NO_MAGICLINKS | resolve };
    for _ in 0..RACES_MAX {
        let (dir, size) = (root.as_raw_fd(), size_of::<OpenHow>());
        // SAFETY: a terminated path and the kernel's own structure with its size.
        let fd = unsafe { libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), ptr::from_ref(&how), size) };
        if fd >= 0 {
            // SAFETY: the kernel has just returned this descriptor; nobody else knows it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        }
        match crate::last_errno() {
            Errno::AGAIN => {}
            errno => return Err(errno),
        }
    }
    Err(Errno::AGAIN)
}

/// Opens the directory `path` below `root` (O_PATH), making what is missing. Allocates nothing.
pub fn ensure_directory(root: BorrowedFd<'_>, path: &CStr, links: Links) -> Result<OwnedFd, Errno> {
    ensure_parents(root, path.to_bytes(), links)?;
    open_in_root(root, path, libc::O_PATH | libc::O_DIRECTORY, links)
}

/// Opens the file `path` below `root` (O_PATH), making it and its directories if missing.
pub fn ensure_file(root: BorrowedFd<'_>, path: &CStr, links: Links) -> Result<OwnedFd, Errno> {
    if let Ok(existing) = open_in_root(root, path, libc::O_PATH, links) {
        return Ok(existing);
    }
    let (parent, name) = split(path)?;
    let mut buffer = [0; PATH_MAX];
    ensure_parents(root, parent, links)?;
    let directory =
        open_in_root(root, terminated(parent, &mut buffer)?, libc::O_PATH | libc::O_DIRECTORY, links)?;
    // A dangling link as last component is refused by O_NOFOLLOW: nothing is made where it points.
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_NOFOLLOW;
    open_with_mode(directory.as_fd(), name, flags, 0o644, Links::Refused)?;
    open_in_root(directory.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, Links::Refused)
}

/// Opens the directory that holds `path`, and returns the last component.
pub fn open_parent<'p>(
    root: BorrowedFd<'_>,
    path: &'p CStr,
    links: Links,
) -> Result<(OwnedFd, &'p CStr), Errno> {
    let (parent, name) = split(path)?;
    let mut buffer = [0; PATH_MAX];
    ensure_parents(root, parent, links)?;
    let parent = terminated(parent, &mut buffer)?;
    Ok((open_in_root(root, parent, libc::O_PATH | libc::O_DIRECTORY, links)?, name))
}

/// Splits off the last component. `..` and an empty name are refused.
fn split(path: &CStr) -> Result<(&[u8], &CStr), Errno> {
    let bytes = path.to_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let name = &path.to_bytes_with_nul()[at..];
    if matches!(&bytes[at..], b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
    Ok((&bytes[..at], name))
}

/// Copies `bytes` into `buffer` with a NUL behind; an empty path is the root.
fn terminated<'b>(bytes: &[u8], buffer: &'b mut [u8; PATH_MAX]) -> Result<&'b CStr, Errno> {
    let bytes = if bytes.is_empty() { b"/" } else { bytes };
    if bytes.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    buffer[..bytes.len()].copy_from_slice(bytes);
    buffer[bytes.len()] = 0;
    CStr::from_bytes_until_nul(&buffer[..=bytes.len()]).map_err(|_| Errno::INVAL)
}

/// Makes every missing directory of `path`, one component at a time, each resolved below the root again.
fn ensure_parents(root: BorrowedFd<'_>, path: &[u8], links: Links) -> Result<(), Errno> {
    let mut buffer = [0; PATH_MAX];
    if open_in_root(root, terminated(path, &mut buffer)?, libc::O_PATH | libc::O_DIRECTORY, links).is_ok() {
        return Ok(());
    }
    let mut end = 0;
    while end < path.len() {
        let start = end + path[end..].iter().take_while(|byte| **byte == b'/').count();
        end = start + path[start..].iter().take_while(|byte| **byte != b'/').count();
        if start == end {
            break;
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        match open_in_root(root, terminated(&path[..end], &mut buffer)?, flags, links) {
            Ok(_) => continue,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let parent = open_in_root(root, terminated(&path[..start], &mut buffer)?, flags, links)?;
        let name = terminated(&path[start..end], &mut buffer)?;
        // SAFETY: a descriptor and a terminated single component.
        let made = unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) };
        if made < 0 && crate::last_errno() != Errno::EXIST {
            return Err(crate::last_errno());
        }
    }
    Ok(())
}

pub fn make_node(dir: BorrowedFd<'_>, name: &CStr, mode: u32, major: u32, minor: u32) -> Result<(), Errno> {
    let device = libc::makedev(major, minor);
    // SAFETY: a descriptor and a terminated name.
    match unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) } {
        0 => Ok(()),
        _ => Err(crate::last_errno()),
    }
}

pub fn change_mode(dir: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: a descriptor and a terminated name.
    match unsafe { libc::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode, 0) } {
        0 => Ok(()),
        _ => Err(crate::last_errno()),
    }
}

pub fn change_owner(dir: BorrowedFd<'_>, name: &CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: a descriptor and a terminated name.
    match unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) } {
        0 => Ok(()),
        _ => Err(crate::last_errno()),
    }
}

pub fn make_link(dir: BorrowedFd<'_>, name: &CStr, target: &CStr) -> Result<(), Errno> {
    // SAFETY: a descriptor and terminated strings.
    match unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(crate::last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (std::path::PathBuf, OwnedFd) {
        let path = std::env::temp_dir().join(format!(
            "kedge-path-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("root/etc")).unwrap();
        fs::create_dir_all(path.join("outside")).unwrap();
        fs::write(path.join("root/etc/passwd"), "x").unwrap();
        symlink("../../outside", path.join("root/up")).unwrap();
        symlink("/etc", path.join("root/abs")).unwrap();
        symlink("/nowhere/file", path.join("root/dangling")).unwrap();
        let fd = fs::File::open(path.join("root")).unwrap().into();
        (path, fd)
    }

    #[test]
    fn links_never_leave_the_root() {
        let (path, root) = root();
        let open = |name, links| open_in_root(root.as_fd(), name, libc::O_PATH, links).map(drop);
        assert_eq!(open(c"/abs/passwd", Links::InRoot), Ok(()));
        assert_eq!(open(c"abs/passwd", Links::Refused), Err(Errno::LOOP));
        assert_eq!(open(c"up", Links::InRoot), Err(Errno::NOENT));
        assert_eq!(open(c"up", Links::Beneath), Err(Errno::XDEV));
        assert_eq!(open(c"abs/passwd", Links::Beneath), Err(Errno::XDEV));
        assert_eq!(open(c"etc/passwd", Links::Beneath), Ok(()));
        assert_eq!(open(c"../../outside", Links::InRoot), Err(Errno::NOENT));
        assert!(ensure_directory(root.as_fd(), c"/up/made", Links::InRoot).is_err());
        assert!(ensure_directory(root.as_fd(), c"/a/b/c", Links::InRoot).is_ok());
        assert!(ensure_file(root.as_fd(), c"/a/b/d/file", Links::InRoot).is_ok());
        assert!(ensure_file(root.as_fd(), c"/dangling", Links::InRoot).is_err());
        assert!(path.join("root/a/b/d/file").is_file());
        assert_eq!(fs::read_dir(path.join("outside")).unwrap().count(), 0);
        fs::remove_dir_all(path).unwrap();
    }
}
