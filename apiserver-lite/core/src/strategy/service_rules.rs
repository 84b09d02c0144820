//! What is wrong with a Service, in the order in which upstream looks.

use super::access::Read;
use super::field::{
    Path, duplicate, duplicate_struct, forbidden, ill_formed, invalid, not_supported, required,
};
use super::labels::{validate_label_key, validate_labels};
use super::pod::{validate_ip, validate_port, validate_port_number};
use super::service::{is_externally_accessible, needs_cluster_ip, needs_health_check_node_port};
use crate::status::Findings;
use kedge_api::names;
use serde_json::{Value, json};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const KUBELET_PORT: i64 = 10_250;
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const FIXED: &str = "may not change once set";

/// Findings about the addresses come alone: upstream meets them while it allocates.
pub(super) fn validate(object: &Value) -> Findings {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let addresses = validate_addresses(spec, &path);
    if !addresses.is_empty() {
        return addresses;
    }
    let mut findings = validate_families(spec, &path);
    if findings.is_empty() {
        findings.extend(validate_spec(spec, &path));
    }
    findings
}

pub(super) fn validate_update(object: &Value, old: &Value) -> Findings {
    let (spec, before, path) = (&object["spec"], &old["spec"], Path::new("spec"));
    let mut findings = validate_kept_addresses(spec, before, &path);
    if spec.text("type") == "LoadBalancer"
        && before.text("type") == "LoadBalancer"
        && spec["loadBalancerClass"] != before["loadBalancerClass"]
    {
        findings.push(invalid(&path.child("loadBalancerClass"), spec["loadBalancerClass"].clone(), FIXED));
    }
    if needs_health_check_node_port(before)
        && needs_health_check_node_port(spec)
        && spec["healthCheckNodePort"] != before["healthCheckNodePort"]
    {
        findings.push(forbidden(&path.child("healthCheckNodePort"), "field is immutable"));
    }
    findings.extend(validate(object));
    findings
}

/// The primary address and family of a Service stay, except where it turns headless or back.
fn validate_kept_addresses(spec: &Value, before: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if !needs_cluster_ip(spec) || !needs_cluster_ip(before) {
        return findings;
    }
    let both_headless = is_headless(spec) && is_headless(before);
    for (field, shown) in [("clusterIPs", "clusterIPs"), ("ipFamilies", "ipFamilies")] {
        let skip = both_headless || (field == "ipFamilies" && is_headless(spec) != is_headless(before));
        let (new, old) = (spec.list(field), before.list(field));
        if skip || old.is_empty() {
            continue;
        }
        if new.is_empty() {
            let word = if field == "clusterIPs" { "clusterIP" } else { "ipFamily" };
            let why = format!("primary {word} can not be unset");
            findings.push(invalid(&path.child(field).index(0), spec[shown].clone(), &why));
        } else if new.len() == old.len() {
            for (index, _) in old.iter().enumerate().filter(|(index, value)| new[*index] != **value) {
                let index = if field == "clusterIPs" { index } else { 0 };
                findings.push(invalid(&path.child(field).index(index), spec[shown].clone(), FIXED));
            }
        } else if new[0] != old[0] {
            findings.push(invalid(&path.child(field).index(0), spec["clusterIPs"].clone(), FIXED));
        }
    }
    findings
}

fn is_headless(spec: &Value) -> bool {
    spec.text("clusterIP") == "None"
}

fn validate_spec(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let kind = spec.text("type");
    if spec.lacks("ports") && !is_headless(spec) && kind != "ExternalName" {
        findings.push(required(&path.child("ports"), ""));
    }
    findings.extend(validate_type_rules(spec, path));
    findings.extend(validate_ports(spec, &path.child("ports")));
    findings.extend(validate_labels(&spec["selector"], &path.child("selector")));
    findings.extend(validate_affinity(spec, path));
    for (index, address) in spec.texts("externalIPs").enumerate() {
        let at = path.child("externalIPs").index(index);
        let wrong = validate_ip(address, &at);
        if wrong.is_empty() {
            findings.extend(validate_special_ip(address, &at));
        }
        findings.extend(wrong);
    }
    const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !TYPES.contains(&kind) {
        findings.push(not_supported(&path.child("type"), kind, &TYPES));
    }
    findings.extend(validate_node_ports(spec, &path.child("ports")));
    findings.extend(validate_load_balancer(spec, path));
    findings.extend(validate_traffic_policies(spec, path));
    findings
}

