//! SPDY/3.1, as far as Kubernetes uses it: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>.
//!
//! Flow control is left to TCP: the peers of Kubernetes neither send WINDOW_UPDATE nor wait for one, so that a window
//! kept here would stop every stream after 64 KiB.

mod connection;
mod frame;
mod headers;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Event, Role, StreamId};
pub use headers::Headers;

/// `Upgrade: SPDY/3.1`
pub const UPGRADE: &str = "SPDY/3.1";

/// Open streams of one connection; more are refused one by one.
pub const STREAMS_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("SPDY version {0} instead of 3")]
    Version(u16),
    #[error("a {kind} frame of {length} bytes")]
    Length { kind: &'static str, length: usize },
    #[error("a header block that is not zlib with SPDY's dictionary")]
    Compression,
    #[error("a header block that is malformed")]
    Headers,
    #[error("a header block is larger than {0} bytes")]
    HeadersTooLarge(usize),
    #[error("stream id {0} was used before or belongs to the other side")]
    StreamId(u32),
}
