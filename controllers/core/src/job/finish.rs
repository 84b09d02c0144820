//! Whether the job is over, and why.

use super::{End, Scene, policy};
use crate::plan::Plan;
use kedge_api::Time;

/// In upstream's order: what was decided before stands, then failures, then the success policy.
pub fn evaluate(scene: &Scene, plan: &mut Plan) -> Option<End> {
    decided(scene)
        .or_else(|| by_failure_policy(scene))
        .or_else(|| by_limits(scene, plan))
        .or_else(|| by_indexes(scene))
        .or_else(|| by_success_policy(scene))
}

fn decided(scene: &Scene) -> Option<End> {
    let standing = |kind: &str| scene.job.condition(kind).filter(|condition| condition.status == "True");
    let (found, succeeded) = match standing("SuccessCriteriaMet") {
        Some(found) => (found, true),
        None => (standing("FailureTarget")?, false),
    };
    Some(End { succeeded, reason: found.reason.clone(), message: found.message.clone() })
}

fn by_failure_policy(scene: &Scene) -> Option<End> {
    let rules = scene.job.spec.pod_failure_policy.as_ref()?;
    let failed = scene.pods.iter().filter(|pod| scene.is_failed(pod));
    let message = failed.filter_map(|pod| policy::verdict(Some(rules), pod).fails_job).next()?;
    Some(End::failed("PodFailurePolicy", message))
}

fn by_limits(scene: &Scene, plan: &mut Plan) -> Option<End> {
    let limit = scene.job.spec.backoff_limit.unwrap_or(6);
    if scene.failed() > limit || restarts_exceed(scene, limit) {
        return Some(End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let allowed = scene.job.spec.active_deadline_seconds.filter(|_| !scene.job.spec.suspend)?;
    // A job that was never looked at starts now.
    let started = scene.job.status.start_time.unwrap_or(scene.now);
    let deadline = Time(started.0 + allowed);
    if deadline <= scene.now {
        return Some(End::failed("DeadlineExceeded", "Job was active longer than specified deadline"));
    }
    plan.requeue(deadline);
    None
}

/// With `restartPolicy: OnFailure` the restarts of containers count.
fn restarts_exceed(scene: &Scene, limit: i64) -> bool {
    if scene.job.spec.template["spec"]["restartPolicy"] != "OnFailure" {
        return false;
    }
    let alive = scene.pods.iter().filter(|pod| matches!(pod.status.phase.as_str(), "Running" | "Pending"));
    let restarts: i64 = alive
        .flat_map(|pod| pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses))
        .map(|status| i64::from(status.restart_count))
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

fn by_indexes(scene: &Scene) -> Option<End> {
    let failed = scene.failed_indexes.as_ref()?.total();
    let spec = &scene.job.spec;
    if spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(End::failed("MaxFailedIndexesExceeded", message));
    }
    let all = failed + scene.succeeded_indexes.total() >= spec.completions.unwrap_or(0);
    (failed > 0 && all).then(|| End::failed("FailedIndexes", "Job has failed indexes"))
}

fn by_success_policy(scene: &Scene) -> Option<End> {
    let rules = scene.job.spec.success_policy.as_ref().filter(|_| scene.is_indexed())?;
    let message = policy::success(rules, scene.job.spec.completions.unwrap_or(0), &scene.succeeded_indexes)?;
    Some(End { succeeded: true, reason: "SuccessPolicy".to_owned(), message })
}

/// Enough pods succeeded, and none is left running.
pub fn completions(scene: &Scene, active: i64) -> Option<End> {
    let succeeded = scene.succeeded();
    let enough = match scene.job.spec.completions {
        None => succeeded > 0,
        Some(wanted) => succeeded >= wanted,
    };
    (enough && active == 0).then(|| End {
        succeeded: true,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}
