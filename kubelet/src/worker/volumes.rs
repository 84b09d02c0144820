//! The pod's volumes: set up before anything starts, and kept up to date while it runs.

use std::sync::Arc;
use std::time::Duration;

use kedge_api::Pod;
use kedge_client::{Cache, CachedKind};
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::observed::Step;
use kedge_kubelet_core::volumes::{Inputs, VolumePlan, plan_volume};
use kedge_machinery::Backoff;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Input, Worker};
use crate::agent::Agent;
use crate::disk;
use crate::events::tell_pod;
use crate::node::now;
use crate::sources::Held;
use crate::tokens::PodTokens;

pub(super) struct Volumes {
    pub plans: Arc<Vec<VolumePlan>>,
    /// Something that the files are made of has changed.
    pub stale: bool,
    updating: bool,
    tokens: Arc<Mutex<PodTokens>>,
    renew_at: Option<Moment>,
    backoff: Backoff,
    /// Ends with us: tasks that forward changes of ConfigMaps and Secrets.
    followers: JoinSet<()>,
}

impl Volumes {
    pub fn follow(held: &Arc<Held>, sender: &mpsc::Sender<Input>) -> Volumes {
        let mut volumes = Volumes {
            plans: Arc::default(),
            stale: false,
            updating: false,
            tokens: Arc::default(),
            renew_at: None,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            followers: JoinSet::new(),
        };
        volumes.refollow(held, sender);
        volumes
    }

    pub fn refollow(&mut self, held: &Arc<Held>, sender: &mpsc::Sender<Input>) {
        self.followers = JoinSet::new();
        for cache in held.config_maps.values() {
            self.followers.spawn(forward(Arc::clone(cache), sender.clone()));
        }
        for cache in held.secrets.values() {
            self.followers.spawn(forward(Arc::clone(cache), sender.clone()));
        }
    }
}

async fn forward<T: CachedKind>(cache: Arc<Cache<T>>, sender: mpsc::Sender<Input>) {
    let mut subscription = cache.subscribe();
    loop {
        subscription.changes().await;
        if sender.send(Input::SourcesChanged).await.is_err() {
            return;
        }
    }
}

impl Worker {
    pub(super) fn prepare_volumes(&mut self) {
        self.progress.volumes = Step::Running;
        self.volumes.stale = false;
        self.volumes.updating = true;
        let (agent, pod, held) = (Arc::clone(&self.agent), Arc::clone(&self.pod), Arc::clone(&self.held));
        let tokens = Arc::clone(&self.volumes.tokens);
        let pod_ips = self.pod_ips();
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let result = set_up_all(&agent, &pod, &held, &tokens, pod_ips).await;
            // A worker that has ended needs no answer.
            let _ = sender.send(Input::VolumesReady(result)).await;
        });
    }

    /// Starts an update when one is due. Returns when a token is to be renewed.
    pub(super) fn keep_volumes(&mut self, at: Moment) -> Option<Moment> {
        if self.progress.volumes != Step::Done {
            // A change may be what the volumes were waiting for.
            if self.volumes.stale && matches!(self.progress.volumes, Step::Failed { .. }) {
                self.prepare_volumes();
            }
            return None;
        }
        let renewal = self.volumes.renew_at;
        let due = renewal.is_some_and(|renew_at| at >= renew_at);
        if (self.volumes.stale || due) && !self.volumes.updating {
            self.prepare_volumes();
            // Containers go on with what is there.
            self.progress.volumes = Step::Done;
            return None;
        }
        renewal.filter(|renew_at| *renew_at > at)
    }

    pub(super) fn volumes_ready(&mut self, result: Result<Vec<VolumePlan>, String>) {
        self.volumes.updating = false;
        let was_done = self.progress.volumes == Step::Done;
        self.volumes.renew_at = self.volumes.tokens.try_lock().ok().and_then(|tokens| tokens.next_renewal());
        match result {
            Ok(plans) => {
                self.volumes.plans = Arc::new(plans);
                self.volumes.backoff.reset();
                self.progress.volumes = Step::Done;
            }
            Err(message) => {
                tell_pod(&self.agent.recorder, &self.pod, Event::warning("FailedMount", message.clone()));
                let retry_at = now().after(self.volumes.backoff.next_delay());
                if was_done {
                    self.volumes.renew_at = Some(retry_at);
                } else {
                    self.progress.volumes = Step::Failed { message, retry_at };
                }
            }
        }
    }
}

async fn set_up_all(
    agent: &Agent,
    pod: &Pod,
    held: &Held,
    tokens: &Mutex<PodTokens>,
    pod_ips: Vec<String>,
) -> Result<Vec<VolumePlan>, String> {
    let sources = held.read(&pod.metadata.namespace).await?;
    let mut tokens = tokens.lock().await;
    tokens.refresh(pod, &agent.client).await;
    let context = agent.field_context(pod_ips);
    let pod_folder = agent.settings.pod_folder(&pod.metadata.uid);
    let inputs =
        Inputs { pod_folder: &pod_folder, sources: &sources, tokens: tokens.tokens(), context: &context };
    let mut plans = Vec::new();
    for volume in &pod.spec.volumes {
        let failed =
            |cause: String| format!("MountVolume.SetUp failed for volume {:?} : {cause}", volume.name);
        let plan = plan_volume(pod, volume, &inputs).map_err(failed)?;
        let made = plan.clone();
        let done = tokio::task::spawn_blocking(move || disk::set_up(&made)).await;
        done.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
        plans.push(plan);
    }
    Ok(plans)
}
