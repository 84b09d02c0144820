//! The runtime: sandboxes, containers, images.

pub mod rootfs;
