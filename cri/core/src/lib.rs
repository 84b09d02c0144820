//! Computes LaunchSpec, seccomp trees, image layer plans.

pub mod image;
pub mod images;
