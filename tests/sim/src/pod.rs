//! The pod plan under a hostile node: actions take their time and fail, containers exit when they like, events come late or
//! never, sandboxes die, the node agent crashes and forgets, the machine reboots. Whatever happens, promises hold:
//!
//! - no two containers of one name run at once, and none is started while its predecessor in the init order is due;
//! - nothing is started for a pod that ends;
//! - a plan never asks for what is under way;
//! - once the trouble stops, a wanted pod runs and a deleted one leaves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use kedge_api::{Pod, Time};
use kedge_cri_api::{ContainerState, ContainerStatus, PodSandboxStatus};
use kedge_kubelet_core::observed::{Failure, Step, Stopping};
use kedge_kubelet_core::plan::{Action, Plan, ends, has_ended, plan};
use kedge_kubelet_core::status::{self, Inputs, Phase};
use kedge_kubelet_core::{Moment, Observed, Progress};

use crate::random::Random;

/// Virtual milliseconds between two looks of the simulation.
const TICK_MS: i64 = 250;
const TROUBLE_TICKS: u32 = 400;
/// Back-off reaches five minutes, so the calm must be longer.
const CALM_TICKS: u32 = 4_000;

/// What the runtime really has, which the worker sees only when an event arrives.
#[derive(Default)]
struct Runtime {
    sandboxes: Vec<PodSandboxStatus>,
    containers: Vec<ContainerStatus>,
    made: i64,
}

/// An action on its way.
struct Flight {
    action: Action,
    done_at: Moment,
    fails: bool,
}

struct World {
    random: Random,
    pod: Pod,
    now: Moment,
    runtime: Runtime,
    observed: Observed,
    progress: Progress,
    flights: Vec<Flight>,
    is_calm: bool,
    finished: bool,
    trace: Vec<String>,
}

