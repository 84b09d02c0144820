//! EndpointSlices, and the older Endpoints.

use super::access::{Fill, Read};
use super::field::{Path, duplicate, ill_formed, immutable, invalid, not_supported, required, too_many};
use super::labels::{validate_label_key, validate_labels};
use super::pod::{validate_ip, validate_port_number};
use super::usual::Usual;
use super::warnings;
use crate::status::Findings;
use kedge_api::names;
use serde_json::Value;
use std::net::IpAddr;

const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const HINTS_MAX: usize = 8;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) static ENDPOINT_SLICE: Usual = Usual {
    default: default_slice,
    on_create: |object| object.each("endpoints", |endpoint| endpoint.drop_field("deprecatedTopology")),
    generation: &["addressType", "endpoints", "ports", "labels"],
    validate: validate_slice,
    validate_update: |object, old| {
        let mut findings = validate_slice(object);
        findings.extend(immutable(&Path::new("addressType"), &object["addressType"], &old["addressType"]));
        findings
    },
    warnings: warnings::of_endpoint_slice,
    ..Usual::PLAIN
};

pub(super) static ENDPOINTS: Usual = Usual {
    default: |object| {
        object.each("subsets", |subset| subset.each("ports", |port| port.fill_text("protocol", "TCP")));
    },
    validate: validate_endpoints,
    validate_update: |object, _| validate_endpoints(object),
    create_on_update: true,
    ..Usual::PLAIN
};

fn default_slice(object: &mut Value) {
    for list in ["endpoints", "ports"] {
        if object.lacks(list) {
            object[list] = Value::Null;
        }
    }
    object.each("endpoints", |endpoint| {
        endpoint.child("conditions");
    });
    object.each("ports", |port| {
        port.fill("name", "");
        port.fill("protocol", "TCP");
    });
}

fn validate_slice(object: &Value) -> Findings {
    const TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
    let kind = object.text("addressType");
    let at = Path::new("addressType");
    let mut findings = match kind {
        "" => vec![required(&at, "")],
        _ if !TYPES.contains(&kind) => vec![not_supported(&at, kind, &TYPES)],
        _ => Findings::new(),
    };
    findings.extend(validate_ports(object.list("ports"), &Path::new("ports")));
    let (endpoints, at) = (object.list("endpoints"), Path::new("endpoints"));
    if endpoints.len() > ENDPOINTS_MAX {
        findings.push(too_many(&at, endpoints.len(), ENDPOINTS_MAX));
        return findings;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        findings.extend(validate_endpoint(endpoint, kind, &at.index(index)));
    }
    findings
}

fn validate_ports(ports: &[Value], path: &Path) -> Findings {
    if ports.len() > PORTS_MAX {
        return vec![too_many(path, ports.len(), PORTS_MAX)];
    }
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (path.index(index), port.text("name"));
        if !name.is_empty() {
            findings.extend(ill_formed(&at.child("name"), name, names::dns_label(name)));
        }
        if seen.contains(&name) {
            findings.push(duplicate(&at.child("name"), name));
        }
        seen.push(name);
        findings.extend(validate_protocol(port, &at));
    }
    findings
}

fn validate_protocol(port: &Value, path: &Path) -> Findings {
    let protocol = port.text("protocol");
    let mut findings = Findings::new();
    if !PROTOCOLS.contains(&protocol) {
        findings.push(not_supported(&path.child("protocol"), protocol, &PROTOCOLS));
    }
    if port.has("appProtocol") {
        findings.extend(validate_label_key(port.text("appProtocol"), &path.child("appProtocol")));
    }
    findings
}

