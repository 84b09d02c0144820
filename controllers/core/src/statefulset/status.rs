//! Status of a StatefulSet.

use super::{Scene, is_going, revision_of};
use crate::api::StatefulSetStatus;
use crate::plan::{Plan, Write};
use kedge_api::resource::STATEFUL_SETS;
use serde_json::{Value, json};

pub fn update(scene: &Scene<'_>, plan: &mut Plan) {
    let set = &scene.set;
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        current_revision: scene.current.clone(),
        update_revision: scene.update.name.clone(),
        collision_count: Some(scene.update.collision_count),
        conditions: set.status.conditions.clone(),
        ..StatefulSetStatus::default()
    };
    for pod in scene.pods.values() {
        status.replicas += 1;
        let running = pod.status.phase == "Running";
        status.ready_replicas += i64::from(running && pod.is_ready());
        status.available_replicas += i64::from(scene.is_available(pod, plan));
        if !is_going(pod) {
            status.current_replicas += i64::from(revision_of(pod) == scene.current);
            status.updated_replicas += i64::from(revision_of(pod) == scene.update.name);
        }
    }
    let wanted = set.replicas();
    let complete = set.spec.update_strategy.r#type == "RollingUpdate"
        && (status.updated_replicas, status.ready_replicas, status.replicas) == (wanted, wanted, wanted);
    if complete {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
    if status != set.status {
        let meta = &set.metadata;
        let patch = json!({"status": to_patch(&status)});
        plan.push(Write::merge(STATEFUL_SETS, &meta.namespace, &meta.name, "status", patch));
    }
}

/// Zero is absent on the wire for some counts; null removes them.
fn to_patch(status: &StatefulSetStatus) -> Value {
    let count = |n: i64| if n == 0 { Value::Null } else { n.into() };
    json!({
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "readyReplicas": count(status.ready_replicas),
        "currentReplicas": count(status.current_replicas),
        "updatedReplicas": count(status.updated_replicas),
        "availableReplicas": status.available_replicas,
        "currentRevision": status.current_revision,
        "updateRevision": status.update_revision,
        "collisionCount": status.collision_count,
    })
}
