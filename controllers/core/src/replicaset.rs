//! ReplicaSet and ReplicationController: as many matching, active pods as they ask for.

use crate::Controller;
use crate::api::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus, ReplicationController};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::pods::{self, is_active, is_available, ready_since};
use crate::template::pod_from_template;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{PODS, REPLICA_SETS, REPLICATION_CONTROLLERS};
use kedge_api::{Condition, Pod, Resource, Selector};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
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
                let meta = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|pod| pod.metadata.clone());
                let (old, new) = (meta(old), meta(new));
                pods::concerned(old.as_ref(), new.as_ref(), "ReplicaSet", |orphan| {
                    let sets = view.replica_sets.list(Some(&orphan.namespace));
                    let owners = sets.iter().map(|set| (&set.metadata, read(&set.spec.selector)));
                    pods::matching(orphan, owners)
                })
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        match view.replica_sets.get(&key.namespace, &key.name) {
            Some(set) => reconcile(REPLICA_SETS, &set, view, context),
            None => Plan::nothing(),
        }
    }
}

/// The older kind with the same behaviour; its selector is a plain map.
pub struct ReplicationControllerController;

impl Controller for ReplicationControllerController {
    fn name(&self) -> &'static str {
        "replicationcontroller-controller"
    }

    fn account(&self) -> &'static str {
        "replication-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::ReplicationController, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::ReplicationController { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                let meta = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|pod| pod.metadata.clone());
                let (old, new) = (meta(old), meta(new));
                pods::concerned(old.as_ref(), new.as_ref(), "ReplicationController", |orphan| {
                    let owners = view.replication_controllers.list(Some(&orphan.namespace));
                    let owners = owners
                        .iter()
                        .map(|owner| (&owner.metadata, Selector::from_map(&owner.spec.selector)));
                    pods::matching(orphan, owners)
                })
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        match view.replication_controllers.get(&key.namespace, &key.name) {
            Some(owner) => reconcile(REPLICATION_CONTROLLERS, &as_set(&owner), view, context),
            None => Plan::nothing(),
        }
    }
}

fn as_set(owner: &ReplicationController) -> ReplicaSet {
    let spec = ReplicaSetSpec {
        replicas: owner.spec.replicas,
        selector: json!({"matchLabels": owner.spec.selector}),
        template: owner.spec.template.clone(),
        min_ready_seconds: owner.spec.min_ready_seconds,
    };
    ReplicaSet { metadata: owner.metadata.clone(), spec, status: owner.status.clone() }
}

fn read(selector: &Value) -> Selector {
    Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing())
}

fn reconcile(of: Resource, set: &ReplicaSet, view: &View<'_>, context: &Context) -> Plan {
    let Ok(selector) = Selector::from_object(&set.spec.selector) else {
        return Plan::waiting("a selector that can be parsed");
    };
    let mut plan = Plan::nothing();
    let owned = pods::claim((of, &set.metadata), &selector, view, &mut plan, |pod| !pod.is_terminal());
    if set.metadata.deletion_timestamp.is_none() {
        scale(of, set, &owned, view, &mut plan);
    }
    update_status(of, set, &owned, context, &mut plan);
    plan
}

fn scale(of: Resource, set: &ReplicaSet, owned: &[Arc<Pod>], view: &View<'_>, plan: &mut Plan) {
    let active: Vec<&Arc<Pod>> = owned.iter().filter(|pod| is_active(pod)).collect();
    let wanted = usize::try_from(set.replicas()).unwrap_or(0);
    let about = reference(of, &set.metadata);
    if active.len() < wanted {
        let mut pod = pod_from_template(&set.spec.template, of, &set.metadata);
        pod["metadata"]["generateName"] = format!("{}-", set.metadata.name).into();
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

fn update_status(of: Resource, set: &ReplicaSet, owned: &[Arc<Pod>], context: &Context, plan: &mut Plan) {
    let template_labels = Selector::from_map(&set.spec.template["metadata"]["labels"]);
    let mut status = ReplicaSetStatus {
        observed_generation: set.metadata.generation,
        terminating_replicas: (of == REPLICA_SETS).then_some(0),
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
        status.ready_replicas += i64::from(ready_since(pod).is_some());
        let available = is_available(pod, set.spec.min_ready_seconds, context.now, plan);
        status.available_replicas += i64::from(available);
    }
    set_failure_condition(&mut status.conditions, context);
    if status != set.status {
        let meta = &set.metadata;
        let patch = json!({"status": status_patch(&status)});
        plan.push(Write::merge(of, &meta.namespace, &meta.name, "status", patch));
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
