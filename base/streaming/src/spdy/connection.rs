//! The machine of one connection.
//!
//! ```text
//!            SYN_STREAM in ─► Opened ──┐
//! open() ─► SYN_STREAM out ─► Replied ─┤
//!                                      ▼
//!                      open ── FIN out ──► half closed (local) ──┐
//!                       │ └─── FIN in ───► half closed (remote) ─┤
//!                       └───── RST in or out ──────────────► gone ◄┘ the other FIN
//! ```

use super::frame::{self, FLAG_FIN, HEAD, Head};
use super::headers::{Decoder, Encoder};
use super::{Error, Headers, STREAMS_MAX};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// Data is sent in frames of at most this size.
const DATA_BYTES_MAX: usize = 32 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens streams with odd numbers.
    Client,
    /// Opens streams with even numbers.
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer opens a stream; answer with [`Connection::reply`] or [`Connection::reset`].
    Opened {
        stream: StreamId,
        headers: Headers,
    },
    /// The peer took a stream of ours.
    Replied {
        stream: StreamId,
        headers: Headers,
    },
    Data {
        stream: StreamId,
        bytes: Bytes,
    },
    /// The peer will send nothing more on this stream.
    Finished {
        stream: StreamId,
    },
    /// The stream is gone in both directions.
    Reset {
        stream: StreamId,
    },
    /// The peer takes no new streams.
    GoAway,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    is_local_done: bool,
    is_remote_done: bool,
}

pub struct Connection {
    role: Role,
    received: BytesMut,
    /// The data frame being received: stream, bytes left, whether FIN follows.
    data: Option<(StreamId, usize, bool)>,
    decoder: Decoder,
    encoder: Encoder,
    streams: BTreeMap<StreamId, Stream>,
    last_received: u32,
    next_own: u32,
    events: VecDeque<Event>,
    out: Vec<u8>,
}

