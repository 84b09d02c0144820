//! Where one node keeps its things. Everything node-scoped takes a `Roots`, so that several nodes run on one machine.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The folders, the cgroup parent, the bpffs and the ports of one node. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Volumes and device plugins: `/var/lib/kubelet`.
    pub kubelet: PathBuf,
    /// `/var/log/pods`.
    pub pod_logs: PathBuf,
    /// `/var/log/containers`.
    pub container_logs: PathBuf,
    /// PKI, admin.conf, static pods: `/etc/kubernetes`.
    pub kubernetes: PathBuf,
    /// Images, layers, the store: `/var/lib/kedge`.
    pub state: PathBuf,
    /// Sockets and what must vanish with a reboot, on tmpfs: `/run/kedge`.
    pub run: PathBuf,
    /// kedge's own log: `/var/log/kedge`.
    pub log: PathBuf,
    /// Configuration: `/etc/kedge`.
    pub config: PathBuf,
    /// Our own bpffs mount: `/run/kedge/bpf`.
    pub bpffs: PathBuf,
    /// The cgroup below which `kubepods` and `kedge` are made, relative to each tree's root: `/`, or a lab node's own.
    pub cgroup_parent: String,
    /// The kernel's boot id; state of another boot is stale.
    pub boot_id: String,
    /// The node's own address, once it is known.
    pub node_ip: Option<IpAddr>,
    pub ports: Ports,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub api: u16,
    pub kubelet: u16,
    pub proxy_health: u16,
    pub kubelet_health: u16,
    pub dns: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { api: 6443, kubelet: 10250, proxy_health: 10256, kubelet_health: 10248, dns: 10053 }
    }
}

impl Roots {
    /// The paths that are API, below `prefix` (`/` on a real node).
    pub fn below(prefix: &Path, boot_id: &str) -> Roots {
        let at = |path: &str| prefix.join(path);
        Roots {
            kubelet: at("var/lib/kubelet"),
            pod_logs: at("var/log/pods"),
            container_logs: at("var/log/containers"),
            kubernetes: at("etc/kubernetes"),
            state: at("var/lib/kedge"),
            run: at("run/kedge"),
            log: at("var/log/kedge"),
            config: at("etc/kedge"),
            bpffs: at("run/kedge/bpf"),
            cgroup_parent: "/".to_owned(),
            boot_id: boot_id.to_owned(),
            node_ip: None,
            ports: Ports::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_paths_are_the_documented_ones() {
        let roots = Roots::below(Path::new("/"), "boot");
        assert_eq!(roots.kubelet, Path::new("/var/lib/kubelet"));
        assert_eq!(roots.bpffs, Path::new("/run/kedge/bpf"));
        assert_eq!(roots.ports.kubelet, 10250);
    }
}
