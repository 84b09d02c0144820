//! Scripts: a pod, then one line per event and what is planned after it. `World` obeys every plan at once, as a perfect
//! shell and runtime would; what a script says happens on top.

use std::collections::BTreeMap;
use std::fmt::Write;

use kedge_api::{Pod, Time};
use kedge_cri_api::{ContainerState, ContainerStatus, PodSandboxStatus};

use super::*;
use crate::observed::{ContainerProgress, Ending, Failure, Step, Stopping};
use crate::status::{self, Inputs, Phase};

pub struct World {
    pub pod: Pod,
    pub observed: Observed,
    pub progress: Progress,
    pub now: Moment,
    pub log: String,
    next_id: i64,
    /// Names of containers whose start fails, with reason and message.
    pub broken: BTreeMap<String, (String, String)>,
}

impl World {
    pub fn new(spec: serde_json::Value) -> World {
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1}, "spec": spec}))
        .expect("a pod");
        World {
            pod,
            observed: Observed::default(),
            progress: Progress::default(),
            now: Moment(1_000_000),
            log: String::new(),
            next_id: 0,
            broken: BTreeMap::new(),
        }
    }

    fn inputs<'a>(&'a self, messages: &'a BTreeMap<String, String>) -> Inputs<'a> {
        Inputs {
            old: &self.pod.status,
            observed: &self.observed,
            progress: &self.progress,
            host_ips: &[],
            runtime_name: "kedge",
            messages,
            recursive_read_only: false,
            now: self.now,
        }
    }

    pub fn phase(&self) -> Phase {
        status::phase(&self.pod, &self.inputs(&BTreeMap::new()))
    }

    /// Plans and obeys until nothing more is asked for.
    pub fn settle(&mut self) -> Plan {
        for _ in 0..100 {
            self.pod.status = status::compute(&self.pod, &self.inputs(&BTreeMap::new()));
            if let Some(terminal) = Phase::terminal(&self.pod.status.phase)
                && has_ended(&self.observed, &self.progress)
            {
                self.progress.final_status_sent = terminal.is_terminal();
            }
            let phase = self.phase();
            if ends(&self.pod, phase, &self.observed, &self.progress) {
                self.progress.begin_termination(&self.pod, self.now);
            }
            let plan = plan(&self.pod, phase, &self.observed, &self.progress, self.now);
            for (name, failure) in plan.failures.clone() {
                writeln!(self.log, "  {name}: {} {}", failure.reason, failure.message).expect("a String");
                self.progress.container_mut(&name).failure = Some(failure);
            }
            if plan.actions.is_empty() {
                return plan;
            }
            for action in plan.actions.clone() {
                self.obey(action);
            }
        }
        panic!("the plan never comes to rest:\n{}", self.log);
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::PrepareVolumes => {
                self.say("volumes");
                self.progress.volumes = Step::Done;
            }
            Action::CreateSandbox { attempt } => {
                self.say(&format!("sandbox {attempt}"));
                let id = self.id();
                let sandbox = PodSandboxStatus {
                    id: format!("s{attempt}"),
                    attempt,
                    ready: true,
                    created_at_ns: id,
                    ips: vec!["10.244.0.2".into()],
                    ..PodSandboxStatus::default()
                };
                self.observed.sandboxes.insert(0, sandbox);
                self.progress.sandbox = Step::Done;
            }
            Action::Start { container, attempt, failed_at } => self.start(&container, attempt, failed_at),
            Action::Stop { container, id, grace_s, event } => {
                self.say(&format!(
                    "stop {id} within {grace_s}s{}",
                    event.map(|e| format!(": {e}")).unwrap_or_default()
                ));
                let deadline = self.now.after_s(grace_s);
                self.progress.container_mut(&container).stopping = Some(Stopping { id, deadline });
            }
            Action::AnnounceStops { containers } => {
                self.say(&format!("announce {}", containers.join(" ")));
                let terminating = self.progress.terminating.as_mut().expect("begun");
                terminating.announced = true;
            }
            Action::StopSandbox { id } => {
                self.say(&format!("stop sandbox {id}"));
                self.progress.sandboxes_stopped.insert(id.clone());
                self.observed.sandboxes.iter_mut().filter(|s| s.id == id).for_each(|s| s.ready = false);
            }
            Action::RemoveContainer { id } => {
                self.say(&format!("remove {id}"));
                self.observed.containers.retain(|c| c.id != id);
            }
            Action::RemoveSandbox { id } => {
                self.say(&format!("remove sandbox {id}"));
                self.observed.sandboxes.retain(|s| s.id != id);
            }
            Action::TearDown => {
                self.say("tear down");
                self.progress.torn_down = Step::Done;
            }
            Action::FinishDeletion => {
                self.say("finish deletion");
                self.progress.gone = true;
            }
        }
    }

    fn start(&mut self, container: &str, attempt: u32, failed_at: Option<Moment>) {
        let now = self.now;
        let progress = self.progress.container_mut(container);
        if let Some(failed_at) = failed_at {
            progress.restarts.note(failed_at, now);
        }
        if let Some((reason, message)) = self.broken.get(container).cloned() {
            self.say(&format!("start {container}-{attempt} fails"));
            let progress = self.progress.container_mut(container);
            if reason == "ErrImagePull" {
                progress.pulls.note(now, now);
                progress.pull_failed = Some((now, message.clone()));
            }
            progress.failure = Some(Failure::at(now, reason, message));
            return;
        }
        *self.progress.container_mut(container) =
            ContainerProgress { failure: None, ..self.progress.container_mut(container).clone() };
        self.say(&format!("start {container}-{attempt}"));
        let sandbox_id = self.observed.sandboxes[0].id.clone();
        let created_at_ns = self.id();
        let status = ContainerStatus {
            id: format!("{container}-{attempt}"),
            name: container.into(),
            sandbox_id,
            attempt,
            state: ContainerState::Running,
            created_at_ns,
            started_at_ns: now.0 * 1_000_000,
            ..ContainerStatus::default()
        };
        self.observed.containers.insert(0, status);
    }

    fn say(&mut self, what: &str) {
        writeln!(self.log, "  {what}").expect("a String");
    }

    fn exit(&mut self, name: &str, code: i32) {
        let now = self.now;
        let status = self.observed.containers.iter_mut().find(|c| c.name == name).expect("a container");
        status.state = ContainerState::Exited;
        status.exit_code = code;
        status.finished_at_ns = now.0 * 1_000_000;
    }

    /// One line of a script.
    fn event(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["begin"] => {}
            ["exit", name, code] => self.exit(name, code.parse().expect("a code")),
            ["after", seconds] => {
                let seconds: f64 = seconds.parse().expect("seconds");
                self.now = self.now.after(std::time::Duration::from_secs_f64(seconds));
            }
            ["delete", grace] => {
                let grace: i64 = grace.parse().expect("seconds");
                self.pod.metadata.deletion_timestamp = Some(Time(self.now.0 / 1000 + grace));
                self.pod.metadata.deletion_grace_period_seconds = Some(grace);
            }
            ["delete", grace, "before", ms] => {
                let (grace, ms): (i64, i64) =
                    (grace.parse().expect("seconds"), ms.parse().expect("a number"));
                self.pod.metadata.deletion_timestamp = Some(Time((self.now.0 - ms) / 1000 + grace));
                self.pod.metadata.deletion_grace_period_seconds = Some(grace);
            }
            ["started", name] => {
                let id = self.observed.container(name).expect("a container").id.clone();
                let probes = &mut self.progress.container_mut(name).probes;
                probes.container_id = id;
                probes.started = Some(true);
            }
            ["unhealthy", name] => {
                let id = self.observed.container(name).expect("a container").id.clone();
                let probes = &mut self.progress.container_mut(name).probes;
                probes.container_id = id;
                probes.must_restart = Some(("liveness".to_owned(), None));
            }
            ["sandbox", "dies"] => {
                self.observed.sandboxes[0].ready = false;
                for container in
                    self.observed.containers.iter_mut().filter(|c| c.state == ContainerState::Running)
                {
                    container.state = ContainerState::Exited;
                    container.exit_code = 137;
                    container.finished_at_ns = self.now.0 * 1_000_000;
                }
            }
            ["evict"] => {
                self.progress.ending =
                    Some(Ending { reason: "DeadlineExceeded".into(), message: "late".into() });
            }
            ["reboot"] => {
                self.observed = Observed::default();
                self.progress = Progress::default();
            }
            ["break", name, reason] => {
                self.broken.insert(name.into(), (reason.into(), "words".into()));
            }
            ["mend"] => self.broken.clear(),
            _ => panic!("{line}"),
        }
    }
}

