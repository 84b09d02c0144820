//! Node readiness: a node whose lease is not renewed for 50 s becomes Unknown; taints and the readiness of its pods follow.
//!
//! ```text
//!   lease fresh ─► the kubelet's own conditions stand
//!   lease older than 50 s ─► Ready, MemoryPressure, DiskPressure, PIDPressure := Unknown (NodeStatusUnknown)
//!   Ready False ─► taint not-ready:NoSchedule (+NoExecute) · Ready Unknown ─► unreachable · unschedulable ─► its taint
//! ```

use crate::Controller;
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::view::{Changed, KindId, View};
use kedge_api::node::Taint;
use kedge_api::resource::{NODES, PODS};
use kedge_api::{Condition, Node, Time};
use kedge_machinery::ObjectKey;
use serde_json::json;

/// Upstream's `--node-monitor-grace-period`.
const GRACE_S: i64 = 50;
const STARTUP_GRACE_S: i64 = 60;
const LEASES: &str = "kube-node-lease";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const WATCHED: [(&str, &str); 4] = [
    ("Ready", ""),
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

pub struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Node, KindId::Lease]
    }

    fn keys(&self, change: &Changed, _view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::Node { key, .. } => vec![key.clone()],
            Changed::Lease { key, .. } if key.namespace == LEASES => {
                vec![ObjectKey::new("", key.name.clone())]
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let Some(node) = view.nodes.get("", &key.name) else {
            return plan;
        };
        let deadline = heartbeat_deadline(&node, view);
        let mut conditions = node.status.conditions.clone();
        if deadline > context.now {
            plan.requeue(deadline);
        } else {
            mark_unknown(&node, &mut conditions, context.now, &mut plan);
        }
        taint(&node, &conditions, context.now, &mut plan);
        if !conditions.iter().any(|c| c.r#type == "Ready" && c.is_true()) {
            mark_pods_not_ready(&node, view, context.now, &mut plan);
        }
        plan
    }
}

/// When the node counts as silent.
fn heartbeat_deadline(node: &Node, view: &View<'_>) -> Time {
    let lease = view.leases.get(LEASES, &node.metadata.name).and_then(|lease| lease.spec.renew_time);
    let status = node.status.condition("Ready").and_then(|condition| condition.last_heartbeat_time);
    match lease.max(status) {
        Some(beat) => Time(beat.0 + GRACE_S),
        None => Time(node.metadata.creation_timestamp.unwrap_or_default().0 + STARTUP_GRACE_S),
    }
}

fn mark_unknown(node: &Node, conditions: &mut Vec<Condition>, now: Time, plan: &mut Plan) {
    let mut changed = false;
    for (kind, _) in WATCHED {
        let (reason, message) = match node.status.condition(kind) {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let unknown = Condition {
            r#type: kind.to_owned(),
            status: "Unknown".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_heartbeat_time: node.status.condition(kind).and_then(|c| c.last_heartbeat_time),
            last_transition_time: Some(now),
            ..Condition::default()
        };
        match conditions.iter_mut().find(|condition| condition.r#type == kind) {
            Some(standing) if standing.status == "Unknown" => {}
            Some(standing) => {
                *standing = unknown;
                changed = true;
            }
            None => {
                conditions.push(unknown);
                changed = true;
            }
        }
    }
    if changed {
        let name = &node.metadata.name;
        let about = reference(NODES, &node.metadata);
        let message = format!("Node {name} status is now: NodeNotReady");
        plan.push(
            Write::merge(NODES, "", name, "status", json!({"status": {"conditions": conditions}}))
                .telling(EventSpec::normal(&about, "NodeNotReady", message)),
        );
    }
}

/// The taints that the node's conditions ask for; all others stay.
fn taint(node: &Node, conditions: &[Condition], now: Time, plan: &mut Plan) {
    let ready =
        conditions.iter().find(|condition| condition.r#type == "Ready").map_or("", |c| c.status.as_str());
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    match ready {
        "True" => {}
        "Unknown" => wanted.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
        _ => wanted.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
    }
    if node.spec.unschedulable {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    for (kind, key) in WATCHED.iter().skip(1) {
        if conditions.iter().any(|condition| condition.r#type == *kind && condition.is_true()) {
            wanted.push((key, "NoSchedule"));
        }
    }
    let is_ours = |taint: &Taint| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&taint.key.as_str())
            || WATCHED.iter().any(|(_, key)| *key == taint.key)
    };
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> =
        node.spec.taints.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &wanted {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            let time_added = Some(now);
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                time_added,
                ..Taint::default()
            });
        }
    }
    if taints != node.spec.taints {
        plan.push(Write::merge(NODES, "", &node.metadata.name, "", json!({"spec": {"taints": taints}})));
    }
}

/// Pods on a silent node are not ready, whatever their last word was: services must leave them.
fn mark_pods_not_ready(node: &Node, view: &View<'_>, now: Time, plan: &mut Plan) {
    for pod in view.pods.list(None) {
        if pod.spec.node_name != node.metadata.name || !pod.is_ready() {
            continue;
        }
        let condition = json!({
            "type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready",
            "lastTransitionTime": now,
        });
        let meta = &pod.metadata;
        let mut write = Write::strategic(
            PODS,
            &meta.namespace,
            &meta.name,
            json!({"status": {"conditions": [condition]}}),
        );
        if let crate::Op::Patch { subresource, .. } = &mut write.op {
            *subresource = "status";
        }
        plan.push(write);
    }
}
