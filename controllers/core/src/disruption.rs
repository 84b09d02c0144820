//! PodDisruptionBudget: how many of its pods may go now. The eviction subresource spends what is written here.

use crate::Controller;
use crate::api::{BudgetStatus, PodDisruptionBudget};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::share::share;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::POD_DISRUPTION_BUDGETS;
use kedge_api::{Condition, IntOrString, ObjectMeta, Pod, Selector, Time};
use kedge_machinery::ObjectKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An evicted pod that is not deleted by then was not evicted after all.
const DELETION_DEADLINE_S: i64 = 120;

pub struct DisruptionController;

impl Controller for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn account(&self) -> &'static str {
        "disruption-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[
            KindId::PodDisruptionBudget,
            KindId::Pod,
            KindId::ReplicaSet,
            KindId::Deployment,
            KindId::StatefulSet,
            KindId::ReplicationController,
        ]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        match change {
            Changed::PodDisruptionBudget { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                let labels = [old, new].into_iter().flatten().map(|pod| &pod.metadata);
                let mut keys: Vec<ObjectKey> = labels.flat_map(|meta| selecting(meta, view)).collect();
                keys.dedup();
                keys
            }
            // A new size is a new share.
            Changed::ReplicaSet { key, .. }
            | Changed::Deployment { key, .. }
            | Changed::StatefulSet { key, .. }
            | Changed::ReplicationController { key, .. } => {
                let budgets = view.budgets.list(Some(&key.namespace));
                budgets.iter().map(|budget| key_of(&budget.metadata)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(budget) = view.budgets.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let mut plan = Plan::nothing();
        let about = reference(POD_DISRUPTION_BUDGETS, &budget.metadata);
        let selector = Selector::from_object(&budget.spec.selector).unwrap_or_else(|_| Selector::nothing());
        let mut pods = view.pods.list(Some(&key.namespace));
        pods.retain(|pod| selector.matches(&pod.metadata.labels));
        if pods.is_empty() {
            plan.events.push(EventSpec::normal(&about, "NoPods", "No matching pods found"));
        }
        let status = match expected(&budget, &pods, view, &about, &mut plan) {
            Ok(wanted) => judge(&budget, &pods, wanted, context.now, &mut plan),
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                plan.events.push(EventSpec::warning(&about, "CalculateExpectedPodCountFailed", message));
                failed(&budget, why, context.now)
            }
        };
        if status != budget.status {
            let meta = &budget.metadata;
            // An eviction may have spent from the budget since we looked: then this write must fail.
            let patch =
                json!({"metadata": {"resourceVersion": meta.resource_version}, "status": to_patch(&status)});
            plan.push(Write::merge(POD_DISRUPTION_BUDGETS, &meta.namespace, &meta.name, "status", patch));
        }
        plan
    }
}

fn key_of(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(meta.namespace.clone(), meta.name.clone())
}

fn selecting(pod: &ObjectMeta, view: &View<'_>) -> Vec<ObjectKey> {
    let budgets = view.budgets.list(Some(&pod.namespace));
    let selects = |budget: &&Arc<PodDisruptionBudget>| {
        Selector::from_object(&budget.spec.selector).is_ok_and(|selector| selector.matches(&pod.labels))
    };
    budgets.iter().filter(selects).map(|budget| key_of(&budget.metadata)).collect()
}

/// How many pods there should be, and how many of them must be healthy.
struct Wanted {
    pods: i64,
    healthy: i64,
}

fn expected(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    view: &View<'_>,
    about: &Value,
    plan: &mut Plan,
) -> Result<Wanted, String> {
    let present = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    match (&budget.spec.max_unavailable, &budget.spec.min_available) {
        (Some(most), _) => {
            let pods = scale(budget, pods, view, about, plan)?;
            Ok(Wanted { pods, healthy: (pods - share(Some(most), pods, true)).max(0) })
        }
        (None, Some(IntOrString::Int(least))) => Ok(Wanted { pods: present, healthy: i64::from(*least) }),
        (None, Some(least)) => {
            let pods = scale(budget, pods, view, about, plan)?;
            Ok(Wanted { pods, healthy: share(Some(least), pods, true) })
        }
        (None, None) => Ok(Wanted { pods: 0, healthy: 0 }),
    }
}

/// The sizes of all controllers of the pods together.
fn scale(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    view: &View<'_>,
    about: &Value,
    plan: &mut Plan,
) -> Result<i64, String> {
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        match size_of_controller(&pod.metadata, view)? {
            Some((uid, size)) => {
                sizes.insert(uid, size);
            }
            None => unmanaged = true,
        }
    }
    if unmanaged {
        let selector =
            Selector::from_object(&budget.spec.selector).map(|s| s.to_string()).unwrap_or_default();
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, \
             the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
             for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
        );
        plan.events.push(EventSpec::warning(about, "UnmanagedPods", message));
    }
    Ok(sizes.values().sum())
}

