//! Computes LaunchSpec, seccomp trees, image layer plans.

pub mod image;
pub mod images;
pub mod capabilities;
pub mod cgroup;
pub mod launch;
pub mod seccomp;
pub mod sysctl;
pub mod user;
