//! What the cluster's names mean, after the Kubernetes DNS specification 1.1.0. A pure function of a question and a
//! directory; who asks, caching and forwarding are the shell's.
//!
//! ```text
//! <service>.<namespace>.svc.<domain>                  A AAAA SRV, CNAME for ExternalName
//! <endpoint>.<service>.<namespace>.svc.<domain>       A AAAA
//! _<port>._<protocol>.<service>.<namespace>.svc.…     SRV
//! <a-b-c-d>.<namespace>.pod.<domain>                  A AAAA
//! ….in-addr.arpa, ….ip6.arpa                          PTR
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use kedge_api::service::ServiceType;
use kedge_api::{Endpoint, EndpointSlice, Service};

/// Seconds that an answer may be kept; the specification's reference server gives the same.
pub const TTL: u32 = 30;

const SPECIFICATION: &str = "1.1.0";

/// What is asked of the cluster's state.
pub trait Directory {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    fn has_namespace(&self, namespace: &str) -> bool;
    /// Names, relative to `svc.<domain>`, of a service with this virtual address or of endpoints in headless services.
    fn names_of(&self, ip: IpAddr) -> Vec<String>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name exists, but has nothing of this type.
    NoData,
    NxDomain,
    /// The name is another one's alias; the shell asks for that and adds what it finds.
    Alias {
        record: Box<Record>,
        target: Name,
    },
    /// Not our zone.
    Elsewhere,
}

/// The cluster's domain.
#[derive(Debug, Clone)]
pub struct Zone {
    pub domain: Name,
}

/// An address that a name stands for, with the label of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    label: String,
    ip: IpAddr,
}

impl Zone {
    pub fn new(domain: &str) -> Result<Zone, hickory_proto::ProtoError> {
        let mut domain = Name::from_ascii(domain)?.to_lowercase();
        domain.set_fqdn(true);
        Ok(Zone { domain })
    }

    /// For the authority section of answers without records (RFC 2308).
    pub fn soa(&self) -> Record {
        let name = |label: &str| Name::from_ascii(label).and_then(|name| name.append_domain(&self.domain));
        let server = name("ns.dns").unwrap_or_else(|_| self.domain.clone());
        let mail = name("hostmaster").unwrap_or_else(|_| self.domain.clone());
        let soa = SOA::new(server, mail, 1, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    pub fn answer(&self, directory: &impl Directory, name: &Name, kind: RecordType) -> Answer {
        let lower = name.to_lowercase();
        if !self.domain.zone_of(&lower) {
            return match kind {
                RecordType::PTR => self.reverse(directory, name, &lower),
                _ => Answer::Elsewhere,
            };
        }
        let depth = lower.iter().count() - self.domain.iter().count();
        let labels: Vec<String> =
            lower.iter().take(depth).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let question = Question { zone: self, directory, name, kind };
        match labels.as_slice() {
            [] => question.apex(),
            ["dns-version"] => question.text(SPECIFICATION),
            ["svc" | "pod"] => Answer::NoData,
            [namespace, "svc" | "pod"] => question.namespace(namespace),
            [service, namespace, "svc"] => question.service(namespace, service),
            [port, protocol, service, namespace, "svc"] => question.port(namespace, service, protocol, port),
            [endpoint, service, namespace, "svc"] => question.endpoint(namespace, service, endpoint),
            [ip, namespace, "pod"] => question.pod(namespace, ip),
            _ => Answer::NxDomain,
        }
    }

    fn reverse(&self, directory: &impl Directory, name: &Name, lower: &Name) -> Answer {
        let Ok(net) = lower.parse_arpa_name() else {
            return Answer::Elsewhere;
        };
        let names = directory.names_of(net.addr());
        let answers: Vec<Record> = names
            .iter()
            .filter_map(|relative| self.service_name(relative))
            .map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))))
            .collect();
        if answers.is_empty() {
            return Answer::Elsewhere;
        }
        Answer::Records { answers, additionals: Vec::new() }
    }

    /// A name relative to `svc.<domain>`; labels that DNS cannot hold have none.
    fn service_name(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(relative).ok()?.append_label("svc").ok()?.append_domain(&self.domain).ok()
    }
}

