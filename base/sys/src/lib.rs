//! The unsafe door: clone3, mounts, namespaces, cgroups, seccomp, capabilities, netlink, bpf.
