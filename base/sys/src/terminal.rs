//! Pseudo-terminals. The slave is reached through its master (TIOCGPTPEER), never by the path /dev/pts/N, which a container
//! controls (CVE-2025-52565).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::Errno;

const TIOCGPTPEER: libc::c_ulong = 0x5441;

fn check(result: libc::c_int) -> Result<libc::c_int, Errno> {
    if result < 0 { Err(crate::last_errno()) } else { Ok(result) }
}

/// Unlocks the master and opens its slave.
pub fn open_slave(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the request takes a pointer to one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes open flags and returns a new descriptor.
    let slave = check(unsafe { libc::ioctl(master.as_raw_fd(), TIOCGPTPEER as _, flags) })?;
    // SAFETY: new, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(slave) })
}

/// Makes the terminal on standard input the controlling one of this session.
pub fn set_controlling() -> Result<(), Errno> {
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) }).map(drop)
}

pub fn resize(terminal: BorrowedFd<'_>, width: u16, height: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request takes a pointer to this structure.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) }).map(drop)
}
