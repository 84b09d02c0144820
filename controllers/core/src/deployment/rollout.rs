//! One step of a rollout. Each step is decided from what is observed; the next comes when the ReplicaSets' status changes.

use super::{Scene, resize};
use crate::api::ReplicaSet;
use crate::plan::Plan;
use std::sync::Arc;

/// How many replicas the new set should have, given how many it has.
pub fn size_of_new_set(scene: &Scene, current: i64) -> i64 {
    let wanted = scene.deployment.replicas();
    if !scene.is_rolling() {
        return wanted;
    }
    let total: i64 = scene.sets.iter().map(|set| set.replicas()).sum();
    let most = wanted + scene.max_surge();
    if total >= most {
        return current;
    }
    current + (most - total).min(wanted - current).max(0)
}

pub fn rolling(scene: &Scene, plan: &mut Plan) {
    let Some(new) = &scene.new else { return };
    let wanted = scene.deployment.replicas();
    let current = new.replicas();
    let target = if current > wanted { wanted } else { size_of_new_set(scene, current) };
    resize(scene, new, target, plan);
    if target == current {
        shrink_old(scene, new, plan);
    }
}

/// Takes old pods away as far as maxUnavailable allows: unhealthy ones first, they cost nothing.
fn shrink_old(scene: &Scene, new: &ReplicaSet, plan: &mut Plan) {
    let old: Vec<&Arc<ReplicaSet>> = scene.old().filter(|set| set.replicas() > 0).collect();
    if old.is_empty() {
        return;
    }
    let total: i64 = scene.sets.iter().map(|set| set.replicas()).sum();
    let available_least = scene.deployment.replicas() - scene.max_unavailable();
    let new_unavailable = new.replicas() - new.status.available_replicas;
    let scale_down_most = total - available_least - new_unavailable;
    if scale_down_most <= 0 {
        return;
    }
    let mut sizes: Vec<i64> = old.iter().map(|set| set.replicas()).collect();
    let mut cleaned = 0;
    for (set, size) in old.iter().zip(&mut sizes) {
        let unhealthy = (*size - set.status.available_replicas).max(0);
        let step = unhealthy.min(scale_down_most - cleaned);
        *size -= step;
        cleaned += step;
    }
    let available: i64 = scene.sets.iter().map(|set| set.status.available_replicas).sum();
    let mut budget = (available - available_least).max(0);
    for size in &mut sizes {
        let step = (*size).min(budget);
        *size -= step;
        budget -= step;
    }
    for (set, size) in old.iter().zip(sizes) {
        if size != set.replicas() {
            resize(scene, set, size, plan);
        }
    }
}

/// Everything old goes before anything new comes.
pub fn recreate(scene: &Scene, plan: &mut Plan) {
    let mut shrinking = false;
    for set in scene.old().filter(|set| set.replicas() > 0) {
        resize(scene, set, 0, plan);
        shrinking = true;
    }
    let new_uid = scene.new.as_ref().map(|set| set.metadata.uid.as_str());
    let old_pods = scene
        .pods
        .iter()
        .filter(|pod| {
            !pod.is_terminal() && pod.metadata.controller().map(|owner| owner.uid.as_str()) != new_uid
        })
        .count();
    if shrinking || old_pods > 0 {
        plan.writes.retain(|write| !matches!(write.op, crate::Op::Create(_)));
        plan.waiting_for = Some(format!("{old_pods} old pods to end"));
    } else if let Some(new) = &scene.new {
        resize(scene, new, scene.deployment.replicas(), plan);
    }
}
