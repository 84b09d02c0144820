//! ReplicaSet: as many matching, active pods as it asks for.

use crate::Controller;
use crate::api::{ReplicaSet, ReplicaSetStatus};
use crate::owners::{Claim, Verdict, owner_reference};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{PODS, REPLICA_SETS};
use kedge_api::{Condition, ObjectMeta, Pod, Selector, Time};
use kedge_machinery::ObjectKey;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Upstream's burst: so many pods are created or deleted in one go.
const BURST_MAX: usize = 500;

pub struct ReplicaSetController;

impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn account(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::ReplicaSet, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::ReplicaSet { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                let mut keys: Vec<ObjectKey> =
                    [old, new].into_iter().flatten().filter_map(|pod| owner_key(&pod.metadata)).collect();
                let orphan = new.as_ref().filter(|pod| pod.metadata.controller().is_none());
                keys.extend(orphan.into_iter().flat_map(|pod| possible_owners(pod, view)));
                keys
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(set) = view.replica_sets.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let Ok(selector) = Selector::from_object(&set.spec.selector) else {
            return Plan::waiting("a selector that can be parsed");
        };
        let mut plan = Plan::nothing();
        let owned = claim(&set, &selector, view, &mut plan);
        if set.metadata.deletion_timestamp.is_none() {
            scale(&set, &owned, view, &mut plan);
        }
        update_status(&set, &owned, context, &mut plan);
        plan
    }
}

fn owner_key(meta: &ObjectMeta) -> Option<ObjectKey> {
    let owner = meta.controller().filter(|owner| owner.kind == "ReplicaSet")?;
    Some(ObjectKey::new(meta.namespace.clone(), owner.name.clone()))
}

fn possible_owners(pod: &Pod, view: &View<'_>) -> Vec<ObjectKey> {
    let sets = view.replica_sets.list(Some(&pod.metadata.namespace));
    let matches = |set: &&Arc<ReplicaSet>| {
        Selector::from_object(&set.spec.selector)
            .is_ok_and(|selector| !selector.is_empty() && selector.matches(&pod.metadata.labels))
    };
    sets.iter()
        .filter(matches)
        .map(|set| ObjectKey::new(set.metadata.namespace.clone(), set.metadata.name.clone()))
        .collect()
}

fn claim(set: &ReplicaSet, selector: &Selector, view: &View<'_>, plan: &mut Plan) -> Vec<Arc<Pod>> {
    let claim = Claim { owner: &set.metadata, owner_kind: REPLICA_SETS, selector, of: PODS };
    let mut owned = Vec::new();
    for pod in view.pods.list(Some(&set.metadata.namespace)) {
        match claim.verdict(&pod.metadata) {
            Verdict::Mine => owned.push(pod),
            Verdict::Adopt(write) if !pod.is_terminal() => {
                plan.push(*write);
                owned.push(pod);
            }
            Verdict::Release(write) => plan.push(*write),
            Verdict::Adopt(_) | Verdict::NotMine => {}
        }
    }
    owned
}

fn is_active(pod: &Pod) -> bool {
    !pod.is_terminal() && pod.metadata.deletion_timestamp.is_none()
}

fn scale(set: &ReplicaSet, owned: &[Arc<Pod>], view: &View<'_>, plan: &mut Plan) {
    let active: Vec<&Arc<Pod>> = owned.iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    let about = reference(REPLICA_SETS, &set.metadata);
    if active.len() < wanted {
        let pod = pod_from_template(set);
        for _ in 0..(wanted - active.len()).min(BURST_MAX) {
            plan.push(
                Write::create(PODS, &set.metadata.namespace, pod.clone())
                    .telling(EventSpec::normal(&about, "SuccessfulCreate", "Created pod: {name}"))
                    .or_telling(EventSpec::warning(&about, "FailedCreate", "Error creating: {error}")),
            );
        }
    } else {
        let count = (active.len() - wanted).min(BURST_MAX);
        for pod in victims(set, &active, count, view) {
            let meta = &pod.metadata;
            plan.push(
                Write::delete(PODS, &meta.namespace, &meta.name, &meta.uid)
                    .telling(EventSpec::normal(
                        &about,
                        "SuccessfulDelete",
                        format!("Deleted pod: {}", meta.name),
                    ))
                    .or_telling(EventSpec::warning(&about, "FailedDelete", "Error deleting: {error}")),
            );
        }
    }
}

