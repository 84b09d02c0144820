//! The status, and the finalizers that go once what they stand for is in it.

use super::manage::{Counts, awaiting_replacement};
use super::{End, Scene, condition, is_tracked, untrack};
use crate::api::{JobStatus, UncountedTerminatedPods};
use crate::plan::{EventSpec, Plan, Write};
use kedge_api::Pod;
use kedge_api::resource::JOBS;
use serde_json::{Value, json};
use std::sync::Arc;

/// So many uids fit into the list.
const UNCOUNTED_MAX: usize = 500;

pub fn update(scene: &Scene, end: Option<&End>, counts: &Counts, plan: &mut Plan) {
    let mut status = scene.job.status.clone();
    let mut event = None;
    if status.start_time.is_none() && !scene.job.spec.suspend {
        status.start_time = Some(scene.now);
    }
    status.active = counts.active;
    status.ready = Some(counts.ready);
    status.terminating = Some(counts.terminating);
    let release = track(scene, end, &mut status);
    match end {
        None => suspend(scene, &mut status, &mut event),
        Some(end) => conclude(scene, end, &release, &mut status, &mut event),
    }
    if status != scene.job.status {
        let meta = &scene.job.metadata;
        let mut write = Write::merge(JOBS, &meta.namespace, &meta.name, "status", to_patch(&status));
        write.on_success = event;
        plan.push(write);
    }
    for pod in release {
        plan.push(untrack(&pod.metadata));
    }
}

/// Puts the ended pods into the lists; gives those whose finalizer may go once the lists are stored.
fn track<'a>(scene: &'a Scene, end: Option<&End>, status: &mut JobStatus) -> Vec<&'a Arc<Pod>> {
    status.succeeded = scene.counted_succeeded;
    status.failed = scene.counted_failed;
    let mut succeeded = scene.uncounted_succeeded.clone();
    let mut failed = scene.uncounted_failed.clone();
    let held = awaiting_replacement(scene);
    let mut release = Vec::new();
    for pod in scene.pods.iter().filter(|pod| is_tracked(&pod.metadata)) {
        if succeeded.len() + failed.len() >= UNCOUNTED_MAX {
            break;
        }
        let is_failed = scene.is_failed(pod);
        let is_held = scene.index(pod).and_then(|index| held.get(&index)).is_some_and(|held| held == &pod);
        let over = end.is_some() || scene.job.metadata.deletion_timestamp.is_some();
        if !over && pod.status.phase != "Succeeded" && (!is_failed || is_held) {
            continue;
        }
        release.push(pod);
        let uid = &pod.metadata.uid;
        let valid = !scene.is_indexed() || scene.index(pod).is_some();
        if pod.status.phase == "Succeeded" && !failed.contains(uid) {
            if !scene.is_indexed() {
                succeeded.insert(uid.clone());
            }
        } else if valid
            && (is_failed || end.is_some_and(|end| !end.succeeded))
            && scene.is_counted_failure(pod)
        {
            failed.insert(uid.clone());
        }
    }
    if scene.is_indexed() {
        status.succeeded = scene.succeeded_indexes.total();
        status.completed_indexes = scene.succeeded_indexes.to_string();
        status.failed_indexes = scene.failed_indexes.as_ref().map(ToString::to_string);
    }
    status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        succeeded: succeeded.into_iter().collect(),
        failed: failed.into_iter().collect(),
    });
    release
}

fn suspend(scene: &Scene, status: &mut JobStatus, event: &mut Option<EventSpec>) {
    let wanted = scene.job.spec.suspend;
    let standing = status.conditions.iter_mut().find(|condition| condition.r#type == "Suspended");
    let (word, reason, message) = match wanted {
        true => ("True", "JobSuspended", "Job suspended"),
        false => ("False", "JobResumed", "Job resumed"),
    };
    let fresh = condition("Suspended", word, reason, message, scene.now);
    match standing {
        Some(standing) if standing.status == word => return,
        Some(standing) => *standing = fresh,
        None if !wanted => return,
        None => status.conditions.push(fresh),
    }
    *event = Some(match wanted {
        true => EventSpec::normal(&scene.about, "Suspended", message),
        false => EventSpec::normal(&scene.about, "Resumed", message),
    });
    // The time of a suspended job does not run.
    status.start_time = (!wanted).then_some(scene.now);
}

/// The interim condition first; the last one when nothing is left to count or to wait for.
fn conclude(
    scene: &Scene,
    end: &End,
    release: &[&Arc<Pod>],
    status: &mut JobStatus,
    event: &mut Option<EventSpec>,
) {
    let has = |status: &JobStatus, kind: &str| status.conditions.iter().any(|c| c.r#type == kind);
    let add = |status: &mut JobStatus, kind: &str| {
        status.conditions.push(condition(kind, "True", &end.reason, &end.message, scene.now));
    };
    if !has(status, end.interim()) {
        add(status, end.interim());
    }
    let lists = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let settled = release.is_empty() && lists == UncountedTerminatedPods::default();
    if settled && status.terminating == Some(0) && status.active == 0 {
        add(status, end.last());
        status.completion_time = end.succeeded.then_some(scene.now);
        *event = Some(end.event(&scene.about));
    }
}

/// Zero counts are absent on the wire; null removes them.
fn to_patch(status: &JobStatus) -> Value {
    let count = |n: i64| if n == 0 { Value::Null } else { n.into() };
    let list = |uids: &[String]| if uids.is_empty() { Value::Null } else { json!(uids) };
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let conditions = if status.conditions.is_empty() { Value::Null } else { json!(status.conditions) };
    let indexes = Some(&status.completed_indexes).filter(|text| !text.is_empty());
    json!({"status": {
        "conditions": conditions,
        "startTime": status.start_time,
        "completionTime": status.completion_time,
        "active": count(status.active),
        "succeeded": count(status.succeeded),
        "failed": count(status.failed),
        "terminating": status.terminating,
        "ready": status.ready,
        "completedIndexes": indexes,
        "failedIndexes": status.failed_indexes,
        "uncountedTerminatedPods": {"succeeded": list(&uncounted.succeeded), "failed": list(&uncounted.failed)},
    }})
}
