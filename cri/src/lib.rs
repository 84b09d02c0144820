//! The runtime: sandboxes, containers, images.

pub mod images;
pub mod rootfs;
