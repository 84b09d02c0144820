//! Services and EndpointSlices to tables to a map image to an ordered diff.
//!
//! ```text
//! Service + EndpointSlices ──frontends()──▶ [Frontend] ──Image::sync()──▶ [Change]
//! ```
//!
//! [`frontends`] decides who answers where (policies, readiness); [`Image`] decides where that stands in the maps and in
//! which order it is written. Neither knows a kernel.

mod change;
mod frontend;
mod image;
mod maglev;
mod region;

pub use change::Change;
pub use frontend::{BackendAddress, Frontend, PortId, frontends};
pub use image::{Image, Pinned, ServiceName};
