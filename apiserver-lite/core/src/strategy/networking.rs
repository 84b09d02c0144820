//! The kinds of `networking.k8s.io`.

use super::access::{Fill, Read};
use super::field::{
    IMMUTABLE, Path, forbidden, ill_formed, immutable, invalid, invalid_struct, not_supported, required,
};
use super::ingress_rules;
use super::labels::validate_selector;
use super::pod::validate_port_number;
use super::usual::{ALL_METADATA, Usual};
use super::warnings;
use crate::status::Findings;
use ipnet::IpNet;
use kedge_api::names;
use serde_json::{Value, json};

pub(super) static INGRESS: Usual = Usual {
    default: |object| {
        object.child("spec");
        object.child("status").child("loadBalancer");
    },
    status: Some(|_| json!({"loadBalancer": {}})),
    generation: &["spec"],
    validate: ingress_rules::validate_create,
    validate_update: |object, _| ingress_rules::validate(object),
    warnings: warnings::of_ingress,
    ..Usual::PLAIN
};

pub(super) static INGRESS_CLASS: Usual = Usual {
    default: |object| {
        object.child("spec").with("parameters", |parameters| parameters.fill("scope", "Cluster"));
    },
    generation: &["spec"],
    validate: ingress_rules::validate_class,
    validate_update: |object, old| {
        let at = Path::new("spec").child("controller");
        let mut findings = immutable(&at, &object["spec"]["controller"], &old["spec"]["controller"]);
        findings.extend(ingress_rules::validate_class(object));
        findings
    },
    ..Usual::PLAIN
};

pub(super) static NETWORK_POLICY: Usual = Usual {
    default: default_network_policy,
    generation: &["spec"],
    validate: validate_policy,
    validate_update: |object, _| validate_policy(object),
    ..Usual::PLAIN
};

pub(super) static SERVICE_CIDR: Usual = Usual {
    status_keeps: ALL_METADATA,
    default: |object| {
        object.child("status");
    },
    status: Some(|_| json!({})),
    validate: validate_service_cidr,
    validate_update: |object, old| {
        let at = Path::new("spec").child("cidrs");
        immutable(&at, &object["spec"]["cidrs"], &old["spec"]["cidrs"])
    },
    ..Usual::PLAIN
};

pub(super) static IP_ADDRESS: Usual = Usual {
    validate: validate_address,
    validate_update: |object, old| {
        let (new, before) = (&object["spec"]["parentRef"], &old["spec"]["parentRef"]);
        if new == before {
            return Findings::new();
        }
        let shown = [
            ("Group", new.text("group").into()),
            ("Resource", new.text("resource").into()),
            ("Namespace", new.text("namespace").into()),
            ("Name", new.text("name").into()),
        ];
        vec![invalid_struct(&Path::new("spec").child("parentRef"), &shown, IMMUTABLE)]
    },
    ..Usual::PLAIN
};

fn default_network_policy(object: &mut Value) {
    let spec = object.child("spec");
    spec.child("podSelector");
    if spec.lacks("policyTypes") {
        let has_egress = !spec.lacks("egress");
        spec["policyTypes"] = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    }
    for direction in ["ingress", "egress"] {
        spec.each(direction, |rule| rule.each("ports", default_port));
    }
}

fn default_port(port: &mut Value) {
    port.fill("protocol", "TCP");
}

