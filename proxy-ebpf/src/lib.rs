//! The service proxy: watches Services and EndpointSlices, lets the core turn them into map contents, and keeps the eBPF
//! datapath of its node.

mod apply;
mod clsact;
mod datapath;
mod error;
mod load;

pub use datapath::{Attachment, Datapath, remove};
pub use error::Error;