fn validate_type_rules(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let kind = spec.text("type");
    match kind {
        "LoadBalancer" => {
            for (index, port) in spec.list("ports").iter().enumerate() {
                if port.number("port") == Some(KUBELET_PORT) {
                    let why =
                        format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                    findings.push(invalid(&path.child("ports").index(index), KUBELET_PORT, &why));
                }
            }
        }
        "ExternalName" => {
            if !spec.text("clusterIP").is_empty() {
                let why = "may not be set when `type` is 'ExternalName'";
                findings.push(invalid(&path.child("clusterIPs"), spec["clusterIPs"].clone(), why));
            }
            let at = path.child("externalName");
            match spec.text("externalName") {
                "" => findings.push(required(&at, "")),
                name => {
                    let name = name.strip_suffix('.').unwrap_or(name);
                    findings.extend(ill_formed(&at, name, names::dns_subdomain(name)));
                }
            }
        }
        _ => {}
    }
    if is_headless(spec) && matches!(kind, "LoadBalancer" | "NodePort") {
        let why = format!("may not be set to 'None' for {kind} services");
        findings.push(invalid(&path.child("clusterIPs").index(0), "None", &why));
    }
    findings
}

fn validate_ports(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let ports = spec.list("ports");
    let mut names_seen: Vec<&str> = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let (at, name) = (path.index(index), port.text("name"));
        if !name.is_empty() {
            findings.extend(ill_formed(&at.child("name"), name, names::dns_label(name)));
            if names_seen.contains(&name) {
                findings.push(duplicate(&at.child("name"), name));
            }
            names_seen.push(name);
        } else if ports.len() > 1 {
            findings.push(required(&at.child("name"), ""));
        }
        findings.extend(validate_port_number(port.number("port").unwrap_or_default(), &at.child("port")));
        let protocol = port.text("protocol");
        if !PROTOCOLS.contains(&protocol) {
            findings.push(not_supported(&at.child("protocol"), protocol, &PROTOCOLS));
        }
        findings.extend(validate_port(&port["targetPort"], &at.child("targetPort")));
        if port.has("appProtocol") {
            findings.extend(validate_label_key(port.text("appProtocol"), &at.child("appProtocol")));
        }
    }
    findings
}

fn validate_affinity(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let affinity = spec.text("sessionAffinity");
    let at = path.child("sessionAffinityConfig");
    match affinity {
        "None" if spec.has("sessionAffinityConfig") => {
            findings.push(forbidden(&at, "must not be set when session affinity is None"));
        }
        "None" => {}
        "ClientIP" => {
            let seconds =
                spec["sessionAffinityConfig"]["clientIP"].number("timeoutSeconds").unwrap_or_default();
            if seconds <= 0 || seconds > AFFINITY_SECONDS_MAX {
                let why = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                findings.push(invalid(&at.child("clientIP.timeoutSeconds"), seconds, &why));
            }
        }
        other => findings.push(not_supported(&path.child("sessionAffinity"), other, &["ClientIP", "None"])),
    }
    findings
}