/// Old fields take any text that reads as a range.
pub(super) fn validate_cidr(text: &str, path: &Path) -> Findings {
    if text.parse::<IpNet>().is_ok() {
        return Findings::new();
    }
    vec![invalid(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
}

fn validate_policy(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let mut findings = validate_selector(&spec["podSelector"], &path.child("podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.list(direction).iter().enumerate() {
            let at = path.child(direction).index(index);
            for (index, port) in rule.list("ports").iter().enumerate() {
                findings.extend(validate_policy_port(port, &at.child("ports").index(index)));
            }
            for (index, peer) in rule.list(peers).iter().enumerate() {
                findings.extend(validate_peer(peer, &at.child(peers).index(index)));
            }
        }
    }
    const TYPES: [&str; 2] = ["Ingress", "Egress"];
    let at = path.child("policyTypes");
    if spec.list("policyTypes").len() > TYPES.len() {
        let why = "may not specify more than two policyTypes";
        findings.push(invalid(&at, spec["policyTypes"].clone(), why));
        return findings;
    }
    for (index, kind) in spec.texts("policyTypes").enumerate().filter(|(_, kind)| !TYPES.contains(kind)) {
        findings.push(not_supported(&at.index(index), kind, &TYPES));
    }
    findings
}

fn validate_policy_port(port: &Value, path: &Path) -> Findings {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let mut findings = Findings::new();
    let protocol = port.text("protocol");
    if port.has("protocol") && !PROTOCOLS.contains(&protocol) {
        findings.push(not_supported(&path.child("protocol"), protocol, &PROTOCOLS));
    }
    let (at, end) = (path.child("endPort"), port.number("endPort"));
    match (&port["port"], end) {
        (Value::Null, Some(end)) => {
            findings.push(invalid(&at, end, "may not be specified when `port` is not specified"));
        }
        (Value::Null, None) => {}
        (Value::String(name), end) => {
            if let Some(end) = end {
                findings.push(invalid(&at, end, "may not be specified when `port` is non-numeric"));
            }
            findings.extend(ill_formed(&path.child("port"), name, names::port_name(name)));
        }
        (number, end) => {
            let number = number.as_i64().unwrap_or_default();
            findings.extend(validate_port_number(number, &path.child("port")));
            if let Some(end) = end {
                if end < number {
                    findings.push(invalid(&at, number, "must be greater than or equal to `port`"));
                }
                findings.extend(validate_port_number(end, &at));
            }
        }
    }
    findings
}

fn validate_peer(peer: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let selectors: Vec<&str> =
        ["podSelector", "namespaceSelector"].into_iter().filter(|selector| peer.has(selector)).collect();
    for selector in &selectors {
        findings.extend(validate_selector(&peer[*selector], &path.child(selector)));
    }
    if peer.has("ipBlock") {
        findings.extend(validate_block(&peer["ipBlock"], &path.child("ipBlock")));
        if !selectors.is_empty() {
            findings.push(forbidden(path, "may not specify both ipBlock and another peer"));
        }
    } else if selectors.is_empty() {
        findings.push(required(path, "must specify a peer"));
    }
    findings
}

fn validate_block(block: &Value, path: &Path) -> Findings {
    let (at, range) = (path.child("cidr"), block.text("cidr"));
    if range.is_empty() {
        return vec![required(&at, "")];
    }
    let mut findings = validate_cidr(range, &at);
    let Ok(whole) = range.parse::<IpNet>() else {
        return findings;
    };
    for (index, text) in block.texts("except").enumerate() {
        let at = path.child("except").index(index);
        findings.extend(validate_cidr(text, &at));
        let is_inside = |part: IpNet| whole.contains(&part) && part.prefix_len() > whole.prefix_len();
        if text.parse().is_ok_and(|part| !is_inside(part)) {
            findings.push(invalid(&at, text, "must be a strict subset of `cidr`"));
        }
    }
    findings
}

fn validate_service_cidr(object: &Value) -> Findings {
    let path = Path::new("spec").child("cidrs");
    let ranges: Vec<&str> = object["spec"].texts("cidrs").collect();
    let shown = object["spec"]["cidrs"].clone();
    if ranges.is_empty() {
        return vec![required(&path, "at least one CIDR required")];
    }
    if ranges.len() > 2 {
        return vec![invalid_struct(&path, &[("CIDRs", shown)], "may only hold up to 2 values")];
    }
    let mut findings = Findings::new();
    if ranges.len() == 2 && ranges[0].contains(':') == ranges[1].contains(':') {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        findings.push(invalid(&path, shown, why));
    }
    for (index, range) in ranges.iter().enumerate() {
        findings.extend(validate_network(range, &path.index(index)));
    }
    findings
}

/// A range whose address is the network's own.
fn validate_network(text: &str, path: &Path) -> Findings {
    match text.parse::<IpNet>() {
        Err(_) => validate_cidr(text, path),
        Ok(net) if net.trunc() != net => {
            vec![invalid(path, text, "must not have bits set beyond the prefix length")]
        }
        Ok(_) => Findings::new(),
    }
}

fn validate_address(object: &Value) -> Findings {
    let path = Path::new("spec").child("parentRef");
    let parent = &object["spec"]["parentRef"];
    if parent.is_null() {
        return vec![required(&path, "")];
    }
    let missing = ["resource", "name"].into_iter().filter(|field| parent.text(field).is_empty());
    missing.map(|field| required(&path.child(field), "")).collect()
}

/// `example.com/name`.
pub(super) fn validate_domain_path(text: &str, path: &Path) -> Findings {
    if text.is_empty() {
        return vec![required(path, "")];
    }
    match text.split_once('/') {
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
            let mut findings = ill_formed(path, host, names::dns_subdomain(host));
            let is_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
            if !rest.chars().all(is_path) {
                let why = names::regex_error("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]);
                findings.push(invalid(path, rest, &why));
            }
            findings
        }
        _ => vec![invalid(path, text, "must be a domain-prefixed path (such as \"acme.io/foo\")")],
    }
}
