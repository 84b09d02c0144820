//! StatefulSet: pods with names that stay, made and ended in order, each with its own claims.
//!
//! ```text
//!   revisions ─► each ordinal from the first: make it, wait until it is available (unless Parallel)
//!             ─► the ordinals beyond the size: delete from the last
//!             ─► RollingUpdate: delete the last old pod above the partition, wait for its successor
//!   and always: claims owned as the retention policy says, old revisions forgotten, status
//! ```

mod claims;
mod identity;
mod status;

use crate::Controller;
use crate::api::StatefulSet;
use crate::history::{self, Owner, Present};
use crate::plan::{Context, EventSpec, Plan, Write, reference};
use crate::pods;
use crate::view::{Changed, KindId, View};
use kedge_api::resource::{PODS, STATEFUL_SETS};
use kedge_api::{ObjectMeta, Pod, Selector, Time};
use kedge_machinery::ObjectKey;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const REVISION_LABEL: &str = "controller-revision-hash";
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

pub struct StatefulSetController;

/// A set with what belongs to it.
struct Scene<'a> {
    set: Arc<StatefulSet>,
    view: &'a View<'a>,
    /// Ordinal → pod.
    pods: BTreeMap<i64, Arc<Pod>>,
    /// The revision of the present template.
    update: Present,
    /// The revision that ordinals below the partition keep, and its template.
    current: String,
    current_template: Value,
    now: Time,
    about: Value,
}

impl Scene<'_> {
    fn ordinals(&self) -> std::ops::Range<i64> {
        self.set.start()..self.set.start() + self.set.replicas()
    }

    fn is_ordered(&self) -> bool {
        self.set.spec.pod_management_policy != "Parallel"
    }

    /// Revision and template that a new pod of this ordinal gets.
    fn version(&self, ordinal: i64) -> (&str, &Value) {
        let strategy = &self.set.spec.update_strategy;
        let keeps = match &strategy.rolling_update {
            Some(rolling) => ordinal < self.set.start() + rolling.partition,
            None => {
                strategy.r#type == "RollingUpdate"
                    && ordinal < self.set.start() + self.set.status.current_replicas
            }
        };
        match keeps {
            true => (&self.current, &self.current_template),
            false => (&self.update.name, &self.set.spec.template),
        }
    }

    fn is_available(&self, pod: &Pod, plan: &mut Plan) -> bool {
        pod.status.phase == "Running"
            && pods::is_available(pod, self.set.spec.min_ready_seconds, self.now, plan)
    }

    fn delete(&self, pod: &Pod) -> Write {
        let meta = &pod.metadata;
        self.told("delete", "SuccessfulDelete", "FailedDelete", &meta.name, {
            Write::delete(PODS, &meta.namespace, &meta.name, &meta.uid)
        })
    }

    fn told(&self, verb: &str, good: &'static str, bad: &'static str, pod: &str, write: Write) -> Write {
        let what = format!("{verb} Pod {pod} in StatefulSet {}", self.set.metadata.name);
        write
            .telling(EventSpec::normal(&self.about, good, format!("{what} successful")))
            .or_telling(EventSpec::warning(&self.about, bad, format!("{what} failed error: {{error}}")))
    }
}

impl Controller for StatefulSetController {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn account(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> &'static [KindId] {
        &[KindId::StatefulSet, KindId::ControllerRevision, KindId::Pod]
    }

    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey> {
        let concerned = |old: Option<&ObjectMeta>, new: Option<&ObjectMeta>| {
            pods::concerned(old, new, "StatefulSet", |orphan| {
                let sets = view.stateful_sets.list(Some(&orphan.namespace));
                let owners = sets.iter().map(|set| (&set.metadata, read(&set.spec.selector)));
                pods::matching(orphan, owners)
            })
        };
        match change {
            Changed::StatefulSet { key, .. } => vec![key.clone()],
            Changed::Pod { old, new, .. } => {
                concerned(old.as_ref().map(|pod| &pod.metadata), new.as_ref().map(|pod| &pod.metadata))
            }
            Changed::ControllerRevision { old, new, .. } => {
                concerned(old.as_ref().map(|r| &r.metadata), new.as_ref().map(|r| &r.metadata))
            }
            _ => Vec::new(),
        }
    }

    fn reconcile(&self, view: &View<'_>, key: &ObjectKey, context: &Context) -> Plan {
        let Some(set) = view.stateful_sets.get(&key.namespace, &key.name) else {
            return Plan::nothing();
        };
        let selector = read(&set.spec.selector);
        let mut plan = Plan::nothing();
        let owner = Owner {
            of: STATEFUL_SETS,
            meta: &set.metadata,
            selector: &selector,
            template: &set.spec.template,
            hash_label: HASH_LABEL,
        };
        let revisions = history::revisions(&owner, view, &mut plan);
        let collisions = set.status.collision_count.unwrap_or(0);
        let update = history::ensure(&owner, &revisions, collisions, view, &mut plan);
        let current = revisions.iter().find(|r| r.metadata.name == set.status.current_revision);
        let (current, current_template) = match current {
            Some(revision) => (revision.metadata.name.clone(), history::template_of(revision)),
            None => (update.name.clone(), set.spec.template.clone()),
        };
        let about = reference(STATEFUL_SETS, &set.metadata);
        let is_member = |pod: &Pod| identity::ordinal(&set.metadata.name, &pod.metadata.name).is_some();
        let owned = pods::claim((STATEFUL_SETS, &set.metadata), &selector, view, &mut plan, is_member);
        let by_ordinal = owned.into_iter().filter_map(|pod| {
            let ordinal = identity::ordinal(&set.metadata.name, &pod.metadata.name)?;
            Some((ordinal, pod))
        });
        let pods = by_ordinal.collect();
        let limit = set.spec.revision_history_limit;
        let now = context.now;
        let scene = Scene { set, view, pods, update, current, current_template, now, about };
        if scene.set.metadata.deletion_timestamp.is_none() {
            order(&scene, &mut plan);
        }
        let is_live = |name: &str| {
            name == scene.update.name
                || name == scene.current
                || scene.pods.values().any(|pod| revision_of(pod) == name)
        };
        history::prune(&revisions, limit, |revision| is_live(&revision.metadata.name), &mut plan);
        status::update(&scene, &mut plan);
        plan
    }
}

