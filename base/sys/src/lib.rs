//! The unsafe door: clone3, mounts, namespaces, cgroups, seccomp, capabilities, netlink, bpf.
//!
//! Thin functions with owned descriptors over system calls that no crate of ours offers safely. Nothing here knows a pod.
pub mod bpf;
pub mod cgroup;
pub mod clone;
pub mod counting;
pub mod memfd;
pub mod mount;
pub mod namespace;
pub mod path;
pub mod probe;
pub mod process;
pub mod socket;
pub mod terminal;

pub use rustix::io::Errno;

/// What the last failed system call of this thread left in errno.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
