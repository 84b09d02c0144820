//! What this kernel, or this sandbox, lets a process do: calls that change nothing, for the errno they return.

use crate::Errno;

fn errno_of(result: libc::c_long) -> Option<Errno> {
    (result < 0).then(crate::last_errno)
}

/// `bpf(2)` with an unknown command: EINVAL where it is allowed.
pub fn bpf() -> Option<Errno> {
    // SAFETY: command -1 does not exist; no memory is passed.
    errno_of(unsafe { libc::syscall(libc::SYS_bpf, -1, std::ptr::null::<u8>(), 0) })
}

/// `keyctl(2)` with an unknown operation: EOPNOTSUPP where it is allowed.
pub fn keyctl() -> Option<Errno> {
    // SAFETY: operation -1 does not exist; no memory is passed.
    errno_of(unsafe { libc::syscall(libc::SYS_keyctl, -1, 0, 0, 0, 0) })
}

/// `clone3(2)` without arguments: EINVAL where it is allowed.
pub fn clone3() -> Option<Errno> {
    // SAFETY: a size of zero is refused before anything is read.
    errno_of(unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0) })
}
