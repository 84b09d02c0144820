//! How many pods run: too many are deleted, missing ones made, after a back-off.

use super::{FINALIZER, INDEX, Scene, backoff};
use crate::plan::{EventSpec, Plan, Write};
use crate::template::pod_from_template;
use kedge_api::Pod;
use kedge_api::resource::{JOBS, PODS};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many pods are made or deleted in one go.
const BURST_MAX: usize = 500;
const NAME_MAX: usize = 63;
const RANDOM_PART: usize = 5;

/// The numbers of the status, as they will be after the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub active: i64,
    pub ready: i64,
    pub terminating: i64,
}

pub fn count(scene: &Scene) -> Counts {
    let ready = scene.active().filter(|pod| pod.is_ready()).count();
    Counts {
        active: i64::try_from(scene.active().count()).unwrap_or(0),
        ready: i64::try_from(ready).unwrap_or(0),
        terminating: scene.terminating(),
    }
}

pub fn end_active(scene: &Scene, plan: &mut Plan) -> Counts {
    let active: Vec<&Arc<Pod>> = scene.active().collect();
    delete(scene, &active, plan)
}

fn delete(scene: &Scene, pods: &[&Arc<Pod>], plan: &mut Plan) -> Counts {
    let mut counts = count(scene);
    for pod in pods {
        let meta = &pod.metadata;
        let done = format!("Deleted pod: {}", meta.name);
        plan.push(
            Write::delete(PODS, &meta.namespace, &meta.name, &meta.uid)
                .telling(EventSpec::normal(&scene.about, "SuccessfulDelete", done))
                .or_telling(EventSpec::warning(&scene.about, "FailedDelete", "Error deleting: {error}")),
        );
        counts.active -= 1;
        counts.terminating += 1;
        counts.ready -= i64::from(pod.is_ready());
    }
    counts
}

pub fn run(scene: &Scene, plan: &mut Plan) -> Counts {
    let mut counts = count(scene);
    if scene.job.spec.suspend {
        return end_active(scene, plan);
    }
    let parallelism = scene.job.spec.parallelism.unwrap_or(1);
    let succeeded = scene.succeeded();
    let wanted = match scene.job.spec.completions {
        // A work queue: once one has succeeded, the others only finish.
        None if succeeded > 0 => counts.active,
        None => parallelism,
        Some(completions) => (completions - succeeded).clamp(0, parallelism),
    };
    let surplus = surplus(scene, (counts.active - wanted).max(0));
    if !surplus.is_empty() {
        return delete(scene, &surplus, plan);
    }
    let going = if scene.replaces_failed_only() { counts.terminating } else { 0 };
    let missing = usize::try_from(wanted - going - counts.active).unwrap_or(0).min(BURST_MAX);
    if missing > 0 {
        counts.active += create(scene, missing, plan);
    }
    counts
}

/// Those with an index twice, then those that have come least far.
fn surplus(scene: &Scene, at_least: i64) -> Vec<&Arc<Pod>> {
    let mut active: Vec<&Arc<Pod>> = scene.active().collect();
    active.sort_by_key(|pod| {
        let phase = u8::from(pod.status.phase == "Running");
        let younger = std::cmp::Reverse(pod.metadata.creation_timestamp);
        (!pod.spec.node_name.is_empty(), phase, pod.is_ready(), younger, pod.metadata.name.clone())
    });
    let mut victims = Vec::new();
    if scene.is_indexed() {
        let mut seen = BTreeSet::new();
        // From the furthest: of twins the better one stays.
        active.reverse();
        let (kept, doubled): (Vec<_>, Vec<_>) =
            active.into_iter().partition(|pod| scene.index(pod).is_some_and(|index| seen.insert(index)));
        victims = doubled;
        active = kept;
        active.reverse();
    }
    let more = usize::try_from(at_least).unwrap_or(0).saturating_sub(victims.len());
    victims.extend(active.into_iter().take(more));
    victims.truncate(BURST_MAX);
    victims
}

/// Makes up to so many pods; gives how many.
fn create(scene: &Scene, missing: usize, plan: &mut Plan) -> i64 {
    let per_index = scene.job.spec.backoff_limit_per_index.is_some();
    if !per_index && let Some(at) = backoff::of_job(scene) {
        plan.requeue(at);
        plan.waiting_for = Some("the back-off after failed pods".to_owned());
        return 0;
    }
    let mut made = 0;
    if !scene.is_indexed() {
        let pod = pod(scene, None, None);
        for _ in 0..missing {
            plan.push(make(scene, pod.clone()));
            made += 1;
        }
        return made;
    }
    let failed = awaiting_replacement(scene);
    for index in pending_indexes(scene).take(missing) {
        let before = failed.get(&index).copied();
        if per_index && let Some(at) = before.and_then(|pod| backoff::of_index(pod, scene.now)) {
            plan.requeue(at);
            continue;
        }
        plan.push(make(scene, pod(scene, Some(index), before)));
        made += 1;
    }
    made
}

