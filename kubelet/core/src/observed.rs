//! What a pod's worker knows: the runtime's view, and the progress of what the worker itself has begun.

use std::collections::{BTreeMap, BTreeSet};

use kedge_api::Pod;
use kedge_cri_api::{ContainerState, ContainerStatus, PodSandboxStatus};

use crate::Moment;
use crate::backoff::Backoff;
use crate::eviction::EVICTED;

/// The sandboxes and containers of one pod, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub sandboxes: Vec<PodSandboxStatus>,
    pub containers: Vec<ContainerStatus>,
}

impl Observed {
    pub fn new(mut sandboxes: Vec<PodSandboxStatus>, mut containers: Vec<ContainerStatus>) -> Observed {
        sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created_at_ns, s.attempt)));
        containers.sort_by_key(|c| std::cmp::Reverse((c.created_at_ns, c.attempt)));
        Observed { sandboxes, containers }
    }

    /// The sandbox that containers are started in, if it lives.
    pub fn ready_sandbox(&self) -> Option<&PodSandboxStatus> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest container of this name.
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|container| container.name == name)
    }

    pub fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ContainerStatus> + use<'a> {
        self.containers.iter().filter(move |container| container.name == name)
    }

    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|container| container.state == ContainerState::Running)
    }

    pub fn is_running(&self, name: &str) -> bool {
        self.of_name(name).any(|container| container.state == ContainerState::Running)
    }
}

/// A step that the worker has begun or finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Idle,
    Running,
    Done,
    Failed {
        message: String,
        retry_at: Moment,
    },
}

/// Why a container is not running: the reason and message of its `waiting` state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: String,
    pub message: String,
    pub at: Moment,
    /// A back-off shows in the status when it is over, just before the next try: until then it is the exit that is shown.
    pub shown_from: Moment,
}

impl Failure {
    pub fn at(at: Moment, reason: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), message: message.into(), at, shown_from: at }
    }
}

/// A stop that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopping {
    pub id: String,
    pub deadline: Moment,
}

/// What probes found out about the container with this id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProbeResults {
    pub container_id: String,
    /// The startup probe has succeeded. None: no result yet.
    pub started: Option<bool>,
    pub ready: Option<bool>,
    /// A failed liveness or startup probe: which one, and the probe's own grace period.
    pub must_restart: Option<(String, Option<i64>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerProgress {
    /// A start is under way: image, create, start, postStart.
    pub starting: bool,
    pub failure: Option<Failure>,
    pub restarts: Backoff,
    pub pulls: Backoff,
    /// When the last pull failed, and the words of the registry.
    pub pull_failed: Option<(Moment, String)>,
    pub stopping: Option<Stopping>,
    pub probes: ProbeResults,
}

/// Why a pod must end although nobody deleted it: reason and message of its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    pub volumes: Step,
    pub sandbox: Step,
    pub torn_down: Step,
    pub containers: BTreeMap<String, ContainerProgress>,
    /// Sandboxes whose stop has returned.
    pub sandboxes_stopped: BTreeSet<String>,
    /// A stop or removal is under way for these ids.
    pub busy: BTreeSet<String>,
    /// Refused at admission, evicted, or past its deadline.
    pub ending: Option<Ending>,
    /// Refused at admission: nothing of it was ever started.
    pub rejected: bool,
    /// When termination began, and by when everything must have ended.
    pub terminating: Option<Terminating>,
    /// The object is gone from the API.
    pub gone: bool,
    /// The terminal status has reached the API server.
    pub final_status_sent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminating {
    pub deadline: Moment,
    /// The Killing events were emitted.
    pub announced: bool,
}

impl Progress {
    pub fn container(&self, name: &str) -> Option<&ContainerProgress> {
        self.containers.get(name)
    }

    pub fn container_mut(&mut self, name: &str) -> &mut ContainerProgress {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// The deadline of the termination of `pod`, set once and only ever drawn nearer.
    pub fn begin_termination(&mut self, pod: &Pod, now: Moment) {
        let is_evicted = self.ending.as_ref().is_some_and(|ending| ending.reason == EVICTED);
        let deadline = termination_deadline(pod, self.gone || is_evicted, now);
        let announced = self.terminating.is_some_and(|terminating| terminating.announced);
        let deadline = self.terminating.map_or(deadline, |terminating| terminating.deadline.min(deadline));
        self.terminating = Some(Terminating { deadline, announced });
    }
}

/// Grace counts from the deletion, not from when we heard of it; at least a second is left. `deletionTimestamp` is the
/// end of the grace period cut to a whole second, hence the second on top.
fn termination_deadline(pod: &Pod, at_once: bool, now: Moment) -> Moment {
    let least = now.after_s(1);
    let meta = &pod.metadata;
    let spec_grace = pod.spec.termination_grace_period_seconds.unwrap_or(30);
    match (meta.deletion_timestamp, meta.deletion_grace_period_seconds) {
        (Some(end), _) => {
            let from_deletion = Moment::from_time(end).after_s(1);
            // A clock that differs from the server's must not lengthen the grace.
            from_deletion
                .min(now.after_s(meta.deletion_grace_period_seconds.unwrap_or(spec_grace)))
                .max(least)
        }
        (None, _) if at_once => least,
        (None, _) => now.after_s(spec_grace).max(least),
    }
}
