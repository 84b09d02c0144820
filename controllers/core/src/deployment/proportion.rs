//! Scaling while a rollout is under way or paused: the difference is shared among all sets by their size.

use super::{DESIRED_REPLICAS, MAX_REPLICAS, Scene, resize};
use crate::api::ReplicaSet;
use crate::plan::Plan;
use std::sync::Arc;

/// Was `spec.replicas` changed since the sets were last sized?
pub fn is_scaling_event(scene: &Scene) -> bool {
    scene
        .sets
        .iter()
        .filter(|set| set.replicas() > 0)
        .filter_map(|set| set.annotation(DESIRED_REPLICAS).and_then(|text| text.parse::<i64>().ok()))
        .any(|desired| desired != scene.deployment.replicas())
}

pub fn scale(scene: &Scene, plan: &mut Plan) {
    let wanted = scene.deployment.replicas();
    let active: Vec<&Arc<ReplicaSet>> = scene.sets.iter().filter(|set| set.replicas() > 0).collect();
    let single = match active.as_slice() {
        [] => scene.new.as_ref().or(scene.sets.last()),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(set) = single {
        resize(scene, set, wanted, plan);
        return;
    }
    if scene.new.as_ref().is_some_and(|set| is_saturated(set, wanted)) {
        for set in scene.old().filter(|set| set.replicas() > 0) {
            resize(scene, set, 0, plan);
        }
    } else if scene.is_rolling() {
        share_out(scene, active, plan);
    }
}

fn is_saturated(set: &ReplicaSet, wanted: i64) -> bool {
    set.replicas() == wanted
        && set.status.available_replicas == wanted
        && set.annotation(DESIRED_REPLICAS).and_then(|text| text.parse().ok()) == Some(wanted)
}

fn share_out(scene: &Scene, mut active: Vec<&Arc<ReplicaSet>>, plan: &mut Plan) {
    let total: i64 = active.iter().map(|set| set.replicas()).sum();
    let wanted = scene.deployment.replicas();
    let most = if wanted > 0 { wanted + scene.max_surge() } else { 0 };
    let to_add = most - total;
    // Larger sets first; of equal ones the newer grows and the older shrinks.
    active.sort_by_key(|set| (std::cmp::Reverse(set.replicas()), set.metadata.creation_timestamp));
    if to_add > 0 {
        active.sort_by_key(|set| {
            (std::cmp::Reverse(set.replicas()), std::cmp::Reverse(set.metadata.creation_timestamp))
        });
    }
    let mut sizes: Vec<i64> = Vec::new();
    let mut added = 0;
    for set in &active {
        let portion = if to_add == 0 { 0 } else { portion(set, most, to_add, added) };
        added += portion;
        sizes.push(set.replicas() + portion);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.iter().zip(sizes) {
        resize(scene, set, size, plan);
    }
}

/// The set's share of `to_add`, rounded, never beyond what is left.
fn portion(set: &ReplicaSet, most: i64, to_add: i64, added: i64) -> i64 {
    let annotated = set.annotation(MAX_REPLICAS).and_then(|text| text.parse::<i64>().ok());
    let before = annotated.filter(|most| *most > 0).unwrap_or(most).max(1);
    let size = set.replicas();
    let ideal = (2 * size * most + before).div_euclid(2 * before);
    let share = ideal - size;
    let left = to_add - added;
    if to_add > 0 { share.clamp(0, left.max(0)) } else { share.clamp(left.min(0), 0) }
}