fn make(scene: &Scene, pod: Value) -> Write {
    Write::create(PODS, &scene.job.metadata.namespace, pod)
        .telling(EventSpec::normal(&scene.about, "SuccessfulCreate", "Created pod: {name}"))
        .or_telling(EventSpec::warning(&scene.about, "FailedCreate", "Error creating: {error}"))
}

/// Indexes without a pod that runs, has succeeded or has used up its tries.
fn pending_indexes(scene: &Scene) -> impl Iterator<Item = i64> {
    let going = |pod: &Arc<Pod>| {
        scene.replaces_failed_only() && pod.metadata.deletion_timestamp.is_some() && !pod.is_terminal()
    };
    let taken: BTreeSet<i64> = scene
        .pods
        .iter()
        .filter(|pod| crate::pods::is_active(pod) || going(pod))
        .filter_map(|pod| scene.index(pod))
        .collect();
    (0..scene.job.spec.completions.unwrap_or(0)).filter(move |index| {
        !taken.contains(index)
            && !scene.succeeded_indexes.has(*index)
            && !scene.failed_indexes.as_ref().is_some_and(|failed| failed.has(*index))
    })
}

/// Index → its last failed pod, as long as that still has to hand on its count of failures.
pub fn awaiting_replacement(scene: &Scene) -> BTreeMap<i64, &Arc<Pod>> {
    if scene.job.spec.backoff_limit_per_index.is_none() {
        return BTreeMap::new();
    }
    let active: BTreeSet<i64> = scene.active().filter_map(|pod| scene.index(pod)).collect();
    let tries = |pod: &Pod| backoff::number(pod, backoff::FAILURES) + backoff::number(pod, backoff::IGNORED);
    let mut last: BTreeMap<i64, &Arc<Pod>> = BTreeMap::new();
    for pod in scene.pods.iter().filter(|pod| super::is_tracked(&pod.metadata) && scene.is_failed(pod)) {
        let Some(index) = scene.index(pod) else { continue };
        let over = scene.succeeded_indexes.has(index)
            || scene.failed_indexes.as_ref().is_some_and(|failed| failed.has(index));
        if over || active.contains(&index) {
            continue;
        }
        if last.get(&index).is_none_or(|known| tries(known) < tries(pod)) {
            last.insert(index, pod);
        }
    }
    last
}

fn pod(scene: &Scene, index: Option<i64>, failed: Option<&Arc<Pod>>) -> Value {
    let job = &scene.job;
    let mut pod = pod_from_template(&job.spec.template, JOBS, &job.metadata);
    let metadata = &mut pod["metadata"];
    match metadata["finalizers"].as_array_mut() {
        Some(list) => list.push(FINALIZER.into()),
        None => metadata["finalizers"] = json!([FINALIZER]),
    }
    let Some(index) = index else {
        metadata["generateName"] = format!("{}-", job.metadata.name).into();
        return pod;
    };
    let suffix = format!("-{index}-");
    let room = NAME_MAX - RANDOM_PART - suffix.len();
    let stem: String = job.metadata.name.chars().take(room).collect();
    metadata["generateName"] = format!("{stem}{suffix}").into();
    metadata["labels"][INDEX] = index.to_string().into();
    metadata["annotations"][INDEX] = index.to_string().into();
    if job.spec.backoff_limit_per_index.is_some() {
        let counted = failed.is_some_and(|pod| scene.is_counted_failure(pod));
        let before = |annotation| failed.map_or(0, |pod| backoff::number(pod, annotation));
        let failures = before(backoff::FAILURES) + i64::from(counted);
        let ignored = before(backoff::IGNORED) + i64::from(failed.is_some() && !counted);
        metadata["annotations"][backoff::FAILURES] = failures.to_string().into();
        if ignored > 0 {
            metadata["annotations"][backoff::IGNORED] = ignored.to_string().into();
        }
    }
    pod["spec"]["hostname"] = format!("{}-{index}", job.metadata.name).into();
    for list in ["initContainers", "containers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            add_index_variable(container);
        }
    }
    pod
}

fn add_index_variable(container: &mut Value) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let variable = json!({"name": NAME, "valueFrom":
        {"fieldRef": {"apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']")}}});
    match container["env"].as_array_mut() {
        Some(env) if env.iter().any(|present| present["name"] == NAME) => {}
        Some(env) => env.push(variable),
        None => container["env"] = json!([variable]),
    }
}
