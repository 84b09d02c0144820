//! The phase of a pod, counted from its container statuses.

use kedge_api::Pod;
use kedge_api::pod::{Container, ContainerStatus, PodStatus};

use crate::plan::{ShouldRestart, should_restart};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        }
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, Phase::Succeeded | Phase::Failed)
    }

    /// A terminal phase by name; the others are computed anew.
    pub fn terminal(name: &str) -> Option<Phase> {
        match name {
            "Succeeded" => Some(Phase::Succeeded),
            "Failed" => Some(Phase::Failed),
            _ => None,
        }
    }
}

/// How one container counts.
enum Seen {
    Unknown,
    Waiting,
    Running {
        started: bool,
    },
    /// It ended, and may wait for its restart.
    Ended {
        code: i32,
        waits: bool,
    },
}

fn seen(statuses: &[ContainerStatus], name: &str) -> Seen {
    let Some(status) = statuses.iter().find(|status| status.name == name) else {
        return Seen::Unknown;
    };
    if status.state.running.is_some() {
        return Seen::Running { started: status.started == Some(true) };
    }
    if let Some(ended) = &status.state.terminated {
        return Seen::Ended { code: ended.exit_code, waits: false };
    }
    match &status.last_state.terminated {
        Some(ended) => Seen::Ended { code: ended.exit_code, waits: true },
        None => Seen::Waiting,
    }
}

#[derive(Default)]
struct Counts {
    init_pending: bool,
    init_failed: bool,
    sidecar_pending: bool,
    unknown: bool,
    waiting: bool,
    running: bool,
    stopped: usize,
    succeeded: usize,
    final_: usize,
}

/// `last`: the pod is terminating and nothing of it runs any more, so restarts will not happen.
pub(super) fn of(pod: &Pod, status: &PodStatus, last: bool) -> Phase {
    let counts = count(pod, status);
    let initialized = status.container_statuses.iter().any(|container| {
        container.state.running.is_some()
            || container.state.terminated.is_some()
            || container.last_state.terminated.is_some()
    });
    if counts.init_failed {
        return Phase::Failed;
    }
    if counts.init_pending || (counts.sidecar_pending && !initialized) || counts.waiting {
        return Phase::Pending;
    }
    if counts.unknown {
        return Phase::Pending;
    }
    if counts.running {
        return Phase::Running;
    }
    if counts.stopped == 0 {
        return Phase::Pending;
    }
    if !last && counts.final_ < counts.stopped {
        return Phase::Running;
    }
    if counts.succeeded == counts.stopped { Phase::Succeeded } else { Phase::Failed }
}

fn count(pod: &Pod, status: &PodStatus) -> Counts {
    let mut counts = Counts::default();
    for container in &pod.spec.init_containers {
        let seen = seen(&status.init_container_statuses, &container.name);
        if container.is_sidecar() {
            count_sidecar(&mut counts, &seen);
        } else {
            count_init(&mut counts, pod, container, &seen);
        }
    }
    for container in &pod.spec.containers {
        match seen(&status.container_statuses, &container.name) {
            Seen::Unknown => counts.unknown = true,
            Seen::Waiting => counts.waiting = true,
            Seen::Running { .. } => counts.running = true,
            Seen::Ended { code, waits } => {
                counts.stopped += 1;
                counts.succeeded += usize::from(code == 0 && !waits);
                counts.final_ += usize::from(should_restart(&pod.spec, container, code) == ShouldRestart::No);
            }
        }
    }
    counts
}

fn count_init(counts: &mut Counts, pod: &Pod, container: &Container, seen: &Seen) {
    match seen {
        Seen::Unknown | Seen::Waiting | Seen::Running { .. } => counts.init_pending = true,
        Seen::Ended { code: 0, .. } => {}
        Seen::Ended { code, .. } => {
            counts.init_failed |= should_restart(&pod.spec, container, *code) == ShouldRestart::No;
        }
    }
}

/// A sidecar that ended does not count: it is restarted whatever happens.
fn count_sidecar(counts: &mut Counts, seen: &Seen) {
    match seen {
        Seen::Unknown => {
            counts.sidecar_pending = true;
            counts.unknown = true;
        }
        Seen::Waiting => {
            counts.sidecar_pending = true;
            counts.waiting = true;
        }
        Seen::Running { started } => {
            counts.sidecar_pending |= !started;
            counts.running = true;
        }
        Seen::Ended { .. } => {}
    }
}
