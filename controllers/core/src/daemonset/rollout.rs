//! From old pods to new ones, node by node.

use super::Scene;
use crate::plan::{Plan, Write};
use crate::pods::is_available;
use crate::share::share;
use kedge_api::{Pod, Time};
use std::sync::Arc;

pub fn max_surge(scene: &Scene, desired: i64) -> i64 {
    let strategy = &scene.set.spec.update_strategy;
    let rolling = strategy.rolling_update.as_ref().filter(|_| strategy.r#type != "OnDelete");
    share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), desired, true)
}

/// At least 1 when the surge is 0 too, else nothing could ever move.
fn max_unavailable(scene: &Scene, desired: i64) -> i64 {
    let rolling = scene.set.spec.update_strategy.rolling_update.as_ref();
    let most = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), desired, true);
    if most == 0 && max_surge(scene, desired) == 0 { 1 } else { most }
}

/// The new and the old pod of a node.
type Pair<'a> = (Option<&'a Arc<Pod>>, Option<&'a Arc<Pod>>);

/// A node's living pods; None when there are more than one old and one new, which is for the other loop to clean up.
fn pair<'a>(scene: &Scene, pods: &'a [Arc<Pod>]) -> Option<Pair<'a>> {
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = living.partition(|pod| scene.is_updated(pod));
    (new.len() <= 1 && old.len() <= 1).then(|| (new.first().copied(), old.first().copied()))
}

pub fn replace(scene: &Scene, now: Time, plan: &mut Plan) {
    let desired = scene.nodes.iter().filter(|node| scene.placement(node).runs).count();
    let desired = i64::try_from(desired).unwrap_or(i64::MAX);
    match max_surge(scene, desired) {
        0 => replace_in_place(scene, max_unavailable(scene, desired), now, plan),
        surge => replace_beside(scene, surge, desired, now, plan),
    }
}

/// Deletes as many old pods as may be missing; the other loop makes the new ones.
fn replace_in_place(scene: &Scene, most: i64, now: Time, plan: &mut Plan) {
    let mut unavailable = 0;
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for pods in scene.pods.values() {
        match pair(scene, pods) {
            None | Some((None, None) | (Some(_), Some(_))) => unavailable += 1,
            Some((Some(new), None)) => {
                unavailable += i64::from(!is_available(new, scene.min_ready_s(), now, plan));
            }
            Some((None, Some(old))) if !is_available(old, scene.min_ready_s(), now, plan) => {
                broken.push(scene.delete(old));
                unavailable += 1;
            }
            Some((None, Some(old))) => candidates.push(scene.delete(old)),
        }
    }
    let room = usize::try_from((most - unavailable).max(0)).unwrap_or(0);
    plan.writes.extend(broken);
    plan.writes.extend(candidates.into_iter().take(room));
}

/// Makes new pods beside old ones; an old one goes once its new one is available.
fn replace_beside(scene: &Scene, surge: i64, desired: i64, now: Time, plan: &mut Plan) {
    let (mut surging, mut available) = (0, 0);
    let mut writes: Vec<Write> = Vec::new();
    let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
    for (node, pods) in &scene.pods {
        let Some((new, old)) = pair(scene, pods) else {
            surging += 1;
            continue;
        };
        let known = scene.nodes.iter().find(|known| known.metadata.name == *node);
        let runs = known.is_some_and(|node| scene.placement(node).runs);
        let mut serves = |pod: &Arc<Pod>| is_available(pod, scene.min_ready_s(), now, plan);
        match (new, old) {
            (None, None) => {}
            (Some(new), None) => available += i64::from(serves(new)),
            (None, Some(old)) => match (serves(old), runs) {
                (false, false) => writes.push(scene.delete(old)),
                (false, true) => writes.push(scene.create_on(node)),
                (true, runs) => {
                    available += 1;
                    match runs {
                        true => candidates.push(scene.create_on(node)),
                        false => misplaced.push(scene.delete(old)),
                    }
                }
            },
            (Some(new), Some(old)) => {
                available += i64::from(serves(old));
                match serves(new) {
                    true => writes.push(scene.delete(old)),
                    false => surging += 1,
                }
            }
        }
    }
    let spare = usize::try_from((available - desired).max(0)).unwrap_or(0);
    let room = usize::try_from((surge - surging).max(0)).unwrap_or(0);
    writes.extend(misplaced.into_iter().take(spare));
    writes.extend(candidates.into_iter().take(room));
    plan.writes.extend(writes);
}
