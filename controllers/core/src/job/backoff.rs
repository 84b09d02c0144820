//! How long a job waits before it replaces failed pods: 10 s, doubling to 10 min with each failure since the last success.
//!
//! It is read off the pods themselves, which stay until the job goes: no memory that a restart would lose.

use super::Scene;
use kedge_api::{Pod, Time};

const FIRST_S: i64 = 10;
const MOST_S: i64 = 600;
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// When a pod ended: its last container, else its deletion, else its last change of readiness.
pub fn finished_at(pod: &Pod) -> Option<Time> {
    let statuses = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    let last = statuses.filter_map(|s| s.state.terminated.as_ref()).filter_map(|t| t.finished_at).max();
    let changed = || pod.status.condition("Ready").and_then(|condition| condition.last_transition_time);
    last.or(pod.metadata.deletion_timestamp).or_else(changed).or(pod.metadata.creation_timestamp)
}

fn wait(failures: i64, last: Option<Time>) -> Option<Time> {
    if failures <= 0 {
        return None;
    }
    let doublings = u32::try_from((failures - 1).min(16)).unwrap_or(16);
    let delay = FIRST_S.saturating_mul(1 << doublings).min(MOST_S);
    last.map(|last| Time(last.0 + delay))
}

/// The time before which no pod is made, if it is ahead.
pub fn of_job(scene: &Scene) -> Option<Time> {
    let ended = |phase: &'static str| {
        let pods = scene.pods.iter().filter(move |pod| pod.status.phase == phase);
        pods.filter_map(|pod| finished_at(pod))
    };
    let last_success = ended("Succeeded").max();
    let failures: Vec<Time> = ended("Failed").filter(|at| last_success.is_none_or(|s| *at > s)).collect();
    let count = i64::try_from(failures.len()).unwrap_or(0);
    wait(count, failures.iter().max().copied()).filter(|at| *at > scene.now)
}

/// The same for one index, after this failed pod of it.
pub fn of_index(failed: &Pod, now: Time) -> Option<Time> {
    let count = failures_of_index(failed) + number(failed, IGNORED) + 1;
    wait(count, finished_at(failed)).filter(|at| *at > now)
}

/// How many pods of the index had failed before this one.
pub fn failures_of_index(pod: &Pod) -> i64 {
    number(pod, FAILURES)
}

pub fn number(pod: &Pod, annotation: &str) -> i64 {
    pod.metadata.annotations.get(annotation).and_then(|text| text.parse().ok()).unwrap_or(0)
}
