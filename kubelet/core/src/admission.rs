//! The node's own check of a pod before anything of it is started: what the scheduler has decided may be stale, or there
//! was no scheduler. The first finding rejects the pod.

use kedge_api::Node;
use kedge_api::node_selector::Required;
use kedge_api::pod::Pod;

use crate::observed::Ending;
use crate::resources;

/// The reason that a label of the node, seen a moment later, may undo.
pub const NODE_AFFINITY: &str = "NodeAffinity";

/// Sysctls that are namespaced and cannot harm others (the names are Kubernetes' documented safe set).
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_notsent_lowat",
];

/// What the kernel of this node offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelFeatures {
    pub app_armor: bool,
}

/// `others` are the pods that are already admitted here and have not ended.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod], features: KernelFeatures) -> Result<(), Ending> {
    fits(pod, node, others)?;
    sysctls(pod)?;
    app_armor(pod, features)
}

fn refuse(reason: &str, message: String) -> Result<(), Ending> {
    Err(Ending { reason: reason.to_owned(), message })
}

fn fits(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Ending> {
    let allocatable = &node.status.allocatable;
    if let Some(most) = resources::amount(allocatable, "pods") {
        let used = i64::try_from(others.len()).unwrap_or(i64::MAX);
        if used + 1 > most {
            return out_of("pods", 1, used, most);
        }
    }
    let wanted =
        pod.spec.containers.iter().chain(&pod.spec.init_containers).flat_map(|c| c.resources.requests.keys());
    let mut names: Vec<&str> = wanted.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let read = |list| {
            if name == "cpu" { resources::milli(list, name) } else { resources::amount(list, name) }
        };
        let requested = resources::pod_total(&pod.spec, |r| &r.requests, name);
        let capacity = read(allocatable).unwrap_or(0);
        let used: i64 =
            others.iter().map(|other| resources::pod_total(&other.spec, |r| &r.requests, name)).sum();
        if requested > 0 && requested + used > capacity {
            return out_of(name, requested, used, capacity);
        }
    }
    if !Required::of(pod).accepts(node) {
        return predicate(NODE_AFFINITY, "node(s) didn't match Pod's node affinity/selector");
    }
    if !pod.spec.node_name.is_empty() && pod.spec.node_name != node.metadata.name {
        return predicate("NodeName", "node(s) didn't match the requested node name");
    }
    if others.iter().any(|other| ports_conflict(pod, other)) {
        return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    Ok(())
}

fn predicate(name: &str, what: &str) -> Result<(), Ending> {
    refuse(name, format!("Predicate {name} failed: {what}"))
}

fn out_of(name: &str, requested: i64, used: i64, capacity: i64) -> Result<(), Ending> {
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    refuse(&format!("OutOf{name}"), message)
}

/// The same host port and protocol on the same (or the any) address.
fn ports_conflict(pod: &Pod, other: &Pod) -> bool {
    let ports = |pod: &Pod| {
        let host_network = pod.spec.host_network;
        let of = move |port: &kedge_api::pod::ContainerPort| {
            let number =
                if host_network && port.host_port == 0 { port.container_port } else { port.host_port };
            let protocol = if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.clone() };
            let ip = if port.host_ip.is_empty() { "0.0.0.0".to_owned() } else { port.host_ip.clone() };
            (number, protocol, ip)
        };
        pod.spec
            .containers
            .iter()
            .flat_map(|c| c.ports.iter())
            .map(of)
            .filter(|p| p.0 > 0)
            .collect::<Vec<_>>()
    };
    let theirs = ports(other);
    ports(pod).iter().any(|(number, protocol, ip)| {
        theirs.iter().any(|(other_number, other_protocol, other_ip)| {
            let same_ip = ip == other_ip || ip == "0.0.0.0" || other_ip == "0.0.0.0";
            number == other_number && protocol == other_protocol && same_ip
        })
    })
}

fn sysctls(pod: &Pod) -> Result<(), Ending> {
    let context = pod.spec.security_context.as_deref();
    for sysctl in context.map(|context| context.sysctls.as_slice()).unwrap_or_default() {
        let name = sysctl.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return refuse("SysctlForbidden", format!("forbidden sysctl: \"{name}\" not allowlisted"));
        }
        if name.starts_with("net.") && pod.spec.host_network {
            return refuse(
                "SysctlForbidden",
                format!("forbidden sysctl: \"{name}\" not allowed with host net enabled"),
            );
        }
    }
    Ok(())
}

fn app_armor(pod: &Pod, features: KernelFeatures) -> Result<(), Ending> {
    let of_pod = pod.spec.security_context.as_deref().and_then(|context| context.app_armor_profile.as_ref());
    let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let of_containers = containers
        .filter_map(|c| c.security_context.as_deref().and_then(|context| context.app_armor_profile.as_ref()));
    let asked = of_pod.into_iter().chain(of_containers).any(|profile| profile.r#type != "Unconfined");
    if asked && !features.app_armor {
        return refuse("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host".to_owned());
    }
    Ok(())
}

/// The message of the status of a rejected pod.
pub fn rejection_message(ending: &Ending) -> String {
    format!("Pod was rejected: {}", ending.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn check(spec: serde_json::Value, other: serde_json::Value, expected: &str) {
        let node: Node = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "node", "labels": {"a": "b", "n": "5"}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}}}))
        .unwrap();
        let other = pod(other);
        let seen = admit(&pod(spec.clone()), &node, &[&other], KernelFeatures::default());
        let seen =
            seen.err().map(|ending| format!("{}: {}", ending.reason, ending.message)).unwrap_or_default();
        assert_eq!(seen, expected, "{spec}");
    }

    #[test]
    fn reasons() {
        let none = || serde_json::json!({"containers": []});
        let cpu = |cpu: &str| serde_json::json!({"containers": [{"resources": {"requests": {"cpu": cpu}}}]});
        check(none(), none(), "");
        check(cpu("1500m"), cpu("500m"), "");
        check(
            cpu("1501m"),
            cpu("500m"),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000",
        );
        check(
            serde_json::json!({"nodeSelector": {"a": "x"}}),
            none(),
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        );
        check(serde_json::json!({"nodeSelector": {"a": "b"}}), none(), "");
        let port = |ip: &str| serde_json::json!({"containers": [{"ports": [{"containerPort": 1, "hostPort": 80, "hostIP": ip}]}]});
        check(
            port(""),
            port("10.0.0.1"),
            "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        );
        check(port("10.0.0.2"), port("10.0.0.1"), "");
        check(
            serde_json::json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            none(),
            "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted",
        );
        check(
            serde_json::json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}),
            none(),
            "AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host",
        );
    }

    #[test]
    fn affinity() {
        let required = |terms: serde_json::Value| {
            serde_json::json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
        };
        let failed =
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        for (terms, expected) in [
            (
                serde_json::json!([{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]),
                "",
            ),
            (
                serde_json::json!([{"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["4"]}]}]),
                "",
            ),
            (
                serde_json::json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node"]}]}]),
                "",
            ),
            (
                serde_json::json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}]),
                failed,
            ),
            (serde_json::json!([{}]), failed),
        ] {
            check(required(terms), serde_json::json!({}), expected);
        }
    }
}