struct Question<'a, D> {
    zone: &'a Zone,
    directory: &'a D,
    name: &'a Name,
    kind: RecordType,
}

impl<D: Directory> Question<'_, D> {
    fn record(&self, data: RData) -> Record {
        Record::from_rdata(self.name.clone(), TTL, data)
    }

    fn records(&self, answers: Vec<Record>) -> Answer {
        if answers.is_empty() { Answer::NoData } else { Answer::Records { answers, additionals: Vec::new() } }
    }

    fn apex(&self) -> Answer {
        match self.kind {
            RecordType::SOA => self.records(vec![self.zone.soa()]),
            RecordType::NS => {
                match Name::from_ascii("ns.dns").and_then(|name| name.append_domain(&self.zone.domain)) {
                    Ok(server) => self.records(vec![self.record(RData::NS(NS(server)))]),
                    Err(_) => Answer::NoData,
                }
            }
            _ => Answer::NoData,
        }
    }

    fn text(&self, text: &str) -> Answer {
        match self.kind {
            RecordType::TXT => self.records(vec![self.record(RData::TXT(TXT::new(vec![text.to_owned()])))]),
            _ => Answer::NoData,
        }
    }

    fn namespace(&self, namespace: &str) -> Answer {
        if self.directory.has_namespace(namespace) { Answer::NoData } else { Answer::NxDomain }
    }

    fn service(&self, namespace: &str, name: &str) -> Answer {
        let Some(service) = self.directory.service(namespace, name) else {
            return Answer::NxDomain;
        };
        if service.spec.type_ == ServiceType::ExternalName {
            return self.alias(&service.spec.external_name);
        }
        if self.kind == RecordType::SRV {
            return self.ports(&service, namespace, name, |_, _| true);
        }
        if !service.is_headless() {
            return self.addresses(service.cluster_addresses());
        }
        let targets = self.targets(namespace, name);
        // A headless service nobody serves does not exist, as far as DNS is concerned.
        if targets.is_empty() {
            Answer::NxDomain
        } else {
            self.addresses(targets.into_iter().map(|target| target.ip))
        }
    }

    fn alias(&self, target: &str) -> Answer {
        let Ok(mut target) = Name::from_ascii(target) else {
            return Answer::NoData;
        };
        target.set_fqdn(true);
        Answer::Alias { record: Box::new(self.record(RData::CNAME(CNAME(target.clone())))), target }
    }

    fn endpoint(&self, namespace: &str, service: &str, label: &str) -> Answer {
        let is_headless =
            self.directory.service(namespace, service).is_some_and(|service| service.is_headless());
        if !is_headless {
            return Answer::NxDomain;
        }
        let ips: Vec<IpAddr> = self
            .targets(namespace, service)
            .into_iter()
            .filter(|target| target.label == label)
            .map(|t| t.ip)
            .collect();
        if ips.is_empty() { Answer::NxDomain } else { self.addresses(ips) }
    }

    fn port(&self, namespace: &str, service: &str, protocol: &str, port: &str) -> Answer {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
            return Answer::NxDomain;
        };
        let Some(found) = self.directory.service(namespace, service) else {
            return Answer::NxDomain;
        };
        if found.spec.type_ == ServiceType::ExternalName {
            return Answer::NxDomain;
        }
        let wanted =
            |name: &str, of: &str| name.eq_ignore_ascii_case(port) && of.eq_ignore_ascii_case(protocol);
        let exists = found.spec.ports.iter().any(|port| wanted(&port.name, port.protocol.as_str()));
        match (exists, self.kind) {
            (false, _) => Answer::NxDomain,
            (true, RecordType::SRV) => self.ports(&found, namespace, service, wanted),
            (true, _) => Answer::NoData,
        }
    }

    /// SRV records with their targets' addresses beside them.
    fn ports(
        &self,
        service: &Service,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Answer {
        let mut answers = Vec::new();
        let mut glue = BTreeSet::new();
        let srv = |port: u16, target: &Name| self.record(RData::SRV(SRV::new(0, 100, port, target.clone())));
        if !service.is_headless() {
            let Some(target) = self.zone.service_name(&format!("{name}.{namespace}")) else {
                return Answer::NoData;
            };
            for port in service.spec.ports.iter().filter(|port| wanted(&port.name, port.protocol.as_str())) {
                answers.push(srv(port.port, &target));
            }
            glue.extend(service.cluster_addresses().into_iter().map(|ip| (target.clone(), ip)));
        } else {
            for slice in self.directory.slices(namespace, name) {
                for port in &slice.ports {
                    let Some(number) = port.port else { continue };
                    if !wanted(port.name.as_deref().unwrap_or_default(), port.protocol.as_str()) {
                        continue;
                    }
                    for target in targets(&slice, service.spec.publish_not_ready_addresses) {
                        let relative = format!("{}.{name}.{namespace}", target.label);
                        let Some(full) = self.zone.service_name(&relative) else {
                            continue;
                        };
                        answers.push(srv(number, &full));
                        glue.insert((full, target.ip));
                    }
                }
            }
        }
        if answers.is_empty() {
            return Answer::NoData;
        }
        let additionals =
            glue.into_iter().map(|(name, ip)| Record::from_rdata(name, TTL, address(ip))).collect();
        Answer::Records { answers, additionals }
    }

    /// `10-244-0-5`, or an IPv6 address with dashes for colons; the address is in the name itself.
    fn pod(&self, namespace: &str, label: &str) -> Answer {
        if !self.directory.has_namespace(namespace) {
            return Answer::NxDomain;
        }
        let dotted = label.replace('-', ".").parse::<IpAddr>().ok();
        let ip = dotted.or_else(|| label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6));
        match ip {
            Some(ip) => self.addresses([ip]),
            None => Answer::NxDomain,
        }
    }

    fn addresses(&self, ips: impl IntoIterator<Item = IpAddr>) -> Answer {
        let fits = |ip: &IpAddr| match self.kind {
            RecordType::A => ip.is_ipv4(),
            RecordType::AAAA => ip.is_ipv6(),
            _ => false,
        };
        let ips: BTreeSet<IpAddr> = ips.into_iter().filter(fits).collect();
        self.records(ips.into_iter().map(|ip| self.record(address(ip))).collect())
    }

    fn targets(&self, namespace: &str, service: &str) -> BTreeSet<Target> {
        let Some(found) = self.directory.service(namespace, service) else {
            return BTreeSet::new();
        };
        let unready = found.spec.publish_not_ready_addresses;
        self.directory.slices(namespace, service).iter().flat_map(|slice| targets(slice, unready)).collect()
    }
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(A(ip)),
        IpAddr::V6(ip) => RData::AAAA(AAAA(ip)),
    }
}

/// Endpoints that names may lead to.
fn targets(slice: &EndpointSlice, unready: bool) -> Vec<Target> {
    let mut found = Vec::new();
    for endpoint in slice.endpoints.iter().filter(|endpoint| unready || endpoint.conditions.is_ready()) {
        for ip in endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok()) {
            found.push(Target { label: endpoint_label(endpoint, ip), ip });
        }
    }
    found
}

/// The hostname, else the address with dashes.
pub fn endpoint_label(endpoint: &Endpoint, ip: IpAddr) -> String {
    match endpoint.hostname.as_deref().filter(|hostname| !hostname.is_empty()) {
        Some(hostname) => hostname.to_ascii_lowercase(),
        None => ip.to_string().replace(['.', ':'], "-"),
    }
}

#[cfg(test)]
mod tests;
