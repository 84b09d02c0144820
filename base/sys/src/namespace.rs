//! Entering and leaving namespaces.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Errno;
use crate::clone::flags;
use crate::mount::{Propagation, set_root_propagation};

fn check(result: c_int) -> Result<(), Errno> {
    if result < 0 { Err(crate::last_errno()) } else { Ok(()) }
}

/// Enters the namespace behind `fd`, or with a pidfd all namespaces of `kinds` (`clone::flags`) of that process at once.
pub fn enter(fd: BorrowedFd<'_>, kinds: u64) -> Result<(), Errno> {
    // SAFETY: plain numbers. Rust code has no notion of namespaces that could break.
    check(unsafe { libc::setns(fd.as_raw_fd(), kinds as c_int) })
}

/// Moves this thread into new namespaces.
pub fn unshare(kinds: u64) -> Result<(), Errno> {
    debug_assert_eq!(kinds & libc::CLONE_FILES as u64, 0, "descriptors stay shared between threads");
    // SAFETY: only CLONE_NEW* flags reach here.
    check(unsafe { libc::unshare(kinds as c_int) })
}

/// Opens `/proc/<pid>/ns/<name>` of this thread (`pid` "thread-self") or of a process.
pub fn open(process: &str, name: &str) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{process}/ns/{name}");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty())
}

pub fn set_host_name(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the length is the string's own.
    check(unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) })
}

/// Brings up `lo` in the current network namespace; a fresh one has it down.
pub fn bring_up_loopback() -> Result<(), Errno> {
    // SAFETY: the socket is new, the request is the kernel's structure, and both outlive the calls.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(socket)?;
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request))
    }
}

/// Runs `work` on a thread of its own in a copy of the mount namespace, from which nothing spreads; the copy ends with it.
pub fn with_private_mounts<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    let enter = || unshare(flags::NEWNS).and_then(|()| set_root_propagation(Propagation::Private));
    std::thread::scope(|scope| {
        let entered = scope.spawn(move || enter().map(|()| work()));
        entered.join().unwrap_or(Err(Errno::IO))
    })
}

/// Runs `work` on a thread of its own inside the network namespace behind `netns`, so that no other thread is moved.
pub fn with_network<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, Errno> {
    std::thread::scope(|scope| {
        let entered = scope.spawn(move || enter(netns, flags::NEWNET).map(|()| work()));
        entered.join().unwrap_or(Err(Errno::IO))
    })
}
