//! Status of a DaemonSet.

use super::Scene;
use crate::api::DaemonSetStatus;
use crate::plan::{Context, Plan, Write};
use crate::pods::is_available;
use kedge_api::resource::DAEMON_SETS;
use serde_json::{Value, json};

pub fn update(scene: &Scene, context: &Context, plan: &mut Plan) {
    let collisions = scene.present.collision_count;
    let mut status = DaemonSetStatus {
        observed_generation: scene.set.metadata.generation,
        collision_count: scene.set.status.collision_count.or((collisions > 0).then_some(collisions)),
        ..DaemonSetStatus::default()
    };
    if collisions > status.collision_count.unwrap_or(0) {
        status.collision_count = Some(collisions);
    }
    for node in &scene.nodes {
        let pods = scene.on(&node.metadata.name);
        if !scene.placement(node).runs {
            status.number_misscheduled += i64::from(!pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(oldest) = pods.first() else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i64::from(oldest.is_ready());
        let available = is_available(oldest, scene.min_ready_s(), context.now, plan);
        status.number_available += i64::from(available);
        status.updated_number_scheduled += i64::from(scene.is_updated(oldest));
    }
    status.number_unavailable = status.desired_number_scheduled - status.number_available;
    if status != scene.set.status {
        let meta = &scene.set.metadata;
        let patch = json!({"status": to_patch(&status)});
        plan.push(Write::merge(DAEMON_SETS, &meta.namespace, &meta.name, "status", patch));
    }
}

/// Zero is absent on the wire for some counts; null removes them.
fn to_patch(status: &DaemonSetStatus) -> Value {
    let count = |n: i64| if n == 0 { Value::Null } else { n.into() };
    json!({
        "currentNumberScheduled": status.current_number_scheduled,
        "numberMisscheduled": status.number_misscheduled,
        "desiredNumberScheduled": status.desired_number_scheduled,
        "numberReady": status.number_ready,
        "observedGeneration": status.observed_generation,
        "updatedNumberScheduled": count(status.updated_number_scheduled),
        "numberAvailable": count(status.number_available),
        "numberUnavailable": count(status.number_unavailable),
        "collisionCount": status.collision_count,
    })
}
