//! Pods that nobody will ever finish: of a node that is gone, terminating without ever having had a node, and terminated
//! ones beyond the threshold.

use crate::Controller;
use crate::plan::{Context, Plan, Write};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::PODS;
use kedge_api::{Pod, Time};
use kedge_machinery::ObjectKey;
use serde_json::json;
use std::sync::Arc;

/// Upstream's `--terminated-pod-gc-threshold`.
const TERMINATED_MAX: usize = 12_500;
/// A node may be registered again; upstream gives it as long.
const ORPHAN_QUARANTINE_S: i64 = 40;

pub struct PodGc;

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn account(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::Pod, KindId::Node]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        let concerns = match change {
            Changed::Pod { new: Some(pod), .. } => {
                is_unscheduled_terminating(pod) || is_orphan(pod, view) || pod.is_terminal()
            }
            Changed::Node { new: None, .. } => true,
            _ => false,
        };
        // One key: the threshold is about all pods together.
        if concerns { vec![ObjectKey::default()] } else { Vec::new() }
    }

    fn reconcile(&self, view: &View<'_>, _key: &ObjectKey, context: &Context) -> Plan {
        let mut plan = Plan::nothing();
        let pods = view.pods.list(None);
        for pod in &pods {
            if is_unscheduled_terminating(pod) {
                plan.push(remove(pod));
            } else if is_orphan(pod, view) {
                remove_orphan(pod, context.now, &mut plan);
            }
        }
        let mut terminated: Vec<&Arc<Pod>> = pods
            .iter()
            .filter(|pod| pod.is_terminal() && pod.metadata.deletion_timestamp.is_none())
            .collect();
        if terminated.len() > TERMINATED_MAX {
            terminated.sort_by_key(|pod| pod.metadata.creation_timestamp);
            let excess = terminated.len() - TERMINATED_MAX;
            terminated.iter().take(excess).for_each(|pod| plan.push(remove(pod)));
        }
        plan
    }
}

fn is_unscheduled_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pod.spec.node_name.is_empty()
}

fn is_orphan(pod: &Pod, view: &View<'_>) -> bool {
    !pod.spec.node_name.is_empty() && view.nodes.get("", &pod.spec.node_name).is_none()
}

/// First told to the object, then removed once the quarantine is over. A pod may be made before its node is registered.
fn remove_orphan(pod: &Pod, now: Time, plan: &mut Plan) {
    let grown = Time(pod.metadata.creation_timestamp.map_or(0, |made| made.0) + ORPHAN_QUARANTINE_S);
    if now < grown {
        return plan.requeue(grown);
    }
    let told = pod.status.condition("DisruptionTarget").and_then(|condition| condition.last_transition_time);
    match told {
        None => plan.push(fail(pod, now)),
        Some(since) if since.0 + ORPHAN_QUARANTINE_S <= now.0 => plan.push(remove(pod)),
        Some(since) => plan.requeue(Time(since.0 + ORPHAN_QUARANTINE_S)),
    }
}

fn fail(pod: &Pod, now: Time) -> Write {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
        "message": "PodGC: node no longer exists", "lastTransitionTime": now,
    });
    let phase = if pod.is_terminal() { pod.status.phase.as_str() } else { "Failed" };
    let patch = json!({"status": {"phase": phase, "conditions": [condition]}});
    let mut write = Write::strategic(PODS, &pod.metadata.namespace, &pod.metadata.name, patch);
    if let crate::Op::Patch { subresource, .. } = &mut write.op {
        *subresource = "status";
    }
    write
}

fn remove(pod: &Pod) -> Write {
    Write::force_delete(PODS, &pod.metadata.namespace, &pod.metadata.name, &pod.metadata.uid)
}
