//! The pause protocol, version 1: what the daemon asks of a pod's supervisor, and what it hears back.
//!
//! One record is one packet of a SOCK_SEQPACKET socket: a header of eight bytes, then a body (see [`codec`]); descriptors
//! travel beside it (SCM_RIGHTS) and the body names them by their index. A pause outlives the daemon that started it, so
//! this format is a promise: a record only ever grows at its end, a tail that the reader does not know is ignored, a tail that
//! the writer did not know is the default, a number is never reused, and `tests/` replays recorded bytes.
#![no_std]

extern crate alloc;

pub mod codec;
pub mod message;
pub mod spec;

pub use codec::{Error, Reader, Wire};
pub use message::{
    Event, Frame, Header, Request, decode_event, decode_request, encode_event, encode_request,
};
pub use spec::*;

/// The protocol this build speaks.
pub const VERSION: u16 = 1;
/// The oldest protocol this build still drives.
pub const VERSION_MIN: u16 = 1;

/// Bodies up to this size travel in the packet; longer ones in a sealed memfd that is the first descriptor.
pub const INLINE_MAX: usize = 48 * 1024;
/// The largest body: Linux lets arguments and environment of one process be 2 MiB.
pub const BODY_MAX: usize = 4 * 1024 * 1024;
/// SCM_MAX_FD of Linux.
pub const DESCRIPTORS_MAX: usize = 253;
