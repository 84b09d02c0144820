//! Container statuses: what the runtime has, what the API knew, and why a container is not started.

use kedge_api::Time;
use kedge_api::pod::{
    Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus as ApiStatus, ContainerUser, LinuxContainerUser, Pod, PodStatus,
    VolumeMountStatus,
};
use kedge_cri_api::{ContainerState, ContainerStatus};

use super::Inputs;
use crate::plan::{ShouldRestart, should_restart};
use crate::{Moment, termination};

const LOST_AT_END: &str = "The container could not be located when the pod was terminated";
const LOST: &str =
    "The container could not be located when the pod was deleted.  The container used to be Running";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Init,
    Regular,
    Ephemeral,
}

pub(super) fn fill(pod: &Pod, inputs: &Inputs<'_>, status: &mut PodStatus) {
    let one = |kind: Kind, container: &Container, old: &[ApiStatus]| {
        let old = old.iter().find(|status| status.name == container.name);
        of_container(pod, container, kind, old, inputs)
    };
    let spec = &pod.spec;
    let old = inputs.old;
    status.init_container_statuses =
        spec.init_containers.iter().map(|c| one(Kind::Init, c, &old.init_container_statuses)).collect();
    status.container_statuses =
        spec.containers.iter().map(|c| one(Kind::Regular, c, &old.container_statuses)).collect();
    status.ephemeral_container_statuses = spec
        .ephemeral_containers
        .iter()
        .map(|c| one(Kind::Ephemeral, c, &old.ephemeral_container_statuses))
        .collect();
    status.container_statuses.sort_by(|a, b| a.name.cmp(&b.name));
    status.ephemeral_container_statuses.sort_by(|a, b| a.name.cmp(&b.name));
}

/// The containers of the last status: their order in the runtime's memory does not matter any more.
pub(super) fn keep(old: &PodStatus, status: &mut PodStatus) {
    status.init_container_statuses.clone_from(&old.init_container_statuses);
    status.container_statuses.clone_from(&old.container_statuses);
    status.ephemeral_container_statuses.clone_from(&old.ephemeral_container_statuses);
}

fn of_container(
    pod: &Pod,
    container: &Container,
    kind: Kind,
    old: Option<&ApiStatus>,
    inputs: &Inputs<'_>,
) -> ApiStatus {
    let progress = inputs.progress;
    let ends = pod.metadata.deletion_timestamp.is_some() || progress.gone || progress.ending.is_some();
    let starting = progress.container(&container.name).is_some_and(|progress| progress.starting);
    if let Some(old) = old.filter(|old| starting && !ends && old.state.running.is_none()) {
        // A start includes the postStart hook: until it is through the container is not running.
        return old.clone();
    }
    let mut seen = inputs.observed.of_name(&container.name);
    let mut status = match seen.next() {
        Some(newest) => {
            let mut status = from_runtime(pod, container, newest, old, inputs);
            match seen.next() {
                Some(previous) => status.last_state = state(pod, previous, inputs),
                None => keep_last_state(&mut status, newest, old),
            }
            status
        }
        None => not_in_runtime(pod, container, kind, old, inputs),
    };
    show_failure(pod, container, &mut status, inputs);
    if kind == Kind::Ephemeral {
        status.started = None;
    }
    status.volume_mounts = volume_mounts(container, inputs.recursive_read_only);
    status
}

/// The runtime has only the newest: the one before it is what the API showed last.
fn keep_last_state(status: &mut ApiStatus, newest: &ContainerStatus, old: Option<&ApiStatus>) {
    let Some(old) = old else { return };
    let same = old.container_id.ends_with(&newest.id);
    match (&old.state.terminated, same) {
        (Some(_), false) => status.last_state = old.state.clone(),
        // A waiting state has moved the end of this very container into lastState.
        _ if old.last_state.terminated.as_ref().is_some_and(|t| t.container_id.ends_with(&newest.id)) => {}
        _ => status.last_state = old.last_state.clone(),
    }
}

