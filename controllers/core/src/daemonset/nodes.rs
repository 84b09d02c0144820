//! Which nodes a DaemonSet's pod runs on, and for which node a pod was made.

use kedge_api::node::{Taint, is_tolerated};
use kedge_api::node_selector::Required;
use kedge_api::pod::Toleration;
use kedge_api::{Node, Pod};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// A pod is to be made there.
    pub runs: bool,
    /// A pod that is there may stay.
    pub stays: bool,
}

pub fn placement(sample: &Pod, node: &Node) -> Placement {
    let named = sample.spec.node_name.is_empty() || sample.spec.node_name == node.metadata.name;
    if !named || !Required::of(sample).accepts(node) {
        return Placement { runs: false, stays: false };
    }
    let untolerated =
        |taint: &&Taint| !is_tolerated(taint, &sample.spec.tolerations) && taint.effect != "PreferNoSchedule";
    let stays = !node.spec.taints.iter().filter(untolerated).any(|taint| taint.effect == "NoExecute");
    let runs = node.spec.taints.iter().find(untolerated).is_none();
    Placement { runs, stays }
}

/// The node that a pod is bound to, or was made for.
pub fn node_of(pod: &Pod) -> Option<String> {
    if !pod.spec.node_name.is_empty() {
        return Some(pod.spec.node_name.clone());
    }
    let affinity = pod.spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| &term.match_fields);
    let named = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
    named.flat_map(|field| &field.values).next().cloned()
}

/// A node's troubles are what daemons are there for.
pub fn daemon_tolerations(host_network: bool) -> Vec<Toleration> {
    let mut wanted = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if host_network {
        wanted.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let make = |(key, effect): (&str, &str)| Toleration {
        key: key.to_owned(),
        operator: "Exists".to_owned(),
        effect: effect.to_owned(),
        ..Toleration::default()
    };
    wanted.into_iter().map(make).collect()
}
