//! One task per pod: reads what happened, asks the core, performs the actions, feeds the results back.
//!
//! The worker alone owns the pod's state. Long actions run in tasks of their own that end with a message to the worker
//! (`Input`); the queue is bounded, and whoever finds it full waits. Every arm of the select is a channel or a timer, so
//! dropping one loses nothing.

mod actions;
mod probing;
mod storage;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use kedge_api::Pod;
use kedge_api::pod::PodStatus;
use kedge_cri_api::{
    ContainerId, ContainerState, ContainerStatus, Error, PodSandboxConfig, RuntimeEvent, SandboxId,
};
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::observed::{Ending, Failure};
use kedge_kubelet_core::plan::{active_deadline, ends, has_ended, plan};
use kedge_kubelet_core::static_pods::is_static;
use kedge_kubelet_core::status::{self, Inputs, Phase};
use kedge_kubelet_core::volumes::{VolumePlan, references};
use kedge_kubelet_core::{Moment, Observed, Progress, admission};
use tokio::sync::{mpsc, watch};

use crate::agent::Agent;
use crate::events::tell_pod;
use crate::lookup::{ContainerPlace, Entry};
use crate::node::now;
use crate::sources::Held;
use crate::writer::{self, Wanted};
use crate::{logs, start};

pub(crate) use actions::GRACE_MIN_S;
use probing::Probing;
use storage::Storage;
use volumes::Volumes;

/// Messages to one worker that wait; a sender beyond that waits too.
pub(crate) const INPUTS_MAX: usize = 256;

/// What a worker is told.
pub(crate) enum Input {
    Pod(Arc<Pod>),
    /// The object is gone from the API, or another one has taken its name.
    Vanished,
    /// The status could not be written: the object is not there.
    Unwritable,
    /// The mirror of a static pod, as the API has it.
    Mirror(Option<Arc<Pod>>),
    Runtime(RuntimeEvent),
    /// Everything the runtime has of this pod, after events were lost.
    Relist(Observed),
    /// A ConfigMap or Secret that the pod reads has changed.
    SourcesChanged,
    VolumesReady(Result<Vec<VolumePlan>, String>),
    SandboxMade {
        result: Result<SandboxId, String>,
    },
    SandboxStopped {
        id: String,
        result: Result<(), Error>,
    },
    Started {
        container: String,
        outcome: start::Outcome,
    },
    Stopped {
        container: String,
        id: String,
        result: Result<(), Error>,
    },
    Removed {
        id: String,
        result: Result<(), Error>,
    },
    TornDown(Result<(), String>),
    Probed(probing::Done),
    /// What the pod has on the disk.
    Measured(kedge_kubelet_core::eviction::Usage),
    StatusWritten(u64),
    /// True: no such pod is there any more.
    Deleted(Result<bool, kedge_client::Error>),
}

pub(crate) struct Worker {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    /// Of a static pod: where its status goes.
    mirror: Option<Arc<Pod>>,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    observed: Observed,
    progress: Progress,
    /// The status last computed.
    status: Arc<PodStatus>,
    wanted: watch::Sender<Option<Wanted>>,
    sequence: u64,
    messages: BTreeMap<String, String>,
    held: Arc<Held>,
    volumes: Volumes,
    probing: Probing,
    storage: Storage,
    sandbox_config: Option<PodSandboxConfig>,
    ending: watch::Sender<bool>,
    deleting: bool,
}

impl Worker {
    pub fn new(
        agent: Arc<Agent>,
        pod: Arc<Pod>,
        observed: Observed,
        refused: Option<Ending>,
    ) -> (Worker, mpsc::Sender<Input>) {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let wanted = watch::Sender::new(None);
        tokio::spawn(writer::run(Arc::clone(&agent), wanted.subscribe(), sender.clone()));
        let held = Arc::new(agent.sources.hold(&pod, &references(&pod)));
        let mut progress = Progress::default();
        if let Some(refused) = refused {
            tell_pod(&agent.recorder, &pod, Event::warning(refused.reason.clone(), refused.message.clone()));
            let message = admission::rejection_message(&refused);
            progress.ending = Some(Ending { message, ..refused });
            progress.rejected = true;
        }
        let worker = Worker {
            volumes: Volumes::follow(&held, &sender),
            probing: Probing::default(),
            storage: Storage::default(),
            status: Arc::new(pod.status.clone()),
            sequence: 0,
            messages: BTreeMap::new(),
            sandbox_config: None,
            ending: watch::Sender::new(false),
            deleting: false,
            sender: sender.clone(),
            agent,
            pod,
            mirror: None,
            inputs,
            observed,
            progress,
            wanted,
            held,
        };
        (worker, sender)
    }

