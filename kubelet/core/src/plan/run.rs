//! A pod that should be running.

use std::time::Duration;

use kedge_api::Pod;
use kedge_api::pod::Container;
use kedge_cri_api::{ContainerState, ContainerStatus};

use super::{Action, Plan, ShouldRestart, active_deadline, should_restart};
use crate::backoff::go_seconds;
use crate::observed::{ContainerProgress, Failure, Step};
use crate::{Moment, Observed, Progress, config, names};

/// A failed start that has no back-off of its own (a missing ConfigMap, say) is tried again after this.
const RETRY_S: i64 = 5;
/// How long `ErrImagePull` stays visible before the status says that we wait, and a back-off before it is over.
const SHOWN_S: i64 = 1;

pub(super) fn plan(pod: &Pod, observed: &Observed, progress: &Progress, now: Moment, plan: &mut Plan) {
    if let Some(deadline) = active_deadline(pod) {
        plan.wake = Some(deadline);
    }
    remove_old(observed, progress, plan);
    match &progress.volumes {
        Step::Done => {}
        Step::Idle => return plan.act(Action::PrepareVolumes),
        Step::Running => return plan.wait("volumes"),
        Step::Failed { retry_at, message } if now < *retry_at => {
            return plan.wait_until(*retry_at, format!("volumes: {message}"));
        }
        Step::Failed { .. } => return plan.act(Action::PrepareVolumes),
    }
    if observed.ready_sandbox().is_none() {
        return plan_sandbox(pod, observed, progress, now, plan);
    }
    let mut starts = Starts { pod, observed, progress, now, plan, busy: false };
    starts.busy = progress.containers.values().any(|container| container.starting);
    starts.stop_what_must_restart();
    starts.ephemeral();
    if starts.init() {
        for container in &pod.spec.containers {
            starts.ensure(container);
        }
    }
}

/// A dead sandbox takes its containers along; the next one has a higher attempt.
fn plan_sandbox(pod: &Pod, observed: &Observed, progress: &Progress, now: Moment, plan: &mut Plan) {
    for dead in &observed.sandboxes {
        if !progress.sandboxes_stopped.contains(&dead.id) {
            if !progress.busy.contains(&dead.id) {
                plan.act(Action::StopSandbox { id: dead.id.clone() });
            }
            plan.wait(format!("the end of sandbox {}", dead.id));
        }
    }
    if !plan.waiting.is_empty() {
        return;
    }
    let attempt = observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt + 1);
    if attempt > 0 && !anything_left(pod, observed) {
        return plan.wait("nothing that would be started again");
    }
    match &progress.sandbox {
        Step::Running => plan.wait("the sandbox"),
        Step::Failed { retry_at, message } if now < *retry_at => {
            plan.wait_until(*retry_at, format!("the sandbox: {message}"));
        }
        Step::Idle | Step::Done | Step::Failed { .. } => plan.act(Action::CreateSandbox { attempt }),
    }
}

/// Every container has ended and none will be started again: what is left are sidecars.
pub(super) fn all_through(pod: &Pod, observed: &Observed, progress: &Progress) -> bool {
    let through = |container: &Container| {
        let starting = progress.container(&container.name).is_some_and(|progress| progress.starting);
        let ended = observed.container(&container.name).is_some_and(|status| {
            status.state == ContainerState::Exited
                && should_restart(&pod.spec, container, status.exit_code) == ShouldRestart::No
        });
        ended && !starting
    };
    !pod.spec.containers.is_empty() && pod.spec.containers.iter().all(through)
}

fn anything_left(pod: &Pod, observed: &Observed) -> bool {
    pod.spec.containers.iter().any(|container| match observed.container(&container.name) {
        Some(status) if status.state == ContainerState::Exited => {
            should_restart(&pod.spec, container, status.exit_code) == ShouldRestart::Yes
        }
        _ => true,
    })
}

/// The newest two of each name stay (state and lastState, and `logs --previous`), and the sandboxes they live in.
fn remove_old(observed: &Observed, progress: &Progress, plan: &mut Plan) {
    let mut kept_sandboxes = Vec::new();
    for (index, container) in observed.containers.iter().enumerate() {
        let newer = observed.containers[..index].iter().filter(|other| other.name == container.name).count();
        let dead = matches!(container.state, ContainerState::Exited | ContainerState::Unknown);
        if newer < 2 || !dead {
            kept_sandboxes.push(&container.sandbox_id);
        } else if !progress.busy.contains(&container.id) {
            plan.act(Action::RemoveContainer { id: container.id.clone() });
        }
    }
    for old in observed.sandboxes.iter().skip(1) {
        let stopped = progress.sandboxes_stopped.contains(&old.id);
        if stopped && !kept_sandboxes.contains(&&old.id) && !progress.busy.contains(&old.id) {
            plan.act(Action::RemoveSandbox { id: old.id.clone() });
        }
    }
}

