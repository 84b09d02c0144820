//! Hands pods and runtime events to the workers, and starts and buries these.
//!
//! Task: one. Channels: the pod cache's subscription, the set of static pods and the runtime's events in, one queue per
//! worker out.

use std::collections::BTreeMap;
use std::sync::Arc;

use kedge_api::Node;
use kedge_api::pod::{Container, Pod};
use kedge_api::resource::NODES;
use kedge_client::{Cache, WatchOptions};
use kedge_cri_api::{ContainerStatus, PodSandboxStatus, RuntimeEvent};
use kedge_kubelet_core::Observed;
use kedge_kubelet_core::admission::{self, KernelFeatures};
use kedge_kubelet_core::observed::Ending;
use kedge_kubelet_core::static_pods::mirrored;
use kedge_machinery::Change;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

use crate::agent::Agent;
use crate::disk;
use crate::mirrors::{self, Mirrors};
use crate::static_pods::{self, StaticPod};
use crate::worker::{Input, Worker};

struct Dispatcher {
    agent: Arc<Agent>,
    cache: Arc<Cache<Pod>>,
    /// By uid.
    workers: BTreeMap<String, Handle>,
    tasks: JoinSet<()>,
    features: KernelFeatures,
    /// By uid.
    statics: BTreeMap<String, Arc<StaticPod>>,
    mirrors: Mirrors,
}

struct Handle {
    sender: mpsc::Sender<Input>,
    pod: Arc<Pod>,
    task: Id,
    refused: bool,
}

pub(crate) async fn run(agent: Arc<Agent>) {
    // Admission needs the node's labels and capacity.
    let mut node = agent.node.subscribe();
    if node.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let options = WatchOptions {
        field_selector: format!("spec.nodeName={}", agent.config.node_name),
        ..WatchOptions::default()
    };
    let cache = Cache::start(agent.client.clone(), options);
    let mut events = agent.runtime.events();
    let mut changes = cache.subscribe();
    cache.synced().await;
    let app_armor = std::path::Path::new("/sys/kernel/security/apparmor/profiles").exists();
    let (found, mut set) = watch::channel(static_pods::Set::default());
    let (first, _) = static_pods::read(&static_pods::folder(&agent), &agent.config.node_name);
    let mut files = JoinSet::new();
    files.spawn(static_pods::follow(Arc::clone(&agent), found));
    let mut dispatcher = Dispatcher {
        mirrors: Mirrors::new(Arc::clone(&agent)),
        statics: BTreeMap::new(),
        agent,
        cache,
        workers: BTreeMap::new(),
        tasks: JoinSet::new(),
        features: KernelFeatures { app_armor },
    };
    dispatcher.adopt(first).await;
    loop {
        tokio::select! {
            Ok(()) = set.changed() => {
                let set = Arc::clone(&set.borrow_and_update());
                dispatcher.take_statics(&set).await;
            }
            Some(Ok((key, went_well))) = dispatcher.mirrors.tasks.join_next() => {
                dispatcher.mirrors.ended(key, went_well);
                dispatcher.keep_mirrors();
            }
            changes = changes.changes() => {
                for change in changes {
                    dispatcher.changed(change).await;
                }
            }
            event = events.recv() => match event {
                Ok(event) => dispatcher.runtime(event).await,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "runtime events were missed; listing");
                    dispatcher.relist().await;
                }
                Err(RecvError::Closed) => {
                    tracing::error!("the runtime's events have ended");
                    return;
                }
            },
            Some(ended) = dispatcher.tasks.join_next_with_id() => dispatcher.buried(ended).await,
        }
    }
}

impl Dispatcher {
    /// Pods that an earlier we started, and what is left of pods that are gone.
    async fn adopt(&mut self, statics: Vec<Arc<StaticPod>>) {
        let mut found = self.list().await;
        let of_api = self.cache.list().into_iter().filter(|pod| mirrored(pod).is_none());
        for pod in of_api.chain(statics.iter().map(|found| Arc::clone(&found.pod))) {
            let observed = found.remove(&pod.metadata.uid).unwrap_or_default();
            self.begin(pod, observed).await;
        }
        self.statics = statics.into_iter().map(|found| (found.pod.metadata.uid.clone(), found)).collect();
        self.keep_mirrors();
        for mirror in self.cache.list() {
            if let Some(uid) = mirrored(&mirror).map(str::to_owned) {
                self.tell(&uid, Input::Mirror(Some(mirror))).await;
            }
        }
        for (uid, observed) in found {
            tracing::info!(uid, "a pod that is gone from the API is ended");
            let pod = Arc::new(orphan(&uid, &observed));
            self.begin(pod, observed).await;
            self.tell(&uid, Input::Vanished).await;
        }
        self.remove_old_folders();
    }

