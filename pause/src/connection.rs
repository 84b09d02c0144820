//! One daemon's connection: packets in, events out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kedge_pause_wire::{
    BODY_MAX, Event, Header, INLINE_MAX, Request, VERSION, decode_request, encode_event, message::HEADER_LEN,
};
use kedge_sys::{Errno, memfd, socket};

pub struct Connection {
    socket: OwnedFd,
    /// A number that is never used again, to address replies that come later.
    pub id: u64,
}

/// A request with its descriptors.
pub struct Incoming {
    pub serial: u32,
    /// A later daemon may ask what this build does not know: that is refused, and the connection lives on.
    pub request: Result<Request, Errno>,
    pub descriptors: Vec<Option<OwnedFd>>,
}

impl Incoming {
    /// Takes the descriptor that the request names; naming one twice or beyond the end is the sender's mistake.
    pub fn take(&mut self, index: u32) -> Result<OwnedFd, Errno> {
        take(&mut self.descriptors, index)
    }
}

pub fn take(descriptors: &mut [Option<OwnedFd>], index: u32) -> Result<OwnedFd, Errno> {
    descriptors.get_mut(index as usize).and_then(Option::take).ok_or(Errno::BADF)
}

impl Connection {
    pub fn new(socket: OwnedFd, id: u64) -> Result<Connection, Errno> {
        if socket::peer(socket.as_fd())?.uid != 0 {
            return Err(Errno::PERM);
        }
        Ok(Connection { socket, id })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// `None` when the daemon is gone.
    pub fn receive(&self) -> Result<Option<Incoming>, Errno> {
        let Some(packet) = socket::receive(self.socket.as_fd(), INLINE_MAX + HEADER_LEN)? else {
            return Ok(None);
        };
        let header = Header::from_bytes(&packet.bytes).map_err(|_| Errno::PROTO)?;
        let mut descriptors: Vec<Option<OwnedFd>> = packet.descriptors.into_iter().map(Some).collect();
        let body = if header.is_long() {
            let body = take(&mut descriptors, 0).and_then(|file| read_long(&file));
            descriptors.drain(..1.min(descriptors.len()));
            body
        } else {
            Ok(packet.bytes[HEADER_LEN..].to_vec())
        };
        let request = body.and_then(|body| decode_request(header, &body).map_err(|_| Errno::PROTO));
        Ok(Some(Incoming { serial: header.serial, request, descriptors }))
    }

    /// Never blocks: a daemon that does not read is dropped by the caller, and asks for the State when it comes back.
    pub fn send(&self, event: &Event, serial: u32, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let frame = encode_event(event, serial, VERSION);
        if frame.body.len() <= INLINE_MAX {
            return socket::send(self.as_fd(), &frame.header.to_bytes(), &frame.body, descriptors);
        }
        let body = memfd::sealed("kedge-record", &frame.body)?;
        let mut all = vec![body.as_fd()];
        all.extend_from_slice(descriptors);
        socket::send(self.as_fd(), &frame.header.long().to_bytes(), &[], &all)
    }
}

fn read_long(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    use std::io::{Read, Seek};
    let mut file = std::fs::File::from(file.try_clone().map_err(|_| Errno::MFILE)?);
    let len = file.metadata().map_err(|_| Errno::IO)?.len();
    if len > BODY_MAX as u64 {
        return Err(Errno::MSGSIZE);
    }
    let mut body = Vec::new();
    file.rewind().map_err(|_| Errno::IO)?;
    file.take(BODY_MAX as u64).read_to_end(&mut body).map_err(|_| Errno::IO)?;
    Ok(body)
}