/// Runs one seed; the error is the story that led to a broken promise.
pub fn run(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    let outcome = world.live();
    outcome.map_err(|what| {
        let from = world.trace.len().saturating_sub(60);
        format!("seed {seed}: {what}\n{}", world.trace[from..].join("\n"))
    })
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let pod = pod(&mut random);
        World {
            pod,
            now: Moment(1_000_000),
            runtime: Runtime::default(),
            observed: Observed::default(),
            progress: Progress::default(),
            flights: Vec::new(),
            is_calm: false,
            finished: false,
            trace: Vec::new(),
            random,
        }
    }

    fn say(&mut self, what: String) {
        self.trace.push(format!("{:>9} {what}", self.now.0));
    }

    fn live(&mut self) -> Result<(), String> {
        let delete_at = self.random.below(u64::from(TROUBLE_TICKS) * 2);
        for tick in 0..TROUBLE_TICKS + CALM_TICKS {
            self.now = self.now.after(Duration::from_millis(TICK_MS.unsigned_abs()));
            self.is_calm = tick >= TROUBLE_TICKS;
            if u64::from(tick) == delete_at {
                self.delete();
            }
            if !self.is_calm {
                self.trouble();
            }
            self.land();
            self.deliver();
            self.decide()?;
            if self.finished {
                break;
            }
        }
        self.judge_end()
    }

    fn delete(&mut self) {
        let grace = i64::try_from(self.random.below(10)).expect("small");
        self.say(format!("delete within {grace}s"));
        self.pod.metadata.deletion_timestamp = Some(Time(self.now.0 / 1000 + grace));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
    }

    fn trouble(&mut self) {
        match self.random.below(200) {
            0 => {
                self.say("the agent crashes".to_owned());
                self.progress = Progress::default();
                // What was asked of the runtime still happens; nobody hears of it.
                self.flights.clear();
                self.relist();
            }
            1 => {
                self.say("reboot".to_owned());
                self.runtime = Runtime { made: self.runtime.made, ..Runtime::default() };
                self.progress = Progress::default();
                self.flights.clear();
                self.relist();
            }
            2 => self.kill_sandbox(),
            3..=20 => self.exit_one(),
            _ => {}
        }
    }

    fn kill_sandbox(&mut self) {
        let Some(sandbox) = self.runtime.sandboxes.iter_mut().find(|sandbox| sandbox.ready) else {
            return;
        };
        sandbox.ready = false;
        let id = sandbox.id.clone();
        self.say(format!("sandbox {id} dies"));
        let now_ns = self.now.0 * 1_000_000;
        for container in self.runtime.containers.iter_mut().filter(|c| c.sandbox_id == id) {
            end(container, 137, now_ns);
        }
    }

    fn exit_one(&mut self) {
        let running: Vec<usize> = (0..self.runtime.containers.len())
            .filter(|index| self.runtime.containers[*index].state == ContainerState::Running)
            .collect();
        if running.is_empty() {
            return;
        }
        let index = running[self.random.index(running.len())];
        let code = i32::from(self.random.below(2) == 0);
        let now_ns = self.now.0 * 1_000_000;
        end(&mut self.runtime.containers[index], code, now_ns);
        let id = self.runtime.containers[index].id.clone();
        self.say(format!("{id} exits with {code}"));
    }

    /// In calm every ordinary init container comes to its end, as a real one would.
    fn finish_inits(&mut self) {
        let now_ns = self.now.0 * 1_000_000;
        let inits: Vec<String> = self
            .pod
            .spec
            .init_containers
            .iter()
            .filter(|c| !c.is_sidecar())
            .map(|c| c.name.clone())
            .collect();
        for container in self.runtime.containers.iter_mut().filter(|c| inits.contains(&c.name)) {
            if container.state == ContainerState::Running {
                end(container, 0, now_ns);
            }
        }
    }

    fn relist(&mut self) {
        self.observed = Observed::new(self.runtime.sandboxes.clone(), self.runtime.containers.clone());
    }

    /// Events arrive, some of them late.
    fn deliver(&mut self) {
        if self.is_calm {
            self.finish_inits();
        }
        if self.is_calm || self.random.below(3) > 0 {
            self.relist();
        }
    }

    fn land(&mut self) {
        let now = self.now;
        let (landed, flying): (Vec<Flight>, Vec<Flight>) =
            std::mem::take(&mut self.flights).into_iter().partition(|flight| flight.done_at <= now);
        self.flights = flying;
        for flight in landed {
            self.finish(flight);
        }
    }

    fn decide(&mut self) -> Result<(), String> {
        // The worker plans until it has nothing to do; more rounds than actions exist would be a circle.
        for _ in 0..20 {
            let phase = self.update_status();
            let is_ending = ends(&self.pod, phase, &self.observed, &self.progress);
            if is_ending {
                self.progress.begin_termination(&self.pod, self.now);
            }
            let plan = plan(&self.pod, phase, &self.observed, &self.progress, self.now);
            self.judge(&plan, is_ending)?;
            for (name, failure) in &plan.failures {
                self.progress.container_mut(name).failure = Some(failure.clone());
            }
            self.finished = plan.finished;
            if plan.actions.is_empty() {
                return Ok(());
            }
            for action in plan.actions {
                self.begin(action);
            }
        }
        Err("the plan goes in a circle".to_owned())
    }

    fn update_status(&mut self) -> Phase {
        let messages = BTreeMap::new();
        let inputs = Inputs {
            old: &self.pod.status,
            observed: &self.observed,
            progress: &self.progress,
            host_ips: &[],
            runtime_name: "sim",
            messages: &messages,
            recursive_read_only: false,
            now: self.now,
        };
        let status = status::compute(&self.pod, &inputs);
        let phase = status::phase(&self.pod, &inputs);
        self.pod.status = status;
        self.progress.final_status_sent = phase.is_terminal() && has_ended(&self.observed, &self.progress);
        phase
    }

    fn judge(&mut self, plan: &Plan, is_ending: bool) -> Result<(), String> {
        for action in &plan.actions {
            let under_way = self.flights.iter().any(|flight| flight.action == *action);
            if under_way {
                return Err(format!("{action:?} is asked for twice"));
            }
            if is_ending && matches!(action, Action::Start { .. } | Action::CreateSandbox { .. }) {
                return Err(format!("{action:?} for a pod that ends"));
            }
        }
        let starts = plan.actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
        if starts > 1 {
            return Err("two starts at once".to_owned());
        }
        Ok(())
    }

    fn begin(&mut self, action: Action) {
        self.say(format!("{action:?}"));
        match &action {
            Action::PrepareVolumes => self.progress.volumes = Step::Running,
            Action::CreateSandbox { .. } => self.progress.sandbox = Step::Running,
            Action::TearDown => self.progress.torn_down = Step::Running,
            Action::Start { container, failed_at, .. } => {
                let now = self.now;
                let progress = self.progress.container_mut(container);
                if let Some(failed_at) = failed_at {
                    progress.restarts.note(*failed_at, now);
                }
                progress.starting = true;
            }
            Action::Stop { container, id, grace_s, .. } => {
                let deadline = self.now.after_s(*grace_s);
                self.progress.container_mut(container).stopping = Some(Stopping { id: id.clone(), deadline });
            }
            Action::AnnounceStops { .. } => {
                if let Some(terminating) = &mut self.progress.terminating {
                    terminating.announced = true;
                }
                return;
            }
            Action::StopSandbox { id } | Action::RemoveContainer { id } | Action::RemoveSandbox { id } => {
                self.progress.busy.insert(id.clone());
            }
            Action::FinishDeletion => {
                self.progress.gone = true;
                return;
            }
        }
        let takes_ms = i64::try_from(self.random.below(3_000)).expect("small");
        let fails = !self.is_calm && self.random.below(8) == 0;
        self.flights.push(Flight { action, done_at: Moment(self.now.0 + takes_ms), fails });
    }

    fn finish(&mut self, flight: Flight) {
        let retry_at = self.now.after_s(2);
        let step = |fails: bool| match fails {
            true => Step::Failed { message: "trouble".to_owned(), retry_at },
            false => Step::Done,
        };
        let fails = flight.fails;
        match flight.action {
            Action::PrepareVolumes => self.progress.volumes = step(fails),
            Action::TearDown => self.progress.torn_down = step(fails),
            Action::CreateSandbox { attempt } => {
                self.progress.sandbox = step(fails);
                if !fails {
                    self.make_sandbox(attempt);
                }
            }
            Action::Start { container, attempt, .. } => self.start(&container, attempt, fails),
            Action::Stop { container, id, .. } => {
                let now_ns = self.now.0 * 1_000_000;
                self.runtime.containers.iter_mut().filter(|c| c.id == id).for_each(|c| end(c, 137, now_ns));
                let progress = self.progress.container_mut(&container);
                if progress.stopping.as_ref().is_some_and(|stopping| stopping.id == id) {
                    progress.stopping = None;
                }
                self.relist();
            }
            Action::StopSandbox { id } => {
                self.progress.busy.remove(&id);
                if !fails {
                    self.runtime.sandboxes.iter_mut().filter(|s| s.id == id).for_each(|s| s.ready = false);
                    self.progress.sandboxes_stopped.insert(id);
                }
                self.relist();
            }
            Action::RemoveContainer { id } | Action::RemoveSandbox { id } => {
                self.progress.busy.remove(&id);
                if !fails {
                    self.runtime.containers.retain(|c| c.id != id && c.sandbox_id != id);
                    self.runtime.sandboxes.retain(|s| s.id != id);
                }
                self.relist();
            }
            Action::AnnounceStops { .. } | Action::FinishDeletion => {}
        }
    }

    fn make_sandbox(&mut self, attempt: u32) {
        self.runtime.made += 1;
        self.runtime.sandboxes.push(PodSandboxStatus {
            id: format!("s{}", self.runtime.made),
            attempt,
            ready: true,
            created_at_ns: self.runtime.made,
            ips: vec!["10.244.0.2".to_owned()],
            ..PodSandboxStatus::default()
        });
        self.relist();
    }

    fn start(&mut self, name: &str, attempt: u32, fails: bool) {
        let now = self.now;
        let failure = Failure::at(now, "CreateContainerError", "trouble");
        let progress = self.progress.container_mut(name);
        progress.starting = false;
        progress.failure = fails.then_some(failure);
        // A sandbox that died meanwhile takes no container.
        let Some(sandbox) = self.runtime.sandboxes.iter().find(|sandbox| sandbox.ready) else {
            return;
        };
        if fails {
            return;
        }
        let sandbox_id = sandbox.id.clone();
        let twin =
            self.runtime.containers.iter().any(|c| c.name == name && c.state == ContainerState::Running);
        assert!(!twin, "two {name} run at once\n{}", self.trace.join("\n"));
        self.runtime.made += 1;
        self.runtime.containers.push(ContainerStatus {
            id: format!("{name}-{attempt}-{}", self.runtime.made),
            name: name.to_owned(),
            sandbox_id,
            attempt,
            state: ContainerState::Running,
            created_at_ns: self.runtime.made,
            started_at_ns: now.0 * 1_000_000,
            ..ContainerStatus::default()
        });
        self.relist();
    }

    fn judge_end(&mut self) -> Result<(), String> {
        if self.pod.metadata.deletion_timestamp.is_some() {
            let nothing = self.runtime.sandboxes.is_empty() && self.runtime.containers.is_empty();
            return match (self.finished, nothing) {
                (true, true) => Ok(()),
                (false, _) => Err("a deleted pod is never finished".to_owned()),
                (true, false) => Err("a finished pod left something".to_owned()),
            };
        }
        if Phase::terminal(&self.pod.status.phase).is_some() {
            let running = self.runtime.containers.iter().any(|c| c.state == ContainerState::Running);
            return if running { Err("a pod that has ended still runs".to_owned()) } else { Ok(()) };
        }
        let missing = self.pod.spec.containers.iter().find(|container| {
            !self
                .runtime
                .containers
                .iter()
                .any(|c| c.name == container.name && c.state != ContainerState::Created)
        });
        match missing {
            Some(container) => Err(format!("{} was never started", container.name)),
            None => Ok(()),
        }
    }
}

fn end(container: &mut ContainerStatus, code: i32, now_ns: i64) {
    if container.state == ContainerState::Running {
        container.state = ContainerState::Exited;
        container.exit_code = code;
        container.finished_at_ns = now_ns;
    }
}

/// A pod of one to three containers, with up to three init containers, some of them sidecars.
fn pod(random: &mut Random) -> Pod {
    let containers: Vec<_> =
        (0..1 + random.below(3)).map(|n| serde_json::json!({"name": format!("c{n}")})).collect();
    let init: Vec<_> = (0..random.below(4))
        .map(|n| match random.below(2) {
            0 => serde_json::json!({"name": format!("i{n}")}),
            _ => serde_json::json!({"name": format!("s{n}"), "restartPolicy": "Always"}),
        })
        .collect();
    let policy = ["Always", "OnFailure", "Never"][random.index(3)];
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1},
        "spec": {"restartPolicy": policy, "initContainers": init, "containers": containers}}))
    .expect("a pod")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_hundred_pods_in_trouble() {
        for seed in 0..500 {
            if let Err(story) = run(seed) {
                panic!("{story}");
            }
        }
    }
}