fn validate_endpoint(endpoint: &Value, kind: &str, path: &Path) -> Findings {
    let at = path.child("addresses");
    let count = endpoint.list("addresses").len();
    let mut findings = match count {
        0 => vec![required(&at, "must contain at least 1 address")],
        _ if count > ADDRESSES_MAX => vec![too_many(&at, count, ADDRESSES_MAX)],
        _ => Findings::new(),
    };
    for (index, address) in endpoint.texts("addresses").enumerate() {
        findings.extend(validate_address(address, kind, &at, index));
    }
    let node = endpoint.text("nodeName");
    if endpoint.has("nodeName") {
        findings.extend(ill_formed(&path.child("nodeName"), node, names::dns_subdomain(node)));
    }
    let topology = &endpoint["deprecatedTopology"];
    findings.extend(validate_labels(topology, &path.child("deprecatedTopology")));
    if endpoint.has("hostname") {
        let name = endpoint.text("hostname");
        findings.extend(ill_formed(&path.child("hostname"), name, names::dns_label(name)));
    }
    for list in ["forZones", "forNodes"] {
        findings.extend(validate_hints(endpoint["hints"].list(list), &path.child("hints").child(list)));
    }
    findings
}

fn validate_address(address: &str, kind: &str, path: &Path, index: usize) -> Findings {
    let at = path.index(index);
    if kind == "FQDN" {
        return ill_formed(&at, address, names::dns_subdomain(address.strip_suffix('.').unwrap_or(address)));
    }
    if kind != "IPv4" && kind != "IPv6" {
        return Findings::new();
    }
    let mut findings = validate_ip(address, &at);
    if findings.is_empty() {
        if (kind == "IPv6") != address.contains(':') {
            findings.push(invalid(path, address, &format!("must be an {kind} address")));
        }
        findings.extend(validate_endpoint_ip(address, &at));
    }
    findings
}

/// An address that can be reached from elsewhere.
pub(super) fn validate_endpoint_ip(address: &str, path: &Path) -> Findings {
    let Ok(ip) = address.parse::<IpAddr>() else {
        return vec![invalid(path, address, "must be a valid IP address")];
    };
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    let unspecified = format!("may not be unspecified ({address})");
    let rules = [
        (ip.is_unspecified(), unspecified.as_str()),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ];
    rules.iter().filter(|(is_broken, _)| *is_broken).map(|(_, why)| invalid(path, address, why)).collect()
}

fn validate_hints(hints: &[Value], path: &Path) -> Findings {
    if hints.len() > HINTS_MAX {
        return vec![too_many(path, hints.len(), HINTS_MAX)];
    }
    let mut findings = Findings::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, hint) in hints.iter().enumerate() {
        let (at, name) = (path.index(index).child("name"), hint.text("name"));
        if seen.contains(&name) {
            findings.push(duplicate(&at, name));
        }
        seen.push(name);
        findings.extend(ill_formed(&at, name, names::label_value(name)));
    }
    findings
}

fn validate_endpoints(object: &Value) -> Findings {
    let mut findings = Findings::new();
    for (index, subset) in object.list("subsets").iter().enumerate() {
        let at = Path::new("subsets").index(index);
        if subset.lacks("addresses") && subset.lacks("notReadyAddresses") {
            findings.push(required(&at, "must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in subset.list(list).iter().enumerate() {
                let at = at.child(list).index(index);
                let ip = address.text("ip");
                let wrong = validate_ip(ip, &at.child("ip"));
                if wrong.is_empty() {
                    findings.extend(validate_endpoint_ip(ip, &at.child("ip")));
                }
                findings.extend(wrong);
            }
        }
        let ports = subset.list("ports");
        for (index, port) in ports.iter().enumerate() {
            let (at, name) = (at.child("ports").index(index), port.text("name"));
            match name {
                "" if ports.len() > 1 => findings.push(required(&at.child("name"), "")),
                "" => {}
                _ => findings.extend(ill_formed(&at.child("name"), name, names::dns_label(name))),
            }
            findings.extend(validate_port_number(port.number("port").unwrap_or_default(), &at.child("port")));
            findings.extend(validate_protocol(port, &at));
        }
    }
    findings
}
