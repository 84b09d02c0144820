//! Streaming codecs without I/O: bytes go in, events come out; actions go in, bytes come out.
//!
//! [`spdy`] and [`websocket`] are machines for one connection. [`channels`] is the Kubernetes framing that exec, attach
//! and port-forward put on a WebSocket, [`remote_command`] what they say on their error channel.

pub mod channels;
pub mod remote_command;
pub mod spdy;
pub mod websocket;
