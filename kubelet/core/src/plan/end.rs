//! A pod that ends: deleted, refused, past its deadline, or all its containers are through.

use kedge_api::Pod;
use kedge_cri_api::ContainerStatus;

use super::{Action, Plan};
use crate::eviction::EVICTED;
use crate::observed::{Step, Terminating};
use crate::{Moment, Observed, Progress};

pub(super) fn plan(pod: &Pod, observed: &Observed, progress: &Progress, now: Moment, plan: &mut Plan) {
    let deadline =
        progress.terminating.map_or(now.after_s(30), |terminating: Terminating| terminating.deadline);
    if stop_containers(pod, observed, progress, deadline, now, plan) {
        return;
    }
    if progress.containers.values().any(|container| container.starting) {
        return plan.wait("the start that is under way");
    }
    for sandbox in &observed.sandboxes {
        if sandbox.ready || !progress.sandboxes_stopped.contains(&sandbox.id) {
            if !progress.busy.contains(&sandbox.id) {
                plan.act(Action::StopSandbox { id: sandbox.id.clone() });
            }
            plan.wait("the end of the sandbox");
        }
    }
    if progress.sandbox == Step::Running || progress.volumes == Step::Running {
        plan.wait("what is under way");
    }
    if !plan.waiting.is_empty() {
        return;
    }
    match &progress.torn_down {
        Step::Done => {}
        Step::Idle => return plan.act(Action::TearDown),
        Step::Running => return plan.wait("the volumes' end"),
        Step::Failed { retry_at, message } if now < *retry_at => {
            return plan.wait_until(*retry_at, format!("the volumes' end: {message}"));
        }
        Step::Failed { .. } => return plan.act(Action::TearDown),
    }
    let is_evicted = progress.ending.as_ref().is_some_and(|ending| ending.reason == EVICTED);
    if pod.metadata.deletion_timestamp.is_some() || progress.gone {
        finish(observed, progress, plan);
    } else if is_evicted && progress.final_status_sent {
        // It was evicted for its disk, so what it wrote goes although the object stays.
        remove_all(observed, progress, plan);
    }
}

/// Containers first and together; then sidecars, the last started first. True while one still runs.
fn stop_containers(
    pod: &Pod,
    observed: &Observed,
    progress: &Progress,
    deadline: Moment,
    now: Moment,
    plan: &mut Plan,
) -> bool {
    let running: Vec<&ContainerStatus> = observed.running().collect();
    if running.is_empty() {
        return false;
    }
    if !progress.terminating.is_some_and(|terminating| terminating.announced) {
        let spec =
            pod.spec.init_containers.iter().chain(&pod.spec.containers).chain(&pod.spec.ephemeral_containers);
        let containers =
            spec.filter(|container| observed.is_running(&container.name)).map(|c| c.name.clone()).collect();
        plan.act(Action::AnnounceStops { containers });
    }
    let sidecar_order = |status: &ContainerStatus| {
        pod.spec.init_containers.iter().position(|c| c.is_sidecar() && c.name == status.name)
    };
    let (sidecars, others): (Vec<_>, Vec<_>) =
        running.into_iter().partition(|status| sidecar_order(status).is_some());
    let turn = if others.is_empty() {
        sidecars.into_iter().max_by_key(|status| sidecar_order(status)).into_iter().collect()
    } else {
        others
    };
    for status in turn {
        let stopping = progress.container(&status.name).and_then(|c| c.stopping.as_ref());
        // The grace was rounded up to whole seconds when it was asked for; a stop past its deadline has come to SIGKILL.
        let latest = deadline.after_s(1).max(now);
        let under_way = stopping.is_some_and(|stop| stop.id == status.id && stop.deadline <= latest);
        if !under_way {
            let grace_s = i64::try_from(deadline.since(now).as_millis().div_ceil(1000)).unwrap_or(i64::MAX);
            plan.act(Action::Stop {
                container: status.name.clone(),
                id: status.id.clone(),
                grace_s,
                event: None,
            });
        }
        plan.wait(format!("the end of container {}", status.name));
    }
    true
}

/// Nothing runs any more: dead containers and sandboxes go, then the object.
fn finish(observed: &Observed, progress: &Progress, plan: &mut Plan) {
    if remove_all(observed, progress, plan) {
        return;
    }
    if progress.gone {
        plan.finished = true;
    } else if progress.final_status_sent {
        plan.act(Action::FinishDeletion);
    } else {
        plan.wait("the final status to be stored");
    }
}

/// Containers, then sandboxes. True while something is left.
fn remove_all(observed: &Observed, progress: &Progress, plan: &mut Plan) -> bool {
    let mut left = false;
    for container in &observed.containers {
        left = true;
        if !progress.busy.contains(&container.id) {
            plan.act(Action::RemoveContainer { id: container.id.clone() });
        }
    }
    if !left {
        for sandbox in &observed.sandboxes {
            left = true;
            if !progress.busy.contains(&sandbox.id) {
                plan.act(Action::RemoveSandbox { id: sandbox.id.clone() });
            }
        }
    }
    if left {
        plan.wait("the removal of what has ended");
    }
    left
}
