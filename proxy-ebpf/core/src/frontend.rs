//! Who answers where: a Service and its EndpointSlices become frontends, as kube-proxy would have it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use kedge_api::service::{
    Endpoint, EndpointSlice, Protocol, Service, ServicePort, ServiceType, SessionAffinity, TrafficPolicy,
};
use kedge_proxy_maps::{Address, ServiceKey, TCP, UDP, scope, service_flag};

/// Whoever sets this label on a service serves it by other means.
const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The API server's default for `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS: u32 = 10800;

/// Address and port, the latter in network order.
pub type BackendAddress = (Address, u16);

/// The service port that a frontend belongs to. Its frontends share session affinity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId {
    pub namespace: String,
    pub service: String,
    pub port: u16,
    pub protocol: Protocol,
}

/// One address and port that answers, for one kind of client, and the backends behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    pub key: ServiceKey,
    pub port: PortId,
    pub backends: BTreeSet<BackendAddress>,
    /// 0: no session affinity.
    pub affinity_seconds: u32,
    /// Bits of [`service_flag`].
    pub flags: u32,
    /// Several nodes may answer this frontend, and should choose alike.
    pub consistent: bool,
}

/// The backends of one service port in one family.
struct Backends {
    cluster: BTreeSet<BackendAddress>,
    local: BTreeSet<BackendAddress>,
}

/// Every frontend of a service on the node named `node`.
pub fn frontends(service: &Service, slices: &[Arc<EndpointSlice>], node: &str) -> Vec<Frontend> {
    let labels = &service.metadata.labels;
    if labels.contains_key(SERVICE_PROXY_NAME) || labels.contains_key(HEADLESS) {
        return Vec::new();
    }
    let cluster_ips = service.cluster_addresses();
    let mut found = Vec::new();
    for port in &service.spec.ports {
        let Some(protocol) = protocol_number(port.protocol) else {
            continue;
        };
        for wants_v4 in [true, false] {
            if !cluster_ips.iter().any(|ip| ip.is_ipv4() == wants_v4) {
                continue;
            }
            let backends = backends(slices, port, wants_v4, node);
            let builder = Builder { service, port, protocol, backends: &backends };
            builder.frontends(&cluster_ips, wants_v4, &mut found);
        }
    }
    found
}

fn protocol_number(protocol: Protocol) -> Option<u8> {
    match protocol {
        Protocol::Tcp => Some(TCP),
        Protocol::Udp => Some(UDP),
        // The datapath has no SCTP.
        Protocol::Sctp => None,
    }
}

struct Builder<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    protocol: u8,
    backends: &'a Backends,
}

impl Builder<'_> {
    fn frontends(&self, cluster_ips: &[IpAddr], wants_v4: bool, found: &mut Vec<Frontend>) {
        let spec = &self.service.spec;
        for ip in cluster_ips.iter().filter(|ip| ip.is_ipv4() == wants_v4) {
            found.push(self.frontend(Address::from_ip(*ip), scope::INTERNAL, spec.internal_traffic_policy));
        }
        for ip in external_addresses(self.service).into_iter().filter(|ip| ip.is_ipv4() == wants_v4) {
            self.both_scopes(Address::from_ip(ip), self.port.port, found);
        }
        // A NodePort answers on every address of the node, so its key has none. With both families there is one key for
        // both; the service's first family has it.
        let has_node_port = spec.type_ != ServiceType::ClusterIP && self.port.node_port != 0;
        let is_first_family = cluster_ips.first().is_some_and(|ip| ip.is_ipv4() == wants_v4);
        if has_node_port && is_first_family {
            self.both_scopes(Address::UNSPECIFIED, self.port.node_port, found);
        }
    }

    /// An address that outside clients use. Clients of this node are always served by the whole cluster: for them the
    /// external policy has nothing to say, their packets never were outside.
    fn both_scopes(&self, address: Address, port: u16, found: &mut Vec<Frontend>) {
        let external = self.service.spec.external_traffic_policy;
        for (scope, policy) in [(scope::INTERNAL, TrafficPolicy::Cluster), (scope::EXTERNAL, external)] {
            let mut frontend = self.frontend(address, scope, policy);
            frontend.key.port = port.to_be();
            frontend.consistent = scope == scope::EXTERNAL;
            found.push(frontend);
        }
    }

    fn frontend(&self, address: Address, scope: u8, policy: TrafficPolicy) -> Frontend {
        let backends = match policy {
            TrafficPolicy::Cluster => &self.backends.cluster,
            TrafficPolicy::Local => &self.backends.local,
        };
        // Nobody anywhere is a refusal; nobody here is silence, so that a load balancer tries another node.
        let drops = policy == TrafficPolicy::Local && !self.backends.cluster.is_empty();
        Frontend {
            key: ServiceKey { address, port: self.port.port.to_be(), protocol: self.protocol, scope },
            port: PortId {
                namespace: self.service.metadata.namespace.clone(),
                service: self.service.metadata.name.clone(),
                port: self.port.port,
                protocol: self.port.protocol,
            },
            backends: backends.clone(),
            affinity_seconds: affinity_seconds(self.service),
            flags: if drops { service_flag::DROP_IF_EMPTY } else { 0 },
            consistent: false,
        }
    }
}

fn affinity_seconds(service: &Service) -> u32 {
    match service.spec.session_affinity {
        SessionAffinity::None => 0,
        SessionAffinity::ClientIP => {
            let config = service.spec.session_affinity_config.as_ref();
            config.and_then(|config| config.client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS)
        }
    }
}

fn external_addresses(service: &Service) -> BTreeSet<IpAddr> {
    let ingress = service.status.load_balancer.ingress.iter();
    let balanced =
        ingress.filter(|ingress| ingress.ip_mode.as_deref().unwrap_or("VIP") == "VIP").map(|i| &i.ip);
    service.spec.external_ips.iter().chain(balanced).filter_map(|text| text.parse().ok()).collect()
}

/// Ready endpoints; where there is none, those that still serve while they terminate.
fn backends(slices: &[Arc<EndpointSlice>], port: &ServicePort, wants_v4: bool, node: &str) -> Backends {
    let family = if wants_v4 { "IPv4" } else { "IPv6" };
    let mut all: Vec<(&Endpoint, BackendAddress)> = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type == family) {
        let number = slice.ports.iter().find_map(|candidate| {
            let same = candidate.name.as_deref().unwrap_or_default() == port.name;
            if same && candidate.protocol == port.protocol { candidate.port } else { None }
        });
        let Some(number) = number else { continue };
        for endpoint in &slice.endpoints {
            let addresses = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
            all.extend(addresses.map(|ip| (endpoint, (Address::from_ip(ip), number.to_be()))));
        }
    }
    let select = |of_node: bool| {
        let here = |endpoint: &Endpoint| !of_node || endpoint.node_name.as_deref() == Some(node);
        let pick = |wanted: fn(&Endpoint) -> bool| -> BTreeSet<BackendAddress> {
            all.iter()
                .filter(|(endpoint, _)| here(endpoint) && wanted(endpoint))
                .map(|(_, address)| *address)
                .collect()
        };
        let ready = pick(|endpoint| endpoint.conditions.is_ready());
        if !ready.is_empty() {
            return ready;
        }
        pick(|endpoint| endpoint.conditions.is_serving() && endpoint.conditions.is_terminating())
    };
    Backends { cluster: select(false), local: select(true) }
}

#[cfg(test)]
mod tests;