/// uid and size of what a pod belongs to in the end; None for a pod on its own.
fn size_of_controller(pod: &ObjectMeta, view: &View<'_>) -> Result<Option<(String, i64)>, String> {
    let Some(owner) = pod.controller() else { return Ok(None) };
    let (namespace, name) = (&pod.namespace, &owner.name);
    let found = match owner.kind.as_str() {
        "ReplicaSet" => view.replica_sets.get(namespace, name).map(|set| {
            let parent = set.metadata.controller().filter(|parent| parent.kind == "Deployment");
            let deployment = parent.and_then(|parent| view.deployments.get(namespace, &parent.name));
            match deployment {
                Some(deployment) => (deployment.metadata.uid.clone(), deployment.replicas()),
                None => (set.metadata.uid.clone(), set.replicas()),
            }
        }),
        "StatefulSet" => {
            view.stateful_sets.get(namespace, name).map(|set| (set.metadata.uid.clone(), set.replicas()))
        }
        "ReplicationController" => view
            .replication_controllers
            .get(namespace, name)
            .map(|owner| (owner.metadata.uid.clone(), owner.spec.replicas.unwrap_or(1))),
        kind => return Err(format!("{kind}s.{} does not implement the scale subresource", group(owner))),
    };
    // A controller that is gone wants no pods.
    Ok(Some(found.unwrap_or_else(|| (owner.uid.clone(), 0))))
}

fn group(owner: &kedge_api::OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn judge(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    wanted: Wanted,
    now: Time,
    plan: &mut Plan,
) -> BudgetStatus {
    let disrupted = still_disrupted(budget, pods, now, plan);
    let is_healthy = |pod: &&Arc<Pod>| {
        pod.metadata.deletion_timestamp.is_none()
            && !disrupted.contains_key(&pod.metadata.name)
            && pod.is_ready()
    };
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(0);
    let spare = healthy - wanted.healthy;
    let allowed = if wanted.pods > 0 { spare.max(0) } else { 0 };
    let condition = match allowed > 0 {
        true => ("True", "SufficientPods", ""),
        false => ("False", "InsufficientPods", ""),
    };
    BudgetStatus {
        observed_generation: budget.metadata.generation,
        disrupted_pods: disrupted,
        disruptions_allowed: allowed,
        current_healthy: healthy,
        desired_healthy: wanted.healthy,
        expected_pods: wanted.pods,
        conditions: conditions(budget, condition, now),
    }
}

/// Evicted pods whose deletion has not been seen yet.
fn still_disrupted(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    now: Time,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let mut kept = BTreeMap::new();
    for (name, since) in &budget.status.disrupted_pods {
        let pod = pods.iter().find(|pod| pod.metadata.name == *name);
        let deadline = Time(since.0 + DELETION_DEADLINE_S);
        match pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            Some(_) if deadline > now => {
                kept.insert(name.clone(), *since);
                plan.requeue(deadline);
            }
            Some(pod) => {
                let meta = &budget.metadata;
                let message = format!(
                    "Pod was expected by PDB {}/{} to be deleted but it wasn't",
                    meta.namespace, meta.name
                );
                let about = reference(kedge_api::resource::PODS, &pod.metadata);
                plan.events.push(EventSpec::warning(&about, "NotDeleted", message));
            }
            None => {}
        }
    }
    kept
}

fn failed(budget: &PodDisruptionBudget, why: String, now: Time) -> BudgetStatus {
    BudgetStatus {
        observed_generation: budget.metadata.generation,
        disruptions_allowed: 0,
        conditions: conditions(budget, ("False", "SyncFailed", &why), now),
        ..budget.status.clone()
    }
}

