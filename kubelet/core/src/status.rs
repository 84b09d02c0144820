//! The status of a pod, as upstream's kubelet writes it: phase, conditions, container statuses, addresses.

mod conditions;
mod containers;
mod phase;

pub use phase::Phase;

use std::collections::BTreeMap;

use kedge_api::Quantity;
use kedge_api::pod::{Pod, PodIp, PodStatus, ResourceList, ResourceRequirements};
use kedge_cri_api::NamespaceMode;

use crate::plan::has_ended;
use crate::{Moment, Observed, Progress, resources};

/// What a status is made of besides the pod.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The status last written (or read from the API at start).
    pub old: &'a PodStatus,
    pub observed: &'a Observed,
    pub progress: &'a Progress,
    pub host_ips: &'a [String],
    /// `kedge`: the scheme of container ids.
    pub runtime_name: &'a str,
    /// Container id → termination message, where one was read.
    pub messages: &'a BTreeMap<String, String>,
    pub recursive_read_only: bool,
    pub now: Moment,
}

/// The whole status; fields of others (nominatedNodeName, foreign conditions) are carried over.
pub fn compute(pod: &Pod, inputs: &Inputs<'_>) -> PodStatus {
    let mut status = PodStatus {
        observed_generation: pod.metadata.generation,
        nominated_node_name: pod.status.nominated_node_name.clone(),
        qos_class: resources::qos_class(&pod.spec).as_str().to_owned(),
        start_time: inputs.old.start_time.or(Some(inputs.now.to_time())),
        reason: inputs.old.reason.clone(),
        message: inputs.old.message.clone(),
        ..PodStatus::default()
    };
    if let Some(ending) = &inputs.progress.ending {
        status.reason = ending.reason.clone();
        status.message = ending.message.clone();
    }
    if inputs.progress.rejected {
        // Nothing was ever started: phase, reason and message say it all.
        Phase::Failed.as_str().clone_into(&mut status.phase);
        return status;
    }
    let ended = has_ended(inputs.observed, inputs.progress);
    let is_final = ended && says_all(inputs.old);
    containers::fill(pod, inputs, &mut status);
    let counted = phase_of(pod, &status, inputs);
    addresses(pod, inputs, &mut status);
    pod_resources(pod, &mut status);
    let asked = is_asked(pod, inputs.progress) || inputs.progress.ending.is_some();
    if is_final {
        containers::keep(inputs.old, &mut status);
    } else if asked && ended {
        containers::name_the_lost(pod, &mut status);
    }
    let sandbox_ready = inputs.observed.ready_sandbox().is_some();
    let seen = conditions::Seen { old: inputs.old, phase: counted, is_final, sandbox_ready };
    status.conditions = conditions::all(pod, &status, &seen, inputs.now);
    tell_phase(pod, counted, inputs, &mut status);
    status
}

/// A terminal phase is told when nothing runs any more: whoever reads it may take the pod's place.
fn tell_phase(pod: &Pod, counted: Phase, inputs: &Inputs<'_>, status: &mut PodStatus) {
    let old = inputs.old;
    let ended = has_ended(inputs.observed, inputs.progress);
    let last = is_asked(pod, inputs.progress) && ended;
    let is_failed = inputs.progress.ending.is_some() || (last && !counted.is_terminal());
    let phase = if is_failed { Phase::Failed } else { counted };
    if phase.is_terminal() && !ended && Phase::terminal(&old.phase).is_none() {
        status.phase = if old.phase.is_empty() { Phase::Pending.as_str().into() } else { old.phase.clone() };
        status.reason.clone_from(&old.reason);
        status.message.clone_from(&old.message);
        return;
    }
    phase.as_str().clone_into(&mut status.phase);
}

fn is_asked(pod: &Pod, progress: &Progress) -> bool {
    pod.metadata.deletion_timestamp.is_some() || progress.gone
}