/// Lines that begin in the first column are given; indented ones are what must be seen.
fn check(spec: serde_json::Value, script: &str) {
    let mut world = World::new(spec);
    for line in script.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(' ')) {
        writeln!(world.log, "{line}").expect("a String");
        world.event(line);
        let plan = world.settle();
        let phase = world.phase().as_str();
        let finished = if plan.finished { ", finished" } else { "" };
        let wake =
            plan.wake.map(|at| format!(", wake in {}s", at.since(world.now).as_secs())).unwrap_or_default();
        writeln!(world.log, "  = {phase}{wake}{finished}").expect("a String");
    }
    let expected: String =
        script.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect();
    assert_eq!(world.log, expected, "seen:\n{}", world.log);
}

fn two() -> serde_json::Value {
    serde_json::json!({"containers": [{"name": "a"}, {"name": "b"}], "terminationGracePeriodSeconds": 10})
}

#[test]
fn a_pod_lives_and_is_deleted() {
    check(
        two(),
        "
begin
  volumes
  sandbox 0
  start a-0
  start b-0
  = Running
delete 10
  announce a b
  stop b-0 within 10s
  stop a-0 within 10s
  = Running
exit a 0
  = Running
exit b 0
  stop sandbox s0
  tear down
  remove b-0
  remove a-0
  remove sandbox s0
  finish deletion
  = Succeeded, finished
",
    );
}

