//! What the owners of pods have in common: which pods are theirs, whom a pod's change concerns, when a pod counts.

use crate::owners::{Claim, Verdict};
use crate::plan::Plan;
use crate::view::View;
use kedge_api::resource::PODS;
use kedge_api::{ObjectMeta, Pod, Resource, Selector, Time};
use kedge_machinery::ObjectKey;
use std::sync::Arc;

/// The pods of one owner, those among them that become its own by writes of the plan. `is_candidate` is asked about orphans.
pub fn claim(
    (owner_kind, owner): (Resource, &ObjectMeta),
    selector: &Selector,
    view: &View<'_>,
    plan: &mut Plan,
    is_candidate: impl Fn(&Pod) -> bool,
) -> Vec<Arc<Pod>> {
    let claim = Claim { owner, owner_kind, selector, of: PODS };
    let mut owned = Vec::new();
    for pod in view.pods.list(Some(&owner.namespace)) {
        match claim.verdict(&pod.metadata) {
            Verdict::Mine => owned.push(pod),
            Verdict::Adopt(write) if is_candidate(&pod) => {
                plan.push(*write);
                owned.push(pod);
            }
            Verdict::Release(write) => plan.push(*write),
            Verdict::Adopt(_) | Verdict::NotMine => {}
        }
    }
    owned
}

/// The key of the controller of this kind that owns the object.
pub fn owner_key(meta: &ObjectMeta, kind: &str) -> Option<ObjectKey> {
    let owner = meta.controller().filter(|owner| owner.kind == kind)?;
    Some(ObjectKey::new(meta.namespace.clone(), owner.name.clone()))
}

/// Whom a change of a pod (or revision) concerns: its owners before and after, or those whose selector matches an orphan.
pub fn concerned(
    old: Option<&ObjectMeta>,
    new: Option<&ObjectMeta>,
    kind: &str,
    matching: impl Fn(&ObjectMeta) -> Vec<ObjectKey>,
) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> =
        [old, new].into_iter().flatten().filter_map(|meta| owner_key(meta, kind)).collect();
    keys.dedup();
    if let Some(orphan) = new.filter(|meta| meta.controller().is_none()) {
        keys.extend(matching(orphan));
    }
    keys
}

/// The owners whose selector matches these labels.
pub fn matching<'a>(
    orphan: &ObjectMeta,
    owners: impl Iterator<Item = (&'a ObjectMeta, Selector)>,
) -> Vec<ObjectKey> {
    owners
        .filter(|(_, selector)| !selector.is_empty() && selector.matches(&orphan.labels))
        .map(|(meta, _)| ObjectKey::new(meta.namespace.clone(), meta.name.clone()))
        .collect()
}

pub fn is_active(pod: &Pod) -> bool {
    !pod.is_terminal() && pod.metadata.deletion_timestamp.is_none()
}

pub fn ready_since(pod: &Pod) -> Option<Time> {
    pod.status.condition("Ready").filter(|condition| condition.is_true()).and_then(|c| c.last_transition_time)
}

/// When the pod counts as available: ready for `min_ready_s`. None while it is not ready.
pub fn available_at(pod: &Pod, min_ready_s: i64) -> Option<Time> {
    ready_since(pod).map(|since| Time(since.0 + min_ready_s))
}

/// Available now; if it will be later, the plan looks again then.
pub fn is_available(pod: &Pod, min_ready_s: i64, now: Time, plan: &mut Plan) -> bool {
    match available_at(pod, min_ready_s) {
        Some(at) if at > now => {
            plan.requeue(at);
            false
        }
        at => at.is_some(),
    }
}