    /// Folders of pods that neither the API nor the runtime knows.
    fn remove_old_folders(&self) {
        let pods = self.agent.settings.kubelet.join("pods");
        for entry in std::fs::read_dir(pods).into_iter().flatten().flatten() {
            let uid = entry.file_name().to_string_lossy().into_owned();
            if !self.workers.contains_key(&uid)
                && let Err(error) = disk::tear_down(&entry.path())
            {
                tracing::warn!(%error, uid, "volumes of a pod that is gone are not removed");
            }
        }
    }

    /// Everything of the runtime, by pod uid.
    async fn list(&self) -> BTreeMap<String, Observed> {
        let runtime = &self.agent.runtime;
        let (sandboxes, containers) = loop {
            match (runtime.list_pod_sandboxes().await, runtime.list_containers().await) {
                (Ok(sandboxes), Ok(containers)) => break (sandboxes, containers),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::warn!(%error, "listing what the runtime has");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        };
        let mut parts: BTreeMap<String, (Vec<PodSandboxStatus>, Vec<ContainerStatus>)> = BTreeMap::new();
        let uids: BTreeMap<String, String> =
            sandboxes.iter().map(|s| (s.id.clone(), s.uid.clone())).collect();
        for sandbox in sandboxes {
            parts.entry(sandbox.uid.clone()).or_default().0.push(sandbox);
        }
        for container in containers {
            if let Some(uid) = uids.get(&container.sandbox_id) {
                parts.entry(uid.clone()).or_default().1.push(container);
            }
        }
        parts
            .into_iter()
            .map(|(uid, (sandboxes, containers))| (uid, Observed::new(sandboxes, containers)))
            .collect()
    }

    async fn relist(&mut self) {
        let mut found = self.list().await;
        let uids: Vec<String> = self.workers.keys().cloned().collect();
        for uid in uids {
            let observed = found.remove(&uid).unwrap_or_default();
            self.tell(&uid, Input::Relist(observed)).await;
        }
    }

    /// Begins what is new in the folder, and ends what is not there any more.
    async fn take_statics(&mut self, set: &[Arc<StaticPod>]) {
        let wanted: BTreeMap<String, Arc<StaticPod>> =
            set.iter().map(|found| (found.pod.metadata.uid.clone(), Arc::clone(found))).collect();
        let gone: Vec<String> =
            self.statics.keys().filter(|uid| !wanted.contains_key(*uid)).cloned().collect();
        for uid in gone {
            self.statics.remove(&uid);
            self.tell(&uid, Input::Vanished).await;
        }
        for (uid, found) in wanted {
            if !self.statics.contains_key(&uid) && !self.workers.contains_key(&uid) {
                self.begin(Arc::clone(&found.pod), Observed::default()).await;
            }
            self.statics.entry(uid).or_insert(found);
        }
        self.keep_mirrors();
    }

    fn keep_mirrors(&mut self) {
        let workers = &self.workers;
        self.mirrors.keep(&self.statics, &self.cache, |uid| workers.contains_key(uid));
    }

    /// A mirror pod is where a static pod's status goes; the pod itself follows its file.
    async fn mirror_changed(&mut self, change: Change<Pod>) {
        let uid = |pod: &Arc<Pod>| mirrored(pod).map(str::to_owned);
        let (old, new) = (change.old.as_ref().and_then(uid), change.new.as_ref().and_then(uid));
        if let Some(pod) = change.new.as_ref().or(change.old.as_ref()) {
            self.mirrors.note(&mirrors::key(pod));
        }
        if let Some(old) = old.filter(|old| new.as_ref() != Some(old)) {
            self.tell(&old, Input::Mirror(None)).await;
        }
        if let Some(new) = new {
            self.tell(&new, Input::Mirror(change.new)).await;
        }
        self.keep_mirrors();
    }

    async fn changed(&mut self, change: Change<Pod>) {
        if change.old.iter().chain(&change.new).any(|pod| mirrored(pod).is_some()) {
            return self.mirror_changed(change).await;
        }
        let old_uid = change.old.as_ref().map(|pod| pod.metadata.uid.clone());
        let new_uid = change.new.as_ref().map(|pod| pod.metadata.uid.clone());
        if let Some(old_uid) = old_uid.filter(|old| new_uid.as_ref() != Some(old)) {
            // The last look at the object tells how long its grace was.
            self.tell(&old_uid, Input::Vanished).await;
        }
        let Some(pod) = change.new else { return };
        match self.workers.get_mut(&pod.metadata.uid) {
            Some(handle) => {
                handle.pod = Arc::clone(&pod);
                let uid = pod.metadata.uid.clone();
                self.tell(&uid, Input::Pod(pod)).await;
            }
            None => self.begin(pod, Observed::default()).await,
        }
    }

    async fn runtime(&mut self, event: RuntimeEvent) {
        let uid = event.pod_uid.clone();
        self.tell(&uid, Input::Runtime(event)).await;
    }

    async fn tell(&self, uid: &str, input: Input) {
        if let Some(handle) = self.workers.get(uid) {
            // A worker that has just ended is buried in a moment.
            let _ = handle.sender.send(input).await;
        }
    }

    async fn begin(&mut self, pod: Arc<Pod>, observed: Observed) {
        let refused = if observed.sandboxes.is_empty() { self.admit(&pod).await } else { None };
        let is_refused = refused.is_some();
        let (worker, sender) = Worker::new(Arc::clone(&self.agent), Arc::clone(&pod), observed, refused);
        let task = self.tasks.spawn(worker.run()).id();
        let uid = pod.metadata.uid.clone();
        self.workers.insert(uid, Handle { sender, pod, task, refused: is_refused });
    }

    /// Only of pods that nothing was begun of.
    async fn admit(&self, pod: &Pod) -> Option<Ending> {
        let begun =
            pod.status.start_time.is_some() || pod.is_terminal() || pod.metadata.deletion_timestamp.is_some();
        if begun {
            return None;
        }
        let node = self.agent.node.borrow().clone()?;
        let others: Vec<Arc<Pod>> =
            self.workers.values().filter(|h| !h.refused).map(|h| Arc::clone(&h.pod)).collect();
        let others: Vec<&Pod> = others.iter().map(AsRef::as_ref).filter(|pod| !pod.is_terminal()).collect();
        let refused = admission::admit(pod, &node, &others, self.features).err()?;
        if refused.reason != admission::NODE_AFFINITY {
            return Some(refused);
        }
        // The scheduler may have seen a label of the node before our watch told us.
        match self.agent.client.get::<Node>(NODES, "", &node.metadata.name).await {
            Ok(node) => admission::admit(pod, &node, &others, self.features).err(),
            Err(error) => {
                tracing::debug!(%error, pod = pod.full_name(), "the node cannot be read again");
                Some(refused)
            }
        }
    }

    /// A worker that ended by itself is done; one that panicked begins again with what the runtime has.
    async fn buried(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(uid) = self.workers.iter().find(|(_, handle)| handle.task == id).map(|(uid, _)| uid.clone())
        else {
            return;
        };
        let Some(handle) = self.workers.remove(&uid) else {
            return;
        };
        if panicked {
            tracing::error!(pod = handle.pod.full_name(), "a pod's worker panicked; it begins again");
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let observed = self.list().await.remove(&uid).unwrap_or_default();
            self.begin(handle.pod, observed).await;
        } else {
            self.end_of_static(&uid).await;
        }
    }

    /// A manifest that came back while its pod was ending, and the mirror of one that has ended.
    async fn end_of_static(&mut self, uid: &str) {
        if let Some(found) = self.statics.get(uid) {
            let pod = Arc::clone(&found.pod);
            self.begin(pod, Observed::default()).await;
        }
        self.keep_mirrors();
    }
}

/// As much of a pod as can be told from what runs of it: enough to end it.
fn orphan(uid: &str, observed: &Observed) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.uid = uid.to_owned();
    if let Some(sandbox) = observed.sandboxes.first() {
        pod.metadata.name.clone_from(&sandbox.name);
        pod.metadata.namespace.clone_from(&sandbox.namespace);
    }
    let mut names: Vec<&str> = observed.containers.iter().map(|container| container.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    pod.spec.containers =
        names.into_iter().map(|name| Container { name: name.to_owned(), ..Container::default() }).collect();
    pod
}