impl Connection {
    pub fn new(role: Role) -> Connection {
        Connection {
            role,
            received: BytesMut::new(),
            data: None,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            streams: BTreeMap::new(),
            last_received: 0,
            next_own: if role == Role::Client { 1 } else { 2 },
            events: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// Takes what the peer sent. After an error the connection is of no use.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.received.extend_from_slice(bytes);
        while self.step()? {}
        Ok(())
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bytes to send, if there are any.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    pub fn open(&mut self, headers: &Headers) -> StreamId {
        let stream = StreamId(self.next_own);
        self.next_own += 2;
        let block = self.encoder.encode(headers);
        let head = [stream.0.to_be_bytes(), [0; 4]].concat();
        frame::write_control(&mut self.out, frame::SYN_STREAM, 0, &[&head, &[0, 0], &block]);
        self.streams.insert(stream, Stream::default());
        stream
    }

    pub fn reply(&mut self, stream: StreamId, headers: &Headers) {
        if self.streams.contains_key(&stream) {
            let block = self.encoder.encode(headers);
            frame::write_control(&mut self.out, frame::SYN_REPLY, 0, &[&stream.0.to_be_bytes(), &block]);
        }
    }

    /// Sends data; on a stream that is closed or gone, nothing.
    pub fn send(&mut self, stream: StreamId, bytes: &[u8]) {
        if self.streams.get(&stream).is_some_and(|state| !state.is_local_done) {
            for piece in bytes.chunks(DATA_BYTES_MAX) {
                frame::write_data_head(&mut self.out, stream.0, 0, piece.len());
                self.out.extend_from_slice(piece);
            }
        }
    }

    /// Says that nothing more comes on this stream.
    pub fn finish(&mut self, stream: StreamId) {
        let Some(state) = self.streams.get_mut(&stream).filter(|state| !state.is_local_done) else {
            return;
        };
        state.is_local_done = true;
        frame::write_data_head(&mut self.out, stream.0, FLAG_FIN, 0);
        self.forget_if_done(stream);
    }

    /// Ends a stream in both directions.
    pub fn reset(&mut self, stream: StreamId) {
        const CANCEL: u32 = 5;
        if self.streams.remove(&stream).is_some() {
            self.write_reset(stream, CANCEL);
        }
    }

    pub fn go_away(&mut self) {
        let body = [self.last_received.to_be_bytes(), [0; 4]].concat();
        frame::write_control(&mut self.out, frame::GOAWAY, 0, &[&body]);
    }

    fn write_reset(&mut self, stream: StreamId, status: u32) {
        let body = [stream.0.to_be_bytes(), status.to_be_bytes()].concat();
        frame::write_control(&mut self.out, frame::RST_STREAM, 0, &[&body]);
    }

    fn forget_if_done(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(|state| state.is_local_done && state.is_remote_done) {
            self.streams.remove(&stream);
        }
    }

    /// Does one thing with what was received; false when more bytes are needed.
    fn step(&mut self) -> Result<bool, Error> {
        if let Some((stream, left, fin)) = self.data.take() {
            return Ok(self.step_data(stream, left, fin));
        }
        let Some(head) = self.received.first_chunk::<HEAD>() else {
            return Ok(false);
        };
        match frame::read_head(head)? {
            Head::Data { stream, flags, length } => {
                self.received.advance(HEAD);
                self.data = Some((StreamId(stream), length, flags & FLAG_FIN != 0));
                Ok(true)
            }
            Head::Control { kind, flags, length } => {
                if self.received.len() < HEAD + length {
                    return Ok(false);
                }
                self.received.advance(HEAD);
                let body = self.received.split_to(length);
                self.control(kind, flags, &body)?;
                Ok(true)
            }
        }
    }

    fn step_data(&mut self, stream: StreamId, left: usize, fin: bool) -> bool {
        let piece = self.received.split_to(left.min(self.received.len())).freeze();
        let left = left - piece.len();
        // Data for a stream that was reset is on its way for a while: it is dropped.
        let is_open = self.streams.get(&stream).is_some_and(|state| !state.is_remote_done);
        if is_open && !piece.is_empty() {
            self.events.push_back(Event::Data { stream, bytes: piece });
        }
        if left > 0 {
            self.data = Some((stream, left, fin));
            return false;
        }
        if fin {
            self.remote_done(stream);
        }
        true
    }

    fn remote_done(&mut self, stream: StreamId) {
        if let Some(state) = self.streams.get_mut(&stream).filter(|state| !state.is_remote_done) {
            state.is_remote_done = true;
            self.events.push_back(Event::Finished { stream });
            self.forget_if_done(stream);
        }
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> Result<(), Error> {
        match kind {
            frame::SYN_STREAM => self.syn_stream(flags, body),
            frame::SYN_REPLY | frame::HEADERS => {
                let stream = StreamId(frame::stream_id(body, 0, "SYN_REPLY")?);
                // Decoded even for a stream that is gone: the compression has one state for all.
                let headers = self.decoder.decode(&body[4..])?;
                if kind == frame::SYN_REPLY && self.streams.contains_key(&stream) {
                    self.events.push_back(Event::Replied { stream, headers });
                }
                if flags & FLAG_FIN != 0 {
                    self.remote_done(stream);
                }
                Ok(())
            }
            frame::RST_STREAM => {
                let stream = StreamId(frame::stream_id(body, 0, "RST_STREAM")?);
                if self.streams.remove(&stream).is_some() {
                    self.events.push_back(Event::Reset { stream });
                }
                Ok(())
            }
            frame::PING => {
                let id = frame::word(body, 0, "PING")?;
                // Odd pings come from clients; one of the own parity is an echo.
                if (id % 2 == 1) == (self.role == Role::Server) {
                    frame::write_control(&mut self.out, frame::PING, 0, &[&id.to_be_bytes()]);
                }
                Ok(())
            }
            frame::GOAWAY => {
                self.events.push_back(Event::GoAway);
                Ok(())
            }
            // Windows are TCP's here, settings are hints, and unknown frames are to be skipped.
            frame::SETTINGS | frame::WINDOW_UPDATE => Ok(()),
            _ => Ok(()),
        }
    }

    fn syn_stream(&mut self, flags: u8, body: &[u8]) -> Result<(), Error> {
        const REFUSED_STREAM: u32 = 3;
        let number = frame::stream_id(body, 0, "SYN_STREAM")?;
        let block = body.get(10..).ok_or(Error::Length { kind: "SYN_STREAM", length: body.len() })?;
        let headers = self.decoder.decode(block)?;
        let is_peers = (number % 2 == 1) == (self.role == Role::Server);
        if !is_peers || number <= self.last_received {
            return Err(Error::StreamId(number));
        }
        self.last_received = number;
        let stream = StreamId(number);
        if self.streams.len() >= STREAMS_MAX {
            self.write_reset(stream, REFUSED_STREAM);
            return Ok(());
        }
        self.streams.insert(stream, Stream::default());
        self.events.push_back(Event::Opened { stream, headers });
        if flags & FLAG_FIN != 0 {
            self.remote_done(stream);
        }
        Ok(())
    }
}