#[test]
fn a_crashing_container_is_restarted_with_back_off() {
    check(
        serde_json::json!({"containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start c-0
  = Running
exit c 1
  start c-1
  = Running
exit c 1
  c: CrashLoopBackOff back-off 10s restarting failed container=c pod=p_n(u)
  = Running, wake in 9s
after 9
  = Running, wake in 1s
after 1
  start c-2
  remove c-0
  = Running
exit c 1
  c: CrashLoopBackOff back-off 20s restarting failed container=c pod=p_n(u)
  = Running, wake in 19s
",
    );
}

#[test]
fn policies_of_restart() {
    check(
        serde_json::json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]}),
        "
begin
  volumes
  sandbox 0
  start a-0
  start b-0
  = Running
exit a 0
  = Running
exit b 3
  stop sandbox s0
  tear down
  = Failed
delete 0
  remove b-0
  remove a-0
  remove sandbox s0
  finish deletion
  = Failed, finished
",
    );
    check(
        serde_json::json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]}),
        "
begin
  volumes
  sandbox 0
  start a-0
  = Running
exit a 1
  start a-1
  = Running
exit a 0
  stop sandbox s0
  tear down
  = Succeeded
",
    );
}

#[test]
fn init_containers_run_in_order() {
    let spec = |policy: &str| serde_json::json!({"restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "c"}]});
    check(
        spec("Always"),
        "
begin
  volumes
  sandbox 0
  start i-0
  = Pending
exit i 1
  start i-1
  = Pending
exit i 0
  start j-0
  = Pending
exit j 0
  start c-0
  = Running
",
    );
    check(
        spec("Never"),
        "
begin
  volumes
  sandbox 0
  start i-0
  = Pending
exit i 2
  stop sandbox s0
  tear down
  = Failed
",
    );
}

#[test]
fn sidecars_start_first_and_end_last() {
    let spec = serde_json::json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "initContainers": [
        {"name": "s", "restartPolicy": "Always", "startupProbe": {}}, {"name": "i"}, {"name": "t", "restartPolicy": "Always"}],
        "containers": [{"name": "m"}]});
    check(
        spec,
        "
begin
  volumes
  sandbox 0
  start s-0
  = Pending
started s
  start i-0
  = Pending
exit i 0
  start t-0
  start m-0
  = Running
exit t 1
  start t-1
  = Running
exit m 0
  announce s t
  stop t-1 within 5s
  = Running
exit t 0
  stop s-0 within 5s
  = Running
exit s 0
  stop sandbox s0
  tear down
  = Succeeded
",
    );
}

