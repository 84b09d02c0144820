//! Computes LaunchSpec, seccomp trees, image layer plans.

pub mod capabilities;
pub mod cgroup;
pub mod devices;
pub mod image;
pub mod images;
pub mod launch;
pub mod seccomp;
pub mod sysctl;
pub mod user;