fn from_runtime(
    pod: &Pod,
    container: &Container,
    newest: &ContainerStatus,
    old: Option<&ApiStatus>,
    inputs: &Inputs<'_>,
) -> ApiStatus {
    let running = newest.state == ContainerState::Running;
    let started = running && is_started(container, newest, old, inputs);
    let is_init =
        pod.spec.init_containers.iter().any(|c| c.name == container.name) && !container.is_sidecar();
    let completed = newest.state == ContainerState::Exited && newest.exit_code == 0;
    ApiStatus {
        name: container.name.clone(),
        image: if newest.image.is_empty() { container.image.clone() } else { newest.image.clone() },
        image_id: newest.image_ref.clone(),
        container_id: format!("{}://{}", inputs.runtime_name, newest.id),
        restart_count: i32::try_from(newest.attempt).unwrap_or(i32::MAX),
        state: state(pod, newest, inputs),
        started: Some(started),
        ready: if is_init { completed } else { started && is_ready(container, newest, old, inputs) },
        allocated_resources: container.resources.requests.clone(),
        resources: Some(Box::new(container.resources.clone())),
        user: newest.user.as_ref().map(|(uid, gid, groups)| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: i64::from(*uid),
                gid: i64::from(*gid),
                supplemental_groups: groups.iter().map(|group| i64::from(*group)).collect(),
            }),
        }),
        ..ApiStatus::default()
    }
}

fn is_started(
    container: &Container,
    newest: &ContainerStatus,
    old: Option<&ApiStatus>,
    inputs: &Inputs<'_>,
) -> bool {
    if container.startup_probe.is_none() {
        return true;
    }
    let probes = inputs.progress.container(&container.name).map(|progress| &progress.probes);
    let result = probes.filter(|probes| probes.container_id == newest.id).and_then(|probes| probes.started);
    // After our own restart: what the API shows of this container holds until a probe says otherwise.
    result.unwrap_or_else(|| {
        old.is_some_and(|old| old.container_id.ends_with(&newest.id) && old.started == Some(true))
    })
}

fn is_ready(
    container: &Container,
    newest: &ContainerStatus,
    old: Option<&ApiStatus>,
    inputs: &Inputs<'_>,
) -> bool {
    if container.readiness_probe.is_none() {
        return true;
    }
    let probes = inputs.progress.container(&container.name).map(|progress| &progress.probes);
    let result = probes.filter(|probes| probes.container_id == newest.id).and_then(|probes| probes.ready);
    result.unwrap_or_else(|| old.is_some_and(|old| old.container_id.ends_with(&newest.id) && old.ready))
}

fn state(pod: &Pod, status: &ContainerStatus, inputs: &Inputs<'_>) -> ApiState {
    let time = |nanos: i64| Some(Moment::from_nanos(nanos).to_time());
    match status.state {
        ContainerState::Created => waiting("ContainerCreating", ""),
        ContainerState::Running => ApiState {
            running: Some(Box::new(ContainerStateRunning { started_at: time(status.started_at_ns) })),
            ..ApiState::default()
        },
        ContainerState::Exited | ContainerState::Unknown => {
            let message = inputs.messages.get(&status.id).map_or(status.message.as_str(), String::as_str);
            terminated(ContainerStateTerminated {
                exit_code: status.exit_code,
                signal: 0,
                reason: reason(status),
                message: termination::truncate(message, containers_of(pod)),
                started_at: time(status.started_at_ns),
                finished_at: time(status.finished_at_ns),
                container_id: format!("{}://{}", inputs.runtime_name, status.id),
            })
        }
    }
}

fn reason(status: &ContainerStatus) -> String {
    match (status.reason.as_str(), status.exit_code) {
        ("", 0) => "Completed".to_owned(),
        ("", _) => "Error".to_owned(),
        (reason, _) => reason.to_owned(),
    }
}

fn containers_of(pod: &Pod) -> usize {
    pod.spec.init_containers.len() + pod.spec.containers.len() + pod.spec.ephemeral_containers.len()
}

fn waiting(reason: &str, message: &str) -> ApiState {
    let waiting = ContainerStateWaiting { reason: reason.to_owned(), message: message.to_owned() };
    ApiState { waiting: Some(Box::new(waiting)), ..ApiState::default() }
}

fn terminated(end: ContainerStateTerminated) -> ApiState {
    ApiState { terminated: Some(Box::new(end)), ..ApiState::default() }
}