fn read(selector: &Value) -> Selector {
    Selector::from_object(selector).unwrap_or_else(|_| Selector::nothing())
}

fn revision_of(pod: &Pod) -> &str {
    pod.metadata.labels.get(REVISION_LABEL).map_or("", String::as_str)
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pass over the pods may go on to its next part.
#[derive(PartialEq)]
enum Pass {
    On,
    Stop,
}

/// One pass: the wanted ordinals, the unwanted ones, the update. In order, the first thing that must be waited for ends it.
fn order(scene: &Scene<'_>, plan: &mut Plan) {
    if grow(scene, plan) == Pass::Stop || shrink(scene, plan) == Pass::Stop {
        return;
    }
    if scene.set.spec.update_strategy.r#type == "OnDelete" {
        return;
    }
    let partition = scene.set.spec.update_strategy.rolling_update.as_ref().map_or(0, |r| r.partition);
    let wanted = scene.ordinals();
    for ordinal in (wanted.start + partition..wanted.end).rev() {
        let Some(pod) = scene.pods.get(&ordinal) else { return };
        if revision_of(pod) != scene.update.name && !is_going(pod) {
            plan.push(scene.delete(pod));
            return;
        }
        if is_going(pod) || !scene.is_available(pod, plan) {
            plan.waiting_for = Some(format!("pod {} to be updated", pod.metadata.name));
            return;
        }
    }
}

fn grow(scene: &Scene<'_>, plan: &mut Plan) -> Pass {
    for ordinal in scene.ordinals() {
        if replica(scene, ordinal, plan) == Pass::Stop && scene.is_ordered() {
            return Pass::Stop;
        }
    }
    Pass::On
}

fn replica(scene: &Scene<'_>, ordinal: i64, plan: &mut Plan) -> Pass {
    let Some(pod) = scene.pods.get(&ordinal) else {
        return make(scene, ordinal, plan);
    };
    let name = &pod.metadata.name;
    if pod.is_terminal() {
        if !is_going(pod) {
            plan.push(scene.delete(pod));
        }
        return Pass::Stop;
    }
    if pod.status.phase == "Pending" {
        claims::create_missing(scene, ordinal, plan);
    }
    if scene.is_ordered() && is_going(pod) {
        plan.waiting_for = Some(format!("pod {name} to terminate"));
        return Pass::Stop;
    }
    if scene.is_ordered() && !scene.is_available(pod, plan) {
        plan.waiting_for = Some(format!("pod {name} to be available"));
        return Pass::Stop;
    }
    claims::own(scene, ordinal, Some(pod), plan);
    if let Some(patch) = identity::mend(pod, ordinal) {
        let write = Write::merge(PODS, &pod.metadata.namespace, name, "", patch);
        plan.push(scene.told("update", "SuccessfulUpdate", "FailedUpdate", name, write));
    }
    Pass::On
}

fn make(scene: &Scene<'_>, ordinal: i64, plan: &mut Plan) -> Pass {
    if claims::is_stale(scene, ordinal) {
        plan.waiting_for = Some(format!("old claims of ordinal {ordinal} to be deleted"));
        return Pass::Stop;
    }
    claims::create_missing(scene, ordinal, plan);
    let (revision, template) = scene.version(ordinal);
    let pod = identity::pod(&scene.set, ordinal, revision, template);
    let name = identity::pod_name(&scene.set.metadata.name, ordinal);
    let write = Write::create(PODS, &scene.set.metadata.namespace, pod);
    plan.push(scene.told("create", "SuccessfulCreate", "FailedCreate", &name, write));
    Pass::Stop
}

fn shrink(scene: &Scene<'_>, plan: &mut Plan) -> Pass {
    let wanted = scene.ordinals();
    let condemned: Vec<(&i64, &Arc<Pod>)> =
        scene.pods.iter().rev().filter(|(ordinal, _)| !wanted.contains(ordinal)).collect();
    for (ordinal, pod) in &condemned {
        claims::own(scene, **ordinal, Some(pod), plan);
    }
    // An unhealthy one goes at once only if it is the first; else it may be what the order waits for.
    let first_unhealthy =
        scene.pods.iter().find(|(_, pod)| is_going(pod) || !scene.is_available(pod, &mut Plan::nothing()));
    let first_unhealthy = first_unhealthy.map(|(ordinal, _)| *ordinal);
    for (ordinal, pod) in condemned {
        let name = &pod.metadata.name;
        if is_going(pod) {
            if scene.is_ordered() {
                plan.waiting_for = Some(format!("pod {name} to terminate"));
                return Pass::Stop;
            }
            continue;
        }
        let healthy = scene.is_available(pod, plan);
        if scene.is_ordered() && !healthy && first_unhealthy != Some(*ordinal) {
            plan.waiting_for = Some(format!("pod {name} to be available before it is ended"));
            return Pass::Stop;
        }
        plan.push(scene.delete(pod));
        if scene.is_ordered() {
            return Pass::Stop;
        }
    }
    Pass::On
}

#[cfg(test)]
mod tests;