    /// The pod's life. Ends when nothing of it is left.
    pub async fn run(mut self) {
        self.read_messages();
        while let Some(wake) = self.step() {
            let timer = tokio::time::sleep(wake.since(now()));
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take_all(input).await,
                    // Unreachable while we hold a sender; the dispatcher ends us by dropping the task.
                    None => break,
                },
                () = timer => {}
            }
        }
        let meta = &self.pod.metadata;
        self.agent.table.remove(&meta.namespace, &meta.name, &meta.uid);
        logs::remove_pod(&self.agent, &self.pod);
    }

    /// Takes everything that waits, so that one decision covers it.
    async fn take_all(&mut self, first: Input) {
        let mut next = Some(first);
        while let Some(input) = next {
            self.take(input).await;
            next = self.inputs.try_recv().ok();
        }
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Pod(pod) => self.take_pod(pod),
            Input::Vanished => self.progress.gone = true,
            // A static pod follows its file; its mirror is made again.
            Input::Unwritable => self.progress.gone |= !is_static(&self.pod),
            Input::Mirror(mirror) => self.mirror = mirror,
            Input::Runtime(event) => self.refresh(&event).await,
            Input::Relist(observed) => {
                self.observed = observed;
                self.read_messages();
            }
            Input::SourcesChanged => self.volumes.stale = true,
            Input::VolumesReady(result) => self.volumes_ready(result),
            Input::SandboxMade { result } => self.sandbox_made(result).await,
            Input::SandboxStopped { id, result } => self.sandbox_stopped(&id, result).await,
            Input::Started { container, outcome } => self.started(&container, outcome).await,
            Input::Stopped { container, id, result } => self.stopped(&container, &id, result).await,
            Input::Removed { id, result } => self.removed(&id, result),
            Input::TornDown(result) => self.torn_down(result),
            Input::Probed(done) => self.probed(done),
            Input::Measured(usage) => self.measured(&usage),
            Input::StatusWritten(sequence) if sequence == self.sequence => self.note_stored(),
            Input::StatusWritten(_) => {}
            Input::Deleted(result) => self.deleted(result),
        }
    }

    fn take_pod(&mut self, pod: Arc<Pod>) {
        let changed = pod.metadata.labels != self.pod.metadata.labels
            || pod.metadata.annotations != self.pod.metadata.annotations;
        // The downward API shows labels and annotations.
        self.volumes.stale |= changed;
        if pod.spec != self.pod.spec {
            self.held = Arc::new(self.agent.sources.hold(&pod, &references(&pod)));
            self.volumes.refollow(&self.held, &self.sender);
        }
        self.pod = pod;
    }

    /// Looks at the one thing that changed.
    async fn refresh(&mut self, event: &RuntimeEvent) {
        match &event.container_id {
            Some(id) => self.refresh_container(id).await,
            None => self.refresh_sandbox(&event.sandbox_id).await,
        }
    }

    async fn refresh_container(&mut self, id: &str) {
        let found = self.agent.runtime.container_status(&ContainerId(id.to_owned())).await;
        let mut containers = std::mem::take(&mut self.observed.containers);
        match found {
            Ok(status) => {
                containers.retain(|container| container.id != id);
                containers.push(status);
            }
            Err(Error::NotFound(_)) => containers.retain(|container| container.id != id),
            Err(error) => tracing::warn!(%error, id, "asking for a container's status"),
        }
        self.observed = Observed::new(std::mem::take(&mut self.observed.sandboxes), containers);
        self.read_messages();
    }

    async fn refresh_sandbox(&mut self, id: &str) {
        let found = self.agent.runtime.pod_sandbox_status(&SandboxId(id.to_owned())).await;
        let mut sandboxes = std::mem::take(&mut self.observed.sandboxes);
        match found {
            Ok(status) => {
                sandboxes.retain(|sandbox| sandbox.id != id);
                sandboxes.push(status);
            }
            Err(Error::NotFound(_)) => sandboxes.retain(|sandbox| sandbox.id != id),
            Err(error) => tracing::warn!(%error, id, "asking for a sandbox's status"),
        }
        self.observed = Observed::new(sandboxes, std::mem::take(&mut self.observed.containers));
    }

    /// Termination messages are read once, when a container has ended.
    fn read_messages(&mut self) {
        let pod_folder = self.agent.settings.pod_folder(&self.pod.metadata.uid);
        let spec = &self.pod.spec;
        for status in self.observed.containers.iter().filter(|status| status.state == ContainerState::Exited)
        {
            let all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
            let Some(container) = all.into_iter().find(|container| container.name == status.name) else {
                continue;
            };
            if !self.messages.contains_key(&status.id) {
                let message = logs::termination_message(&pod_folder, container, status);
                let message = if message.is_empty() { status.message.clone() } else { message };
                self.messages.insert(status.id.clone(), message);
            }
        }
        let there = |id: &String| self.observed.containers.iter().any(|container| container.id == *id);
        self.messages.retain(|id, _| there(id));
    }

    /// Status, plan, actions. None when the pod is finished, else when to look again.
    fn step(&mut self) -> Option<Moment> {
        let at = now();
        self.check_deadline(at);
        let phase = self.update_status(at);
        let is_ending = ends(&self.pod, phase, &self.observed, &self.progress);
        if is_ending {
            self.progress.begin_termination(&self.pod, at);
            self.ending.send_replace(true);
        }
        let plan = plan(&self.pod, phase, &self.observed, &self.progress, at);
        for (container, failure) in plan.failures {
            self.note_failure(&container, failure);
        }
        if !plan.waiting.is_empty() {
            tracing::trace!(pod = self.pod.full_name(), waiting = plan.waiting.join("; "), "plan");
        }
        for action in plan.actions {
            self.act(action);
        }
        if plan.finished {
            return None;
        }
        let probe = self.probe(at, is_ending);
        let (volumes, storage) =
            if is_ending { (None, None) } else { (self.keep_volumes(at), self.watch_storage(at)) };
        let idle = at.after_s(3600);
        [plan.wake, probe, volumes, storage].into_iter().flatten().min().or(Some(idle))
    }

    fn check_deadline(&mut self, at: Moment) {
        let ended = self.progress.ending.is_some() || Phase::terminal(&self.status.phase).is_some();
        let mut pod = self.pod.as_ref().clone();
        if ended || pod.spec.active_deadline_seconds.is_none() {
            return;
        }
        pod.status.start_time = self.status.start_time;
        if active_deadline(&pod).is_some_and(|deadline| at >= deadline) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            tell_pod(&self.agent.recorder, &self.pod, Event::normal("DeadlineExceeded", message.clone()));
            self.progress.ending = Some(Ending { reason: "DeadlineExceeded".to_owned(), message });
        }
    }

    /// Computes the status, hands it to the writer if it changed, and returns its phase.
    fn update_status(&mut self, at: Moment) -> Phase {
        let host_ips = self.agent.host_ips();
        let inputs = Inputs {
            old: &self.status,
            observed: &self.observed,
            progress: &self.progress,
            host_ips: &host_ips,
            runtime_name: &self.agent.runtime_name,
            messages: &self.messages,
            recursive_read_only: self.agent.recursive_read_only,
            now: at,
        };
        let phase = status::phase(&self.pod, &inputs);
        let status = status::compute(&self.pod, &inputs);
        if status != *self.status {
            self.status = Arc::new(status);
        }
        if !self.progress.gone {
            self.send_status();
        }
        self.publish_place();
        phase
    }

    /// Hands the status to the writer, unless it has it or the API does.
    fn send_status(&mut self) {
        let last = self.wanted.borrow().clone();
        let of_api = if is_static(&self.pod) { self.mirror.as_ref() } else { Some(&self.pod) };
        let Some(of_api) = of_api.cloned() else { return };
        let is_stored = of_api.status == *self.status;
        let is_news = match &last {
            None => !is_stored,
            // The object came again with another status: somebody else wrote, or our write is still on its way.
            Some(last) => last.status != self.status || (!is_stored && !Arc::ptr_eq(&last.seen, &of_api)),
        };
        if is_news {
            self.sequence += 1;
            self.progress.final_status_sent = false;
            let (status, seen) = (Arc::clone(&self.status), of_api);
            self.wanted.send_replace(Some(Wanted { sequence: self.sequence, status, seen }));
        } else if is_stored {
            self.note_stored();
        }
    }

    fn note_stored(&mut self) {
        let ended = has_ended(&self.observed, &self.progress);
        self.progress.final_status_sent = ended && Phase::terminal(&self.status.phase).is_some();
    }

    /// What the 10250 server may find.
    fn publish_place(&self) {
        let meta = &self.pod.metadata;
        let mut containers: BTreeMap<String, Vec<ContainerPlace>> = BTreeMap::new();
        for status in &self.observed.containers {
            containers.entry(status.name.clone()).or_default().push(self.place_of(status));
        }
        let sandbox = self.observed.ready_sandbox().map(|sandbox| SandboxId(sandbox.id.clone()));
        let entry = Entry { uid: meta.uid.clone(), pod: Arc::clone(&self.pod), sandbox, containers };
        self.agent.table.set(&meta.namespace, &meta.name, entry);
    }

    fn place_of(&self, status: &ContainerStatus) -> ContainerPlace {
        let spec = &self.pod.spec;
        let all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        let container = all.into_iter().find(|container| container.name == status.name);
        ContainerPlace {
            id: ContainerId(status.id.clone()),
            is_running: status.state == ContainerState::Running,
            log_path: status.log_path.clone().into(),
            tty: container.is_some_and(|container| container.tty),
            stdin: container.is_some_and(|container| container.stdin),
        }
    }

    /// A container that has to wait; said once in an event.
    fn note_failure(&mut self, container: &str, failure: Failure) {
        let tell = |event: Event| tell_pod(&self.agent.recorder, &self.pod, event.of(container));
        let pod = kedge_kubelet_core::names::pod_in_messages(&self.pod);
        match failure.reason.as_str() {
            "CrashLoopBackOff" => {
                tell(Event::warning(
                    "BackOff",
                    format!("Back-off restarting failed container {container} in pod {pod}"),
                ));
            }
            "ImagePullBackOff" => {
                let image = failure.message.split(": ErrImagePull").next().unwrap_or_default();
                tell(Event::normal("BackOff", image.to_owned()));
                tell(Event::warning("Failed", "Error: ImagePullBackOff"));
            }
            _ => {}
        }
        self.progress.container_mut(container).failure = Some(failure);
        // The status shows it at once.
        self.update_status(now());
    }
}
