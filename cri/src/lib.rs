//! The runtime: sandboxes, containers, images.

pub mod images;
pub mod rootfs;
pub mod runtime;

pub use runtime::Cri;