fn pod_from_template(set: &ReplicaSet) -> Value {
    let template = &set.spec.template;
    let mut metadata = Map::new();
    for key in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(key) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    metadata.insert("generateName".to_owned(), format!("{}-", set.metadata.name).into());
    metadata.insert("namespace".to_owned(), set.metadata.namespace.as_str().into());
    metadata.insert("ownerReferences".to_owned(), json!([owner_reference(REPLICA_SETS, &set.metadata)]));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// The pods whose loss hurts least, in upstream's order: unassigned, not running, not ready, cheap by annotation, on crowded
/// nodes, ready for a shorter time, restarted more often, younger.
fn victims<'a>(
    set: &ReplicaSet,
    active: &[&'a Arc<Pod>],
    count: usize,
    view: &View<'_>,
) -> Vec<&'a Arc<Pod>> {
    if count == 0 {
        return Vec::new();
    }
    let crowd = related_pods_per_node(set, view);
    let mut ranked: Vec<&Arc<Pod>> = active.to_vec();
    ranked.sort_by_key(|pod| {
        let phase = match pod.status.phase.as_str() {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let cost: i64 = pod
            .metadata
            .annotations
            .get("controller.kubernetes.io/pod-deletion-cost")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let restarts: i32 =
            pod.status.container_statuses.iter().map(|status| status.restart_count).max().unwrap_or(0);
        (
            !pod.spec.node_name.is_empty(),
            phase,
            pod.is_ready(),
            cost,
            std::cmp::Reverse(crowd.get(pod.spec.node_name.as_str()).copied().unwrap_or(0)),
            std::cmp::Reverse(ready_since(pod)),
            std::cmp::Reverse(restarts),
            std::cmp::Reverse(pod.metadata.creation_timestamp),
        )
    });
    ranked.truncate(count);
    ranked
}

/// Active pods per node of all ReplicaSets with the same controller (a Deployment's old and new ones).
fn related_pods_per_node(set: &ReplicaSet, view: &View<'_>) -> BTreeMap<String, usize> {
    let owner = set.metadata.controller().map(|owner| owner.uid.clone());
    let related: Vec<String> = view
        .replica_sets
        .list(Some(&set.metadata.namespace))
        .iter()
        .filter(|other| owner.is_some() && other.metadata.controller().map(|o| &o.uid) == owner.as_ref())
        .map(|other| other.metadata.uid.clone())
        .chain([set.metadata.uid.clone()])
        .collect();
    let mut counts = BTreeMap::new();
    for pod in view.pods.list(Some(&set.metadata.namespace)) {
        if is_active(&pod) && pod.metadata.controller().is_some_and(|owner| related.contains(&owner.uid)) {
            *counts.entry(pod.spec.node_name.clone()).or_insert(0) += 1;
        }
    }
    counts
}

fn ready_since(pod: &Pod) -> Option<Time> {
    pod.status.condition("Ready").filter(|condition| condition.is_true()).and_then(|c| c.last_transition_time)
}

/// When the pod counts as available: ready for `min_ready_s`. None while it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_s: i64) -> Option<Time> {
    ready_since(pod).map(|since| Time(since.0 + min_ready_s))
}

fn update_status(set: &ReplicaSet, owned: &[Arc<Pod>], context: &Context, plan: &mut Plan) {
    let template_labels = Selector::from_map(&set.spec.template["metadata"]["labels"]);
    let mut status = ReplicaSetStatus {
        observed_generation: set.metadata.generation,
        terminating_replicas: Some(0),
        conditions: set.status.conditions.clone(),
        ..ReplicaSetStatus::default()
    };
    for pod in owned {
        if pod.metadata.deletion_timestamp.is_some() {
            if !pod.is_terminal() {
                status.terminating_replicas = status.terminating_replicas.map(|n| n + 1);
            }
            continue;
        }
        if pod.is_terminal() {
            continue;
        }
        status.replicas += 1;
        status.fully_labeled_replicas += i64::from(template_labels.matches(&pod.metadata.labels));
        if let Some(at) = available_at(pod, set.spec.min_ready_seconds) {
            status.ready_replicas += 1;
            if at <= context.now {
                status.available_replicas += 1;
            } else {
                plan.requeue(at);
            }
        }
    }
    set_failure_condition(&mut status.conditions, context);
    if status != set.status {
        let meta = &set.metadata;
        let patch = json!({"status": status_patch(&status)});
        plan.push(Write::merge(REPLICA_SETS, &meta.namespace, &meta.name, "status", patch));
    }
}

fn set_failure_condition(conditions: &mut Vec<Condition>, context: &Context) {
    let standing = conditions.iter().position(|condition| condition.r#type == "ReplicaFailure");
    match (&context.last_failure, standing) {
        (Some(message), None) => conditions.push(Condition {
            r#type: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: "FailedCreate".to_owned(),
            message: message.clone(),
            last_transition_time: Some(context.now),
            ..Condition::default()
        }),
        (None, Some(at)) => {
            conditions.remove(at);
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

/// Zero counts are absent on the wire; null removes them.
fn status_patch(status: &ReplicaSetStatus) -> Value {
    let count = |n: i64| if n == 0 { Value::Null } else { n.into() };
    json!({
        "replicas": status.replicas,
        "fullyLabeledReplicas": count(status.fully_labeled_replicas),
        "readyReplicas": count(status.ready_replicas),
        "availableReplicas": count(status.available_replicas),
        "terminatingReplicas": status.terminating_replicas,
        "observedGeneration": status.observed_generation,
        "conditions": if status.conditions.is_empty() { Value::Null } else { json!(status.conditions) },
    })
}
