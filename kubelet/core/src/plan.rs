//! The next actions of a pod, as data.
//!
//! ```text
//!            ┌ volumes → sandbox → init containers, sidecars → containers ┐
//!   pod ─────┤                                                            ├─→ end: stop containers, then sidecars
//!            └ deleted, past its deadline, refused, or all done ──────────┘    in reverse, sandbox, volumes, (delete)
//! ```
//! A plan asks only for what is not under way, so it may be computed at every event and applied twice harmlessly. Starts
//! are serial within a pod, as upstream's are: the start of a container includes its image and its postStart hook.

mod end;
mod restart;
mod run;

pub use restart::{ShouldRestart, should_restart};

use kedge_api::Pod;

use crate::observed::Failure;
use crate::status::Phase;
use crate::{Moment, Observed, Progress};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    PrepareVolumes,
    CreateSandbox {
        attempt: u32,
    },
    /// Image, create, start, postStart.
    Start {
        container: String,
        attempt: u32,
        failed_at: Option<Moment>,
    },
    /// preStop inside the grace period, the stop signal, SIGKILL at its end.
    Stop {
        container: String,
        id: String,
        grace_s: i64,
        event: Option<String>,
    },
    /// The Killing events of a termination, in the order of the spec.
    AnnounceStops {
        containers: Vec<String>,
    },
    StopSandbox {
        id: String,
    },
    RemoveContainer {
        id: String,
    },
    RemoveSandbox {
        id: String,
    },
    /// Unmounts and removes the pod's folders.
    TearDown,
    /// DELETE with a grace period of 0: the object goes.
    FinishDeletion,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// What a container that cannot be started for the moment shows in its status.
    pub failures: Vec<(String, Failure)>,
    /// What the pod waits for, in words for `kedge why pod`.
    pub waiting: Vec<String>,
    /// When to plan again although nothing happened.
    pub wake: Option<Moment>,
    /// Nothing is left to do for this pod, ever.
    pub finished: bool,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wait(&mut self, why: impl Into<String>) {
        self.waiting.push(why.into());
    }

    fn wait_until(&mut self, at: Moment, why: impl Into<String>) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        self.wait(why);
    }
}

/// What is to be done for `pod` next. `phase` is the one its status shows for `observed`.
pub fn plan(pod: &Pod, phase: Phase, observed: &Observed, progress: &Progress, now: Moment) -> Plan {
    let mut plan = Plan::default();
    if ends(pod, phase, observed, progress) {
        end::plan(pod, observed, progress, now, &mut plan);
    } else {
        run::plan(pod, observed, progress, now, &mut plan);
    }
    plan
}

/// True once the pod is on its way out. The worker then calls [`Progress::begin_termination`] before it plans.
pub fn ends(pod: &Pod, phase: Phase, observed: &Observed, progress: &Progress) -> bool {
    let asked = pod.metadata.deletion_timestamp.is_some() || progress.gone || progress.ending.is_some();
    asked || phase.is_terminal() || run::all_through(pod, observed, progress)
}

/// Everything has ended that was to end: the status that follows is the last one.
pub fn has_ended(observed: &Observed, progress: &Progress) -> bool {
    let starting = progress.containers.values().any(|container| container.starting);
    let sandboxes_stopped =
        observed.sandboxes.iter().all(|sandbox| progress.sandboxes_stopped.contains(&sandbox.id));
    !starting && sandboxes_stopped && observed.running().next().is_none()
}

/// When `activeDeadlineSeconds` ends the pod.
pub fn active_deadline(pod: &Pod) -> Option<Moment> {
    let start = pod.status.start_time?;
    Some(Moment::from_time(start).after_s(pod.spec.active_deadline_seconds?))
}

#[cfg(test)]
pub(crate) mod tests;