fn validate_addresses(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if spec.text("type") == "ExternalName" {
        return findings;
    }
    let (at, single) = (path.child("clusterIPs"), spec.text("clusterIP"));
    let addresses: Vec<&str> = spec.texts("clusterIPs").collect();
    let shown = || spec["clusterIPs"].clone();
    match (single, addresses.first()) {
        ("", Some(_)) => {
            findings.push(invalid(&at, shown(), "must be empty when `clusterIP` is not specified"));
        }
        ("", None) => {}
        (_, None) => findings.push(required(&at, "")),
        (single, Some(first)) if single != *first => {
            findings.push(invalid(&at, shown(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, family) in spec.texts("ipFamilies").enumerate() {
        let at = path.child("ipFamilies").index(index);
        if !["IPv4", "IPv6"].contains(&family) {
            findings.push(not_supported(&at, family, &["IPv4", "IPv6"]));
        }
        if seen.contains(&family) {
            findings.push(duplicate(&at, family));
        }
        seen.push(family);
    }
    const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = spec.text("ipFamilyPolicy");
    if spec.has("ipFamilyPolicy") && !POLICIES.contains(&policy) {
        findings.push(not_supported(&path.child("ipFamilyPolicy"), policy, &POLICIES));
    }
    for (index, address) in
        addresses.iter().enumerate().filter(|(index, address)| *index > 0 || **address != "None")
    {
        findings.extend(validate_ip(address, &at.index(index)));
    }
    if addresses.len() > 1 && addresses[0] == "None" {
        findings.push(invalid(&at, shown(), "'None' must be the first and only value"));
    }
    if addresses.len() > 2 {
        findings.push(invalid(&at, shown(), "may only hold up to 2 values"));
    }
    if findings.is_empty() {
        findings.extend(validate_pairs(spec, &addresses, &at));
    }
    findings
}

/// Each address is of the family that the list of families names for it.
fn validate_pairs(spec: &Value, addresses: &[&str], path: &Path) -> Findings {
    let mut findings = Findings::new();
    if is_headless(spec) {
        return findings;
    }
    for (index, (address, family)) in addresses.iter().zip(spec.texts("ipFamilies")).enumerate() {
        if (family == "IPv6") != address.contains(':') {
            let why = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            findings.push(invalid(&path.index(index), *address, &why));
        }
    }
    findings
}

/// What a cluster with one family cannot give.
fn validate_families(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    if !needs_cluster_ip(spec) || (is_headless(spec) && spec.lacks("selector")) {
        return findings;
    }
    if spec.text("ipFamilyPolicy") == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        findings.push(invalid(&path.child("ipFamilyPolicy"), "RequireDualStack", why));
    }
    for (index, family) in spec.texts("ipFamilies").enumerate().filter(|(_, family)| *family != "IPv4") {
        findings.push(invalid(
            &path.child("ipFamilies").index(index),
            family,
            "not configured on this cluster",
        ));
    }
    findings
}

fn validate_special_ip(address: &str, path: &Path) -> Findings {
    super::endpoints::validate_endpoint_ip(address, path)
}

fn validate_node_ports(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let node_port = |port: &Value| port.number("nodePort").unwrap_or_default();
    let mut taken: Vec<(i64, &str)> = Vec::new();
    for (index, port) in spec.list("ports").iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
        let at = path.index(index).child("nodePort");
        if spec.text("type") == "ClusterIP" {
            findings.push(forbidden(&at, "may not be used when `type` is 'ClusterIP'"));
            continue;
        }
        let key = (node_port(port), port.text("protocol"));
        if taken.contains(&key) {
            findings.push(duplicate(&at, key.0));
        }
        taken.push(key);
    }
    let mut seen: Vec<(i64, &str)> = Vec::new();
    for (index, port) in spec.list("ports").iter().enumerate() {
        let key = (port.number("port").unwrap_or_default(), port.text("protocol"));
        if seen.contains(&key) {
            findings.push(duplicate_struct(&path.index(index), &shown_port(key), ""));
        }
        seen.push(key);
    }
    findings
}

fn shown_port((port, protocol): (i64, &str)) -> [(&'static str, Value); 6] {
    [
        ("Name", "".into()),
        ("Protocol", protocol.into()),
        ("AppProtocol", Value::Null),
        ("Port", port.into()),
        ("TargetPort", 0.into()),
        ("NodePort", 0.into()),
    ]
}

fn validate_load_balancer(spec: &Value, path: &Path) -> Findings {
    let mut findings = Findings::new();
    let is_balancer = spec.text("type") == "LoadBalancer";
    let at = path.child("LoadBalancerSourceRanges");
    if !is_balancer && !spec.lacks("loadBalancerSourceRanges") {
        findings.push(forbidden(&at, ONLY_LOAD_BALANCER));
    }
    for (index, range) in spec.texts("loadBalancerSourceRanges").enumerate().filter(|_| is_balancer) {
        findings.extend(super::networking::validate_cidr(range.trim(), &at.index(index)));
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !is_balancer && spec.has(field) {
            findings.push(forbidden(&path.child(field), ONLY_LOAD_BALANCER));
        }
    }
    if is_balancer && spec.has("loadBalancerClass") {
        let class = spec.text("loadBalancerClass");
        findings.extend(validate_label_key(class, &path.child("loadBalancerClass")));
    }
    findings
}

fn validate_traffic_policies(spec: &Value, path: &Path) -> Findings {
    const POLICIES: [&str; 2] = ["Cluster", "Local"];
    let mut findings = Findings::new();
    let (at, policy) = (path.child("externalTrafficPolicy"), spec.text("externalTrafficPolicy"));
    if is_externally_accessible(spec) {
        if !POLICIES.contains(&policy) {
            findings.push(not_supported(&at, policy, &POLICIES));
        }
    } else if !policy.is_empty() {
        findings.push(invalid(&at, policy, "may only be set for externally-accessible services"));
    }
    let health = spec.number("healthCheckNodePort").unwrap_or_default();
    if health != 0 {
        let at = path.child("healthCheckNodePort");
        if needs_health_check_node_port(spec) {
            findings.extend(validate_port_number(health, &at));
        } else {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            findings.push(invalid(&at, health, why));
        }
    }
    let internal = spec.text("internalTrafficPolicy");
    if spec.has("internalTrafficPolicy") && !POLICIES.contains(&internal) {
        findings.push(not_supported(&path.child("internalTrafficPolicy"), json!(internal), &POLICIES));
    }
    findings
}
