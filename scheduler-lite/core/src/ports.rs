//! Ports of the node that a pod's containers take.

use kedge_api::Pod;
use kedge_api::pod::ContainerPort;

/// One port of the node. An empty `ip` stands for all addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    pub fn conflicts_with(&self, other: &HostPort) -> bool {
        let same_address = self.ip.is_empty() || other.ip.is_empty() || self.ip == other.ip;
        same_address && self.port == other.port && self.protocol == other.protocol
    }
}

/// The ports of ordinary containers and of sidecars; ordinary init containers are over before anybody listens.
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    let containers = pod.spec.containers.iter().chain(sidecars);
    containers.flat_map(|container| &container.ports).filter(|port| port.host_port > 0).map(read).collect()
}

fn read(port: &ContainerPort) -> HostPort {
    let ip = if port.host_ip == "0.0.0.0" { "" } else { &port.host_ip };
    let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
    HostPort { ip: ip.to_owned(), protocol: protocol.to_owned(), port: port.host_port }
}
