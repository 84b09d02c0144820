//! The conditions that the kubelet owns, in the order upstream writes them.

use kedge_api::Condition;
use kedge_api::pod::{ContainerStatus, Pod, PodStatus};

use super::Phase;
use crate::Moment;

const OWNED: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Status, reason and message of one condition.
struct Verdict {
    ok: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn plain(ok: bool) -> Verdict {
        Verdict { ok, reason: "", message: String::new() }
    }
}

/// What conditions are made of besides pod and container statuses.
pub(super) struct Seen<'a> {
    pub old: &'a PodStatus,
    pub phase: Phase,
    /// The old status was the last one: what it said of the containers stays said.
    pub is_final: bool,
    pub sandbox_ready: bool,
}

pub(super) fn all(pod: &Pod, status: &PodStatus, seen: &Seen<'_>, now: Moment) -> Vec<Condition> {
    let Seen { old, phase, .. } = *seen;
    let foreign =
        pod.status.conditions.iter().filter(|condition| !OWNED.contains(&condition.r#type.as_str()));
    let mut conditions: Vec<Condition> = foreign.cloned().collect();
    let ready = containers_ready(pod, status, phase);
    let pod_ready = pod_ready(pod, &conditions, &ready);
    let verdicts = [
        ("PodReadyToStartContainers", Verdict::plain(seen.sandbox_ready)),
        ("Initialized", initialized(pod, status, phase)),
        ("Ready", pod_ready),
        ("ContainersReady", ready),
        ("PodScheduled", Verdict::plain(true)),
    ];
    for (name, verdict) in verdicts {
        let kept = seen.is_final && name != "PodReadyToStartContainers";
        match old.condition(name).filter(|_| kept) {
            Some(old) => {
                conditions.push(Condition { observed_generation: pod.metadata.generation, ..old.clone() })
            }
            None => conditions.push(condition(name, verdict, pod, old, now)),
        }
    }
    conditions
}

fn condition(name: &str, verdict: Verdict, pod: &Pod, old: &PodStatus, now: Moment) -> Condition {
    let status = if verdict.ok { "True" } else { "False" };
    let since =
        old.condition(name).filter(|old| old.status == status).and_then(|old| old.last_transition_time);
    Condition {
        r#type: name.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
        observed_generation: pod.metadata.generation,
        last_transition_time: Some(since.unwrap_or(now.to_time())),
        ..Condition::default()
    }
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

/// `[a b]`, as Go prints a list of strings.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn containers_ready(pod: &Pod, status: &PodStatus, phase: Phase) -> Verdict {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    let sidecars =
        sidecars.map(|container| (container, find(&status.init_container_statuses, &container.name)));
    let containers = pod.spec.containers.iter();
    let containers =
        containers.map(|container| (container, find(&status.container_statuses, &container.name)));
    let mut unready = Vec::new();
    for (container, status) in sidecars.chain(containers) {
        if !status.is_some_and(|status| status.ready) {
            unready.push(container.name.as_str());
        }
    }
    match phase {
        Phase::Succeeded => {
            return Verdict { ok: false, reason: "PodCompleted", message: String::new() };
        }
        Phase::Failed => {
            return Verdict { ok: false, reason: "PodFailed", message: String::new() };
        }
        Phase::Pending | Phase::Running => {}
    }
    if unready.is_empty() {
        return Verdict::plain(true);
    }
    let message = format!("containers with unready status: {}", listed(&unready));
    Verdict { ok: false, reason: "ContainersNotReady", message }
}

fn pod_ready(pod: &Pod, foreign: &[Condition], containers: &Verdict) -> Verdict {
    if !containers.ok {
        return Verdict { ok: false, reason: containers.reason, message: containers.message.clone() };
    }
    let mut missing = Vec::new();
    for gate in &pod.spec.readiness_gates {
        let name = &gate.condition_type;
        match foreign.iter().find(|condition| condition.r#type == *name) {
            None => missing
                .push(format!("corresponding condition of pod readiness gate \"{name}\" does not exist.")),
            Some(condition) if !condition.is_true() => missing.push(format!(
                "the status of pod readiness gate \"{name}\" is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Verdict::plain(true);
    }
    Verdict { ok: false, reason: "ReadinessGatesNotReady", message: missing.join(", ") }
}

fn initialized(pod: &Pod, status: &PodStatus, phase: Phase) -> Verdict {
    if phase == Phase::Succeeded {
        return Verdict { ok: true, reason: "PodCompleted", message: String::new() };
    }
    let started = |container: &ContainerStatus| {
        container.started == Some(true)
            || container.state.terminated.is_some()
            || container.last_state.terminated.is_some()
    };
    if status.container_statuses.iter().any(started) {
        return Verdict::plain(true);
    }
    let mut incomplete = Vec::new();
    for container in &pod.spec.init_containers {
        let done = find(&status.init_container_statuses, &container.name).is_some_and(|status| {
            if container.is_sidecar() { status.started == Some(true) } else { status.ready }
        });
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if incomplete.is_empty() {
        return Verdict::plain(true);
    }
    let message = format!("containers with incomplete status: {}", listed(&incomplete));
    Verdict { ok: false, reason: "ContainersNotInitialized", message }
}