/// A status with a terminal phase and the end of every container: what the runtime forgets afterwards changes nothing.
fn says_all(old: &PodStatus) -> bool {
    let mut statuses = old.container_statuses.iter().chain(&old.init_container_statuses);
    Phase::terminal(&old.phase).is_some() && statuses.all(|status| status.state.running.is_none())
}

/// As the containers count: a pod that was asked to end with containers that never ran is Failed in the end, yet its
/// conditions tell of the pod that waited.
fn phase_of(pod: &Pod, status: &PodStatus, inputs: &Inputs<'_>) -> Phase {
    if let Some(terminal) = Phase::terminal(&inputs.old.phase).or(Phase::terminal(&pod.status.phase)) {
        return terminal;
    }
    let ended = has_ended(inputs.observed, inputs.progress);
    if inputs.progress.ending.is_some() && ended {
        return Phase::Failed;
    }
    phase::of(pod, status, is_asked(pod, inputs.progress) && ended)
}

/// The phase that decides about the next plan: of a pod that ends it is terminal before its status says so.
pub fn phase(pod: &Pod, inputs: &Inputs<'_>) -> Phase {
    let mut status = PodStatus::default();
    containers::fill(pod, inputs, &mut status);
    if inputs.progress.ending.is_some() {
        return Phase::Failed;
    }
    match phase_of(pod, &status, inputs) {
        Phase::Pending | Phase::Running
            if is_asked(pod, inputs.progress) && has_ended(inputs.observed, inputs.progress) =>
        {
            Phase::Failed
        }
        phase => phase,
    }
}

fn addresses(pod: &Pod, inputs: &Inputs<'_>, status: &mut PodStatus) {
    let listed = |ips: &[String]| ips.iter().map(|ip| PodIp { ip: ip.clone() }).collect::<Vec<_>>();
    status.host_ip = inputs.host_ips.first().cloned().unwrap_or_default();
    status.host_ips = listed(inputs.host_ips);
    let sandbox = inputs.observed.sandboxes.first();
    let seen = sandbox.map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let ips = if pod.spec.host_network || sandbox.is_some_and(|s| s.network == NamespaceMode::Node) {
        inputs.host_ips.to_vec()
    } else if seen.is_empty() {
        // A stopped sandbox has no address any more; the pod keeps the one it had.
        inputs.old.pod_ips.iter().map(|ip| ip.ip.clone()).collect()
    } else {
        seen
    };
    // A pod shows its address with its first container, not before.
    let shown = pod.spec.host_network
        || !inputs.observed.containers.is_empty()
        || !inputs.old.pod_ip.is_empty()
        || inputs.progress.containers.values().any(|container| container.failure.is_some());
    if shown {
        status.pod_ip = ips.first().cloned().unwrap_or_default();
        status.pod_ips = listed(&ips);
    }
}

/// `status.resources` and `status.allocatedResources` of the pod: sums over its containers.
fn pod_resources(pod: &Pod, status: &mut PodStatus) {
    let mut total = ResourceRequirements::default();
    match pod.spec.resources.as_deref() {
        Some(of_pod) => total.clone_from(of_pod),
        None => {
            let started = long_running(pod);
            add_all(&mut total.requests, started.iter().map(|r| &r.requests));
            add_all(&mut total.limits, started.iter().map(|r| &r.limits));
        }
    }
    status.allocated_resources = total.requests.clone();
    status.resources = Some(Box::new(total));
}

fn long_running(pod: &Pod) -> Vec<&ResourceRequirements> {
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    pod.spec.containers.iter().chain(sidecars).map(|container| &container.resources).collect()
}

fn add_all<'a>(total: &mut ResourceList, lists: impl Iterator<Item = &'a ResourceList>) {
    for (name, text) in lists.flatten() {
        let Ok(more) = text.parse::<Quantity>() else {
            continue;
        };
        let sum = match total.get(name).and_then(|text| text.parse::<Quantity>().ok()) {
            Some(sum) => (sum + more).to_string(),
            None => text.clone(),
        };
        total.insert(name.clone(), sum);
    }
}

#[cfg(test)]
mod tests;
