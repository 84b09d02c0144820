//! The runtime: sandboxes, containers, images.
