//! WebSocket (RFC 6455), both sides of it: masks, fragments, pings, the closing handshake. No extensions.

mod handshake;
#[cfg(test)]
mod tests;

pub use handshake::{accept_key, is_key};
pub(crate) use handshake::{base64 as to_base64, from_base64};

use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes of one message, all fragments together.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
const CONTROL_BYTES_MAX: usize = 125;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("reserved bits or opcode {0:#x}")]
    Reserved(u8),
    #[error("a frame {0}")]
    Mask(&'static str),
    #[error("a fragment out of order")]
    Fragment,
    #[error("a control frame that is long or fragmented")]
    Control,
    #[error("a message larger than {0} bytes")]
    TooLarge(usize),
    #[error("a text message that is not UTF-8")]
    Utf8,
}

impl Error {
    /// The code with which the connection is closed (section 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Error::TooLarge(_) => 1009,
            Error::Utf8 => 1007,
            Error::Reserved(_) | Error::Mask(_) | Error::Fragment | Error::Control => 1002,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Masks what it sends.
    Client,
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Text(String),
    Binary(Bytes),
    Pong(Bytes),
    /// The peer closes; the answer is sent already.
    Closed {
        code: u16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

const OPCODES: [(u8, Opcode); 6] = [
    (0, Opcode::Continuation),
    (1, Opcode::Text),
    (2, Opcode::Binary),
    (8, Opcode::Close),
    (9, Opcode::Ping),
    (10, Opcode::Pong),
];

struct Head {
    is_final: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    length: usize,
    /// Bytes of the head itself.
    size: usize,
}

pub struct Connection {
    role: Role,
    received: BytesMut,
    /// A message whose last fragment has not come yet.
    fragments: Option<(Opcode, BytesMut)>,
    mask_state: u64,
    is_close_sent: bool,
    is_close_received: bool,
    events: VecDeque<Event>,
    out: Vec<u8>,
}

impl Connection {
    /// `mask_seed` is a random number of the caller: a client's masks must not be foreseen by whoever chooses the data
    /// (section 10.3). A server uses none.
    pub fn new(role: Role, mask_seed: u64) -> Connection {
        Connection {
            role,
            received: BytesMut::new(),
            fragments: None,
            mask_state: mask_seed | 1,
            is_close_sent: false,
            is_close_received: false,
            events: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Takes what the peer sent. After an error, [`Connection::close`] with its code is all that is left to do.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.received.extend_from_slice(bytes);
        while !self.is_close_received {
            let Some(head) = self.head()? else { break };
            if self.received.len() < head.size + head.length {
                break;
            }
            self.received.advance(head.size);
            let mut payload = self.received.split_to(head.length);
            if let Some(mask) = head.mask {
                apply_mask(&mut payload, mask);
            }
            self.frame(&head, payload)?;
        }
        Ok(())
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send, if there are any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    pub fn send_binary(&mut self, parts: &[&[u8]]) {
        self.write(Opcode::Binary, parts);
    }

    pub fn send_text(&mut self, parts: &[&[u8]]) {
        self.write(Opcode::Text, parts);
    }

    pub fn ping(&mut self, payload: &[u8]) {
        self.write(Opcode::Ping, &[&payload[..payload.len().min(CONTROL_BYTES_MAX)]]);
    }

    /// Begins or ends the closing handshake; nothing can be sent afterwards.
    pub fn close(&mut self, code: u16) {
        self.write(Opcode::Close, &[&code.to_be_bytes()]);
        self.is_close_sent = true;
    }

    /// Both sides have closed.
    pub fn is_closed(&self) -> bool {
        self.is_close_sent && self.is_close_received
    }

    fn head(&self) -> Result<Option<Head>, Error> {
        let Some(&[first, second]) = self.received.first_chunk::<2>() else {
            return Ok(None);
        };
        let known = OPCODES.iter().find(|(number, _)| *number == first & 0x0f);
        let opcode = match known {
            Some((_, opcode)) if first & 0x70 == 0 => *opcode,
            _ => return Err(Error::Reserved(first)),
        };
        let is_final = first & 0x80 != 0;
        let is_masked = second & 0x80 != 0;
        match (self.role, is_masked) {
            (Role::Server, false) => return Err(Error::Mask("of a client without a mask")),
            (Role::Client, true) => return Err(Error::Mask("of a server with a mask")),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let rest = &self.received[2..];
        let (length, length_size) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(bytes) => (u64::from_be_bytes(*bytes), 8),
                None => return Ok(None),
            },
            short => (short.into(), 0),
        };
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (!is_final || length > CONTROL_BYTES_MAX as u64) {
            return Err(Error::Control);
        }
        let before = self.fragments.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let length = usize::try_from(length).ok().filter(|length| before + length <= MESSAGE_BYTES_MAX);
        let length = length.ok_or(Error::TooLarge(MESSAGE_BYTES_MAX))?;
        let mask = match (is_masked, rest.get(length_size..).and_then(|rest| rest.first_chunk::<4>())) {
            (false, _) => None,
            (true, Some(mask)) => Some(*mask),
            (true, None) => return Ok(None),
        };
        let size = 2 + length_size + if is_masked { 4 } else { 0 };
        Ok(Some(Head { is_final, opcode, mask, length, size }))
    }

    fn frame(&mut self, head: &Head, payload: BytesMut) -> Result<(), Error> {
        match (head.opcode, self.fragments.take()) {
            (Opcode::Text | Opcode::Binary, None) => self.fragment(head.opcode, payload, head.is_final),
            (Opcode::Continuation, Some((opcode, mut bytes))) => {
                bytes.unsplit(payload);
                self.fragment(opcode, bytes, head.is_final)
            }
            (Opcode::Text | Opcode::Binary, Some(_)) | (Opcode::Continuation, None) => Err(Error::Fragment),
            (Opcode::Ping | Opcode::Pong | Opcode::Close, fragments) => {
                self.fragments = fragments;
                self.control(head.opcode, payload.freeze())
            }
        }
    }

    fn fragment(&mut self, opcode: Opcode, bytes: BytesMut, is_final: bool) -> Result<(), Error> {
        if !is_final {
            self.fragments = Some((opcode, bytes));
            return Ok(());
        }
        self.events.push_back(if opcode == Opcode::Text {
            Event::Text(String::from_utf8(bytes.to_vec()).map_err(|_| Error::Utf8)?)
        } else {
            Event::Binary(bytes.freeze())
        });
        Ok(())
    }

    fn control(&mut self, opcode: Opcode, payload: Bytes) -> Result<(), Error> {
        match opcode {
            Opcode::Ping => self.write(Opcode::Pong, &[&payload]),
            Opcode::Pong => self.events.push_back(Event::Pong(payload)),
            Opcode::Close => {
                const NO_STATUS: u16 = 1005;
                let code = match (payload.len(), payload.first_chunk::<2>()) {
                    (0, _) => NO_STATUS,
                    (_, Some(code)) => u16::from_be_bytes(*code),
                    (_, None) => return Err(Error::Control),
                };
                self.is_close_received = true;
                if !self.is_close_sent {
                    self.close(if code == NO_STATUS { 1000 } else { code });
                }
                self.events.push_back(Event::Closed { code });
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                unreachable!("control takes control frames")
            }
        }
        Ok(())
    }

    fn write(&mut self, opcode: Opcode, parts: &[&[u8]]) {
        if self.is_close_sent {
            return;
        }
        let (number, _) =
            OPCODES.iter().find(|(_, known)| *known == opcode).expect("the table has every opcode");
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let masked = if self.role == Role::Client { 0x80 } else { 0 };
        self.out.push(0x80 | number);
        match length {
            0..126 => self.out.push(masked | length as u8),
            126..0x1_0000 => {
                self.out.push(masked | 126);
                self.out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.out.push(masked | 127);
                self.out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        let mask = (self.role == Role::Client).then(|| self.next_mask());
        self.out.extend(mask.into_iter().flatten());
        let payload = self.out.len();
        parts.iter().for_each(|part| self.out.extend_from_slice(part));
        if let Some(mask) = mask {
            apply_mask(&mut self.out[payload..], mask);
        }
    }

    /// splitmix64 over the caller's seed: cheap, and not foreseeable without it.
    fn next_mask(&mut self) -> [u8; 4] {
        self.mask_state = self.mask_state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.mask_state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) as u32).to_be_bytes()
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}