fn conditions(budget: &PodDisruptionBudget, wanted: (&str, &str, &str), now: Time) -> Vec<Condition> {
    let (status, reason, message) = wanted;
    let mut all = budget.status.conditions.clone();
    let standing = all.iter().position(|condition| condition.r#type == "DisruptionAllowed");
    let since =
        standing.map(|at| &all[at]).filter(|c| c.status == status).and_then(|c| c.last_transition_time);
    let fresh = Condition {
        r#type: "DisruptionAllowed".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: budget.metadata.generation,
        last_transition_time: Some(since.unwrap_or(now)),
        ..Condition::default()
    };
    match standing {
        Some(at) => all[at] = fresh,
        None => all.push(fresh),
    }
    all
}

fn to_patch(status: &BudgetStatus) -> Value {
    let disrupted = &status.disrupted_pods;
    let conditions: Vec<Value> = status
        .conditions
        .iter()
        .map(|condition| {
            let mut value = json!(condition);
            // The one condition type that requires the field even when it is empty.
            value["message"] = condition.message.as_str().into();
            value
        })
        .collect();
    json!({
        "observedGeneration": status.observed_generation,
        "disruptedPods": if disrupted.is_empty() { Value::Null } else { json!(disrupted) },
        "disruptionsAllowed": status.disruptions_allowed,
        "currentHealthy": status.current_healthy,
        "desiredHealthy": status.desired_healthy,
        "expectedPods": status.expected_pods,
        "conditions": conditions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use kedge_api::resource::{PODS, REPLICA_SETS};

    fn key() -> ObjectKey {
        ObjectKey::new("d", "b")
    }

    /// A ReplicaSet of four with so many ready pods.
    fn world(spec: Value, ready: usize) -> Cluster {
        let mut cluster = Cluster::at(Time(1000));
        let set = json!({"metadata": {"name": "rs"}, "spec": {"replicas": 4}});
        cluster.create(REPLICA_SETS, "d", set).unwrap();
        let uid = cluster.get(REPLICA_SETS, "d", "rs").unwrap()["metadata"]["uid"].clone();
        for number in 0..4 {
            let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": uid, "controller": true});
            let pod = json!({"metadata": {"name": format!("p{number}"), "labels": {"a": "b"}, "ownerReferences": [owner]},
                "spec": {"nodeName": "n"}});
            cluster.create(PODS, "d", pod).unwrap();
            cluster.pod_status("d", &format!("p{number}"), "Running", number < ready).unwrap();
        }
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"a": "b"}});
        cluster
            .create(POD_DISRUPTION_BUDGETS, "d", json!({"metadata": {"name": "b"}, "spec": spec}))
            .unwrap();
        cluster.settle(&DisruptionController, &key()).unwrap();
        cluster
    }

    fn status(cluster: &Cluster) -> Value {
        cluster.get(POD_DISRUPTION_BUDGETS, "d", "b").unwrap()["status"].clone()
    }

    fn check(spec: Value, ready: usize, expected: [i64; 4], reason: &str) {
        let status = status(&world(spec.clone(), ready));
        let count = |field: &str| status[field].as_i64().unwrap();
        let found = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].map(count);
        assert_eq!(found, expected, "{spec}");
        assert_eq!(status["conditions"][0]["reason"], reason, "{spec}");
    }

    #[test]
    fn budgets() {
        check(json!({"minAvailable": 3}), 4, [1, 4, 3, 4], "SufficientPods");
        check(json!({"minAvailable": 3}), 3, [0, 3, 3, 4], "InsufficientPods");
        check(json!({"minAvailable": "30%"}), 4, [2, 4, 2, 4], "SufficientPods");
        check(json!({"maxUnavailable": 1}), 4, [1, 4, 3, 4], "SufficientPods");
        check(json!({"maxUnavailable": "50%"}), 2, [0, 2, 2, 4], "InsufficientPods");
        check(json!({"maxUnavailable": 9}), 0, [0, 0, 0, 4], "InsufficientPods");
    }

    #[test]
    fn an_evicted_pod_counts_as_gone_until_it_is_or_the_deadline_is_over() {
        let mut cluster = world(json!({"minAvailable": 2}), 4);
        let patch = json!({"status": {"disruptedPods": {"p0": Time(1000)}, "disruptionsAllowed": 1}});
        cluster.patch(POD_DISRUPTION_BUDGETS, "d", "b", &patch).unwrap();
        let plan = cluster.settle(&DisruptionController, &key()).unwrap();
        assert_eq!(
            (status(&cluster)["disruptionsAllowed"].as_i64(), plan.requeue_at),
            (Some(1), Some(Time(1120)))
        );
        cluster.now = Time(1120);
        let plan = cluster.reconcile(&DisruptionController, &key()).0;
        assert_eq!(plan.events[0].reason, "NotDeleted");
        assert_eq!(status(&cluster)["disruptionsAllowed"], 2);
    }

    #[test]
    fn pods_on_their_own_cannot_be_shared_out() {
        let mut cluster = world(json!({"maxUnavailable": 1}), 4);
        cluster.create(PODS, "d", json!({"metadata": {"name": "lonely", "labels": {"a": "b"}}})).unwrap();
        let plan = cluster.settle(&DisruptionController, &key()).unwrap();
        assert_eq!(plan.events[0].reason, "UnmanagedPods");
    }
}
