//! SOCK_SEQPACKET sockets that carry descriptors, and who is at the other end.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::Errno;

const DESCRIPTORS_MAX: usize = 253;

pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A listening socket `name` in `directory`. The address goes through the descriptor, because a socket path is at most 107 bytes.
pub fn listen(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address(directory, name)?)?;
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    rustix::fs::chmod(path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    listen_again(socket.as_fd())?;
    Ok(socket)
}

/// Makes this process the one that [`peer`] shows to whoever connects.
pub fn listen_again(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    const BACKLOG: i32 = 16;
    rustix::net::listen(socket, BACKLOG)
}

pub fn connect(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &address(directory, name)?)?;
    Ok(socket)
}

fn address(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Sends one packet, a header and a body, with `descriptors` beside it. Allocates nothing.
pub fn send(
    socket: BorrowedFd<'_>,
    header: &[u8],
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let slices = [IoSlice::new(header), IoSlice::new(body)];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// One received packet.
#[derive(Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
}

/// Receives one packet of at most `len_max` bytes. `None` is the end of the connection; a longer packet is EMSGSIZE.
pub fn receive(socket: BorrowedFd<'_>, len_max: usize) -> Result<Option<Packet>, Errno> {
    let mut bytes = vec![0; len_max];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::MSGSIZE);
    }
    bytes.truncate(received.bytes);
    Ok((received.bytes > 0).then_some(Packet { bytes, descriptors }))
}

/// Who opened the other end.
#[derive(Debug)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    /// SO_PEERPIDFD, Linux 6.5; `None` below.
    pub pidfd: Option<OwnedFd>,
}

const SO_PEERPIDFD: c_int = 77;

pub fn peer(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    let mut fd: c_int = -1;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the value is one int and its size is passed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut len,
        )
    };
    // SAFETY: on success the kernel has stored a new descriptor that nobody else knows.
    let pidfd = (result == 0 && fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(Peer { pid: credentials.pid.as_raw_nonzero().get(), uid: credentials.uid.as_raw(), pidfd })
}

/// Which of `fds` have something to read or have lost their peer, within `timeout_ms` (negative: for ever).
/// An interruption by a signal is an empty answer.
pub fn poll_readable(fds: &[BorrowedFd<'_>], timeout_ms: i32) -> Result<Vec<bool>, Errno> {
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: the structures are initialised and their number is passed.
    let count = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout_ms) };
    match count {
        count if count < 0 && crate::last_errno() != Errno::INTR => Err(crate::last_errno()),
        count if count < 0 => Ok(vec![false; fds.len()]),
        _ => Ok(polls.iter().map(|poll| poll.revents != 0).collect()),
    }
}