struct Starts<'a> {
    pod: &'a Pod,
    observed: &'a Observed,
    progress: &'a Progress,
    now: Moment,
    plan: &'a mut Plan,
    /// A start is under way or planned: no second one beside it.
    busy: bool,
}

impl Starts<'_> {
    /// Failed liveness and startup probes, and containers whose definition changed.
    fn stop_what_must_restart(&mut self) {
        for container in self.pod.spec.containers.iter().chain(&self.pod.spec.init_containers) {
            let Some(status) = self.current(container) else {
                continue;
            };
            if status.state != ContainerState::Running || self.is_stopping(container, status) {
                continue;
            }
            let grace_s = self.pod.spec.termination_grace_period_seconds.unwrap_or(30);
            let probes = self.progress.container(&container.name).map(|c| &c.probes);
            let failed = probes
                .filter(|probes| probes.container_id == status.id)
                .and_then(|p| p.must_restart.as_ref());
            let (message, grace_s) = match failed {
                Some((probe, grace)) => (self.kill_message(container, probe), grace.unwrap_or(grace_s)),
                None if changed(container, status) => {
                    (format!("Container {} definition changed, will be restarted", container.name), grace_s)
                }
                None => continue,
            };
            self.plan.act(Action::Stop {
                container: container.name.clone(),
                id: status.id.clone(),
                grace_s,
                event: Some(message),
            });
        }
    }

    /// Where nothing follows the kill and nothing else goes on, it is the pod that ends (`liveness-never-policy`).
    fn kill_message(&self, container: &Container, probe: &str) -> String {
        let name = &container.name;
        let restarts = container.is_sidecar() || self.pod.spec.restart_policy != "Never";
        let others_go_on = self.pod.spec.containers.iter().any(|other| {
            other.name != *name
                && self.current(other).is_none_or(|status| {
                    status.state != ContainerState::Exited
                        || should_restart(&self.pod.spec, other, status.exit_code) == ShouldRestart::Yes
                })
        });
        match (restarts, others_go_on) {
            (true, _) => format!("Container {name} failed {probe} probe, will be restarted"),
            (false, true) => format!("Container {name} failed {probe} probe"),
            (false, false) => format!("Stopping container {name}"),
        }
    }

    fn is_stopping(&self, container: &Container, status: &ContainerStatus) -> bool {
        let stopping = self.progress.container(&container.name).and_then(|c| c.stopping.as_ref());
        stopping.is_some_and(|stopping| stopping.id == status.id)
    }

    /// The newest container of this name in the living sandbox.
    fn current(&self, container: &Container) -> Option<&ContainerStatus> {
        let sandbox = &self.observed.ready_sandbox()?.id;
        let containers = self.observed.containers.iter();
        containers.into_iter().find(|status| status.name == container.name && status.sandbox_id == *sandbox)
    }

    fn ephemeral(&mut self) {
        for container in &self.pod.spec.ephemeral_containers {
            let seen = self.observed.container(&container.name).is_some()
                || self
                    .pod
                    .status
                    .ephemeral_container_statuses
                    .iter()
                    .any(|s| s.name == container.name && s.state.terminated.is_some());
            if !seen {
                self.start(container, 0, None);
            }
        }
    }

    /// True once every init container is through: ordinary ones have succeeded, sidecars have started.
    fn init(&mut self) -> bool {
        let initialized = self.pod.spec.containers.iter().any(|container| self.current(container).is_some());
        for container in &self.pod.spec.init_containers {
            if initialized && !container.is_sidecar() {
                continue;
            }
            let through = match self.current(container) {
                Some(status) if status.state == ContainerState::Exited && status.exit_code == 0 => {
                    !container.is_sidecar()
                }
                Some(status) if status.state == ContainerState::Running => {
                    container.is_sidecar() && self.has_started(container, status)
                }
                _ => false,
            };
            if through {
                continue;
            }
            self.ensure(container);
            if !initialized {
                self.plan.wait(format!("init container {}", container.name));
                return false;
            }
        }
        true
    }

    fn has_started(&self, container: &Container, status: &ContainerStatus) -> bool {
        let progress = self.progress.container(&container.name);
        if progress.is_some_and(|progress| progress.starting) {
            return false;
        }
        container.startup_probe.is_none()
            || progress.is_some_and(|p| p.probes.container_id == status.id && p.probes.started == Some(true))
    }

    /// Starts the container where it should run and does not.
    fn ensure(&mut self, container: &Container) {
        let Some(status) = self.current(container) else {
            let attempt = self.next_attempt(container);
            return self.start(container, attempt, None);
        };
        match status.state {
            ContainerState::Running => {}
            // Left by a crash between create and start.
            ContainerState::Created => self.start(container, status.attempt, None),
            ContainerState::Exited | ContainerState::Unknown => {
                let (attempt, failed_at) = (status.attempt + 1, Moment::from_nanos(status.finished_at_ns));
                if should_restart(&self.pod.spec, container, status.exit_code) == ShouldRestart::Yes {
                    self.start(container, attempt, Some(failed_at));
                }
            }
        }
    }

    /// Counts go on from what the runtime has, or (after a reboot) from what the API shows.
    fn next_attempt(&self, container: &Container) -> u32 {
        if let Some(status) = self.observed.container(&container.name) {
            return status.attempt + 1;
        }
        let statuses = &self.pod.status;
        let known = statuses.container_statuses.iter().chain(&statuses.init_container_statuses);
        let known = known.into_iter().find(|status| status.name == container.name);
        known.map_or(0, |status| {
            let count = u32::try_from(status.restart_count).unwrap_or(0);
            // Without an id the status has already counted the container that was lost.
            count + u32::from(!status.container_id.is_empty())
        })
    }

    fn start(&mut self, container: &Container, attempt: u32, failed_at: Option<Moment>) {
        let idle = ContainerProgress::default();
        let progress = self.progress.container(&container.name).unwrap_or(&idle);
        if self.busy {
            return self.plan.wait(format!("the start of another container before {}", container.name));
        }
        if let Some(failed_at) = failed_at
            && self.restart_waits(container, progress, failed_at)
        {
            return;
        }
        if self.pull_waits(container, progress) || self.retry_waits(container, progress) {
            return;
        }
        self.busy = true;
        self.plan.act(Action::Start { container: container.name.clone(), attempt, failed_at });
    }

    fn restart_waits(
        &mut self,
        container: &Container,
        progress: &ContainerProgress,
        failed_at: Moment,
    ) -> bool {
        let Some((until, delay)) = progress.restarts.until(failed_at).filter(|(until, _)| self.now < *until)
        else {
            return false;
        };
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            go_seconds(delay),
            container.name,
            names::pod_in_messages(self.pod)
        );
        // Long enough for a watcher to see it.
        let shown_from = failed_at.after(delay.saturating_sub(Duration::from_secs(SHOWN_S.unsigned_abs())));
        self.note(container, progress, "CrashLoopBackOff", message, shown_from);
        if self.now < shown_from {
            self.plan.wait_until(shown_from, format!("{}: the exit is shown first", container.name));
        }
        self.plan.wait_until(until, format!("{}: back-off {}", container.name, go_seconds(delay)));
        true
    }

    fn pull_waits(&mut self, container: &Container, progress: &ContainerProgress) -> bool {
        let Some((failed_at, words)) = &progress.pull_failed else {
            return false;
        };
        let Some((until, _)) = progress.pulls.until(*failed_at).filter(|(until, _)| self.now < *until) else {
            return false;
        };
        let shown_at = failed_at.after_s(SHOWN_S);
        if self.now < shown_at {
            self.plan.wait_until(shown_at, format!("{}: ErrImagePull is shown first", container.name));
            return true;
        }
        let message = format!("Back-off pulling image \"{}\": ErrImagePull: {words}", container.image);
        self.note(container, progress, "ImagePullBackOff", message, self.now);
        self.plan.wait_until(until, format!("{}: image {}", container.name, container.image));
        true
    }

    /// Failures that leave no container behind; the others wait as restarts do.
    fn retry_waits(&mut self, container: &Container, progress: &ContainerProgress) -> bool {
        let Some(failure) = &progress.failure else {
            return false;
        };
        let waits_for_itself = matches!(
            failure.reason.as_str(),
            "CreateContainerConfigError" | "CreateContainerError" | "ErrImageNeverPull" | "InvalidImageName"
        );
        let retry_at = failure.at.after_s(RETRY_S);
        if !waits_for_itself || self.now >= retry_at {
            return false;
        }
        self.plan.wait_until(retry_at, format!("{}: {}", container.name, failure.message));
        true
    }

    /// The waiting state that the status shows; an equal one keeps its time.
    fn note(
        &mut self,
        container: &Container,
        progress: &ContainerProgress,
        reason: &str,
        message: String,
        shown_from: Moment,
    ) {
        let known = progress.failure.as_ref().is_some_and(|f| f.reason == reason && f.message == message);
        if !known {
            let failure = Failure { shown_from, ..Failure::at(self.now, reason, message) };
            self.plan.failures.push((container.name.clone(), failure));
        }
    }
}

/// Of a running container, image is what may change in a bare pod (E51).
fn changed(container: &Container, status: &ContainerStatus) -> bool {
    let hash = status.annotations.get(names::CONTAINER_HASH);
    hash.is_some_and(|hash| *hash != config::container_hash(container))
}