fn lost(message: &str) -> ApiState {
    terminated(ContainerStateTerminated {
        exit_code: 137,
        reason: "ContainerStatusUnknown".to_owned(),
        message: message.to_owned(),
        ..ContainerStateTerminated::default()
    })
}

/// Never started, or gone with a reboot.
fn not_in_runtime(
    pod: &Pod,
    container: &Container,
    kind: Kind,
    old: Option<&ApiStatus>,
    inputs: &Inputs<'_>,
) -> ApiStatus {
    let default_reason = if pod.spec.init_containers.is_empty() || kind == Kind::Ephemeral {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    let mut status = ApiStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        state: waiting(default_reason, ""),
        started: Some(false),
        ..ApiStatus::default()
    };
    let Some(old) = old else { return status };
    if old.state.terminated.is_some() {
        return ApiStatus { ready: old.ready && kind == Kind::Init, ..old.clone() };
    }
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone();
    if !old.container_id.is_empty() {
        if old.state.running.is_some() {
            status.last_state = lost(LOST);
        }
        status.restart_count += i32::from(pod.metadata.deletion_timestamp.is_none());
    }
    let others_ran = pod.spec.containers.iter().any(|c| inputs.observed.container(&c.name).is_some());
    if kind == Kind::Init && !container.is_sidecar() && others_ran {
        status.ready = true;
        status.state = terminated(ContainerStateTerminated {
            reason: "Completed".to_owned(),
            message: "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally".to_owned(),
            started_at: Some(Time(0)),
            finished_at: Some(Time(0)),
            ..ContainerStateTerminated::default()
        });
    }
    status
}

/// A container that should be started, and why it is not.
fn show_failure(pod: &Pod, container: &Container, status: &mut ApiStatus, inputs: &Inputs<'_>) {
    let progress = inputs.progress;
    let asked = pod.metadata.deletion_timestamp.is_some() || progress.gone || progress.ending.is_some();
    let Some(failure) = progress.container(&container.name).and_then(|c| c.failure.as_ref()) else {
        return;
    };
    if asked || status.state.running.is_some() || inputs.now < failure.shown_from {
        return;
    }
    if let Some(end) = &status.state.terminated {
        if should_restart(&pod.spec, container, end.exit_code) == ShouldRestart::No {
            return;
        }
        status.last_state = status.state.clone();
    }
    status.state = waiting(&failure.reason, &failure.message);
}

fn volume_mounts(container: &Container, recursive_read_only: bool) -> Vec<VolumeMountStatus> {
    let mode = |mount: &kedge_api::pod::VolumeMount| match mount.recursive_read_only.as_deref() {
        Some("Enabled") => "Enabled",
        Some("IfPossible") if recursive_read_only => "Enabled",
        _ => "Disabled",
    };
    let of = |mount: &kedge_api::pod::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.then(|| mode(mount).to_owned()),
    };
    container.volume_mounts.iter().map(of).collect()
}

/// At the end of a pod every container that should have an end has one; what cannot be told is called so.
pub(super) fn name_the_lost(pod: &Pod, status: &mut PodStatus) {
    let initialized = is_initialized(pod, status);
    if initialized {
        for container in status.container_statuses.iter_mut().filter(|c| c.state.terminated.is_none()) {
            container.state = lost(LOST_AT_END);
        }
    }
    let inits = &mut status.init_container_statuses;
    let begun = inits.iter().rposition(|c| c.state.waiting.is_none() || c.last_state.terminated.is_some());
    let through = begun.map_or(1, |last| last + 1).min(inits.len());
    for container in inits[..through].iter_mut().filter(|c| c.state.terminated.is_none()) {
        container.state = lost(LOST_AT_END);
    }
}

fn is_initialized(pod: &Pod, status: &PodStatus) -> bool {
    let moved = |c: &ApiStatus| c.last_state.terminated.is_some() || c.state.waiting.is_none();
    let Some(last) = pod.spec.init_containers.last() else {
        return true;
    };
    if status.container_statuses.iter().any(moved) {
        return true;
    }
    let Some(last_status) = status.init_container_statuses.last() else {
        return false;
    };
    let succeeded = |state: &ApiState| state.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    if last.is_sidecar() {
        last_status.state.running.is_some() && last_status.started == Some(true)
    } else {
        succeeded(&last_status.state) || succeeded(&last_status.last_state)
    }
}