#[test]
fn a_failed_probe_restarts_the_container() {
    check(
        serde_json::json!({"terminationGracePeriodSeconds": 3, "containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start c-0
  = Running
unhealthy c
  stop c-0 within 3s: Container c failed liveness probe, will be restarted
  = Running
exit c 137
  start c-1
  = Running
",
    );
}

/// `liveness-never-policy`: the kill says what it is, the end of the pod.
#[test]
fn a_failed_probe_ends_a_pod_that_is_never_restarted() {
    let pod = |containers: serde_json::Value| {
        serde_json::json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 3,
        "containers": containers})
    };
    for (containers, message) in [
        (serde_json::json!([{"name": "c"}]), "Stopping container c"),
        (serde_json::json!([{"name": "c"}, {"name": "d"}]), "Container c failed liveness probe"),
    ] {
        let mut world = World::new(pod(containers));
        world.settle();
        let probes = &mut world.progress.container_mut("c").probes;
        probes.container_id = "c-0".to_owned();
        probes.must_restart = Some(("liveness".to_owned(), None));
        world.settle();
        assert!(world.log.contains(&format!("stop c-0 within 3s: {message}\n")), "{}", world.log);
    }
}

#[test]
fn a_dead_sandbox_is_replaced() {
    check(
        two(),
        "
begin
  volumes
  sandbox 0
  start a-0
  start b-0
  = Running
sandbox dies
  stop sandbox s0
  sandbox 1
  start a-1
  start b-1
  = Running
",
    );
}

#[test]
fn after_a_reboot_counts_go_on() {
    check(
        serde_json::json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start i-0
  = Pending
exit i 0
  start c-0
  = Running
reboot
  volumes
  sandbox 0
  start i-1
  = Pending
exit i 0
  start c-1
  = Running
",
    );
}

#[test]
fn failures_of_a_start_are_shown_and_tried_again() {
    check(
        serde_json::json!({"containers": [{"name": "c", "image": "x:1"}]}),
        "
break c ErrImagePull
  volumes
  sandbox 0
  start c-0 fails
  = Pending, wake in 1s
after 1
  c: ImagePullBackOff Back-off pulling image \"x:1\": ErrImagePull: words
  = Pending, wake in 9s
after 9
  start c-0 fails
  = Pending, wake in 1s
mend
  = Pending, wake in 1s
after 20
  start c-0
  = Running
",
    );
    check(
        serde_json::json!({"containers": [{"name": "c"}]}),
        "
break c CreateContainerConfigError
  volumes
  sandbox 0
  start c-0 fails
  = Pending, wake in 5s
mend
  = Pending, wake in 5s
after 5
  start c-0
  = Running
",
    );
}

#[test]
fn a_pod_past_its_deadline_fails() {
    check(
        serde_json::json!({"terminationGracePeriodSeconds": 2, "containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start c-0
  = Running
evict
  announce c
  stop c-0 within 2s
  = Failed
exit c 143
  stop sandbox s0
  tear down
  = Failed
",
    );
}

#[test]
fn a_shorter_grace_stops_again() {
    check(
        serde_json::json!({"containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start c-0
  = Running
delete 30
  announce c
  stop c-0 within 30s
  = Running
delete 2
  stop c-0 within 2s
  = Running
exit c 137
  stop sandbox s0
  tear down
  remove c-0
  remove sandbox s0
  finish deletion
  = Failed, finished
",
    );
}

/// Found by the simulation (seeds 4 and 7): a grace of no whole seconds, and a sidecar whose turn comes after the deadline,
/// were asked for again and again.
#[test]
fn a_stop_is_asked_for_once() {
    let sidecar = serde_json::json!({"name": "s", "restartPolicy": "Always"});
    check(
        serde_json::json!({"initContainers": [sidecar], "containers": [{"name": "c"}]}),
        "
begin
  volumes
  sandbox 0
  start s-0
  start c-0
  = Running
after 0.25
  = Running
delete 6 before 1500
  announce s c
  stop c-0 within 5s
  = Running
after 10
  = Running
exit c 0
  stop s-0 within 0s
  = Running
after 1
  = Running
",
    );
}
