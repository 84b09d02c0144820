//! The probes of the pod's running containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kedge_api::pod::Container;
use kedge_cri_api::{ContainerId, ContainerState, ContainerStatus};
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::probe::{Kind, Machine, Outcome};

use super::{Input, Worker};
use crate::events::tell_pod;
use crate::node::now;
use crate::prober::{self, Target};

/// A probe that has run.
pub(crate) struct Done {
    container: String,
    container_id: String,
    kind: Kind,
    outcome: Outcome,
}

#[derive(Default)]
pub(super) struct Probing {
    /// (container id, kind) → machine.
    machines: BTreeMap<(String, Kind), Machine>,
}

impl Worker {
    /// Runs what is due. Returns when the next probe is.
    pub(super) fn probe(&mut self, at: Moment, is_ending: bool) -> Option<Moment> {
        let pod = Arc::clone(&self.pod);
        let mut next = None;
        let mut live = Vec::new();
        let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
        for container in pod.spec.containers.iter().chain(sidecars) {
            let Some(status) = self.observed.container(&container.name).cloned() else {
                continue;
            };
            // A start ends with the postStart hook.
            let starting = self.progress.container(&container.name).is_some_and(|c| c.starting);
            if status.state != ContainerState::Running || starting {
                continue;
            }
            live.push(status.id.clone());
            for kind in Kind::ALL {
                // A container that is on its way out is not restarted any more; readiness still tells the endpoints.
                if is_ending && kind != Kind::Readiness {
                    continue;
                }
                let due = self.probe_one(container, &status, kind, at);
                next = [next, due].into_iter().flatten().min();
            }
        }
        self.probing.machines.retain(|(id, _), _| live.contains(id));
        next
    }

    fn probe_one(
        &mut self,
        container: &Container,
        status: &ContainerStatus,
        kind: Kind,
        at: Moment,
    ) -> Option<Moment> {
        let probe = kind.of(container)?;
        let started = self.has_started(container, status);
        let jitter = self.jitter(status, probe.period_seconds);
        let key = (status.id.clone(), kind);
        let machine = self.probing.machines.entry(key).or_insert_with(|| {
            Machine::new(kind, probe, Moment::from_nanos(status.started_at_ns), at, jitter)
        });
        let due = machine.due(started)?;
        if due > at {
            return Some(due);
        }
        machine.begin();
        let (probe, timeout) = (machine.probe().clone(), machine.timeout());
        let target = Target {
            container: container.clone(),
            container_id: ContainerId(status.id.clone()),
            pod_ip: self.pod_ips().first().cloned().unwrap_or_default(),
        };
        let (runtime, sender) = (Arc::clone(&self.agent.runtime), self.sender.clone());
        let (name, container_id) = (container.name.clone(), status.id.clone());
        tokio::spawn(async move {
            let outcome = prober::run(&probe, &target, timeout, runtime.as_ref()).await;
            // A worker that has ended needs no answer.
            let _ = sender.send(Input::Probed(Done { container: name, container_id, kind, outcome })).await;
        });
        None
    }

    fn has_started(&self, container: &Container, status: &ContainerStatus) -> bool {
        if container.startup_probe.is_none() {
            return true;
        }
        let all = self.status.container_statuses.iter().chain(&self.status.init_container_statuses);
        let shown = all.into_iter().find(|shown| shown.container_id.ends_with(&status.id));
        shown.is_some_and(|shown| shown.started == Some(true))
    }

    /// After our own start all pods would be probed in the same instant: spread the first round over the period.
    fn jitter(&self, status: &ContainerStatus, period_seconds: i32) -> Duration {
        let period = Duration::from_secs(u64::try_from(period_seconds.max(1)).unwrap_or(1));
        let started_before_us =
            Moment::from_nanos(status.started_at_ns).after(self.agent.started.elapsed()) < now();
        if !started_before_us || self.agent.started.elapsed() > period {
            return Duration::ZERO;
        }
        let hash =
            status.id.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        period.mul_f64((hash % 1000) as f64 / 1000.0)
    }

    pub(super) fn probed(&mut self, done: Done) {
        let key = (done.container_id.clone(), done.kind);
        let Some(machine) = self.probing.machines.get_mut(&key) else {
            return;
        };
        let finding = machine.finish(&done.outcome, now());
        let leaving = *self.ending.borrow()
            || self.progress.container(&done.container).is_some_and(|container| container.stopping.is_some());
        // A probe that a stop cuts short says nothing about the container.
        let cut_short = leaving && matches!(done.outcome, Outcome::Unknown(_));
        if let Some(message) = finding.event.filter(|_| !cut_short) {
            let event = Event::warning("Unhealthy", message).of(&done.container);
            tell_pod(&self.agent.recorder, &self.pod, event);
        }
        let Some(good) = finding.result else { return };
        let kill = (machine.title(), machine.probe().termination_grace_period_seconds);
        let probes = &mut self.progress.container_mut(&done.container).probes;
        if probes.container_id != done.container_id {
            *probes = kedge_kubelet_core::observed::ProbeResults {
                container_id: done.container_id,
                ..Default::default()
            };
        }
        match (done.kind, good) {
            (Kind::Startup, true) => probes.started = Some(true),
            (Kind::Readiness, good) => probes.ready = Some(good),
            (Kind::Startup | Kind::Liveness, false) => probes.must_restart = Some(kill),
            (Kind::Liveness, true) => {}
        }
    }
}
