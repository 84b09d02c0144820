//! Performs the actions of a plan and takes their results.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kedge_api::pod::Container;
use kedge_api::resource::PODS;
use kedge_client::DeleteOptions;
use kedge_cri_api::{ContainerId, Error, SandboxId};
use kedge_kubelet_core::config::sandbox_config;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::observed::{Failure, Step, Stopping};
use kedge_kubelet_core::plan::Action;

use super::{Input, Worker};
use crate::events::tell_pod;
use crate::node::now;
use crate::start::{Outcome, Start};
use crate::{disk, hooks, logs, userns};

/// A container gets at least this long between its signal and SIGKILL.
pub(crate) const GRACE_MIN_S: i64 = 2;
/// After a failure of the runtime the same is tried again this much later.
const RETRY_S: i64 = 2;

impl Worker {
    pub(super) fn act(&mut self, action: Action) {
        tracing::debug!(pod = self.pod.full_name(), ?action, "act");
        match action {
            Action::PrepareVolumes => self.prepare_volumes(),
            Action::CreateSandbox { attempt } => self.create_sandbox(attempt),
            Action::Start { container, attempt, failed_at } => {
                if let Some(failed_at) = failed_at {
                    self.progress.container_mut(&container).restarts.note(failed_at, now());
                }
                self.start(&container, attempt);
            }
            Action::Stop { container, id, grace_s, event } => self.stop(&container, id, grace_s, event),
            Action::AnnounceStops { containers } => self.announce(&containers),
            Action::StopSandbox { id } => self.stop_sandbox(id),
            Action::RemoveContainer { id } => self.remove_container(id),
            Action::RemoveSandbox { id } => self.remove_sandbox(id),
            Action::TearDown => self.tear_down(),
            Action::FinishDeletion => self.finish_deletion(),
        }
    }

    /// Runs in a task of its own; what it returns comes back as a message.
    fn spawn(&self, work: impl Future<Output = Input> + Send + 'static) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let input = work.await;
            // A worker that has ended needs no answer.
            let _ = sender.send(input).await;
        });
    }

    pub(super) fn pod_ips(&self) -> Vec<String> {
        if self.pod.spec.host_network {
            return self.agent.host_ips();
        }
        self.observed.ready_sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<&Container> {
        let spec = &self.pod.spec;
        let all = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        all.into_iter().find(|container| container.name == name)
    }

    fn create_sandbox(&mut self, attempt: u32) {
        self.progress.sandbox = Step::Running;
        let agent = Arc::clone(&self.agent);
        let userns = (self.pod.spec.host_users == Some(false))
            .then(|| userns::of_pod(&agent.settings.kubelet.join("pods"), &self.pod.metadata.uid))
            .transpose();
        let config = userns.and_then(|userns| sandbox_config(&self.pod, attempt, userns, &agent.settings));
        self.sandbox_config = config.as_ref().ok().cloned();
        let logs = agent.settings.log_folder(&self.pod);
        self.spawn(async move {
            let result = match config {
                Ok(config) => match std::fs::create_dir_all(&logs) {
                    Ok(()) => agent.runtime.run_pod_sandbox(config).await.map_err(|error| error.to_string()),
                    Err(error) => Err(format!("{}: {error}", logs.display())),
                },
                Err(message) => Err(message),
            };
            Input::SandboxMade { result }
        });
    }

    pub(super) async fn sandbox_made(&mut self, result: Result<SandboxId, String>) {
        match result {
            Ok(id) => {
                self.progress.sandbox = Step::Done;
                self.refresh_sandbox(&id.0).await;
            }
            Err(cause) => {
                let message = format!("Failed to create pod sandbox: {cause}");
                tell_pod(&self.agent.recorder, &self.pod, Event::warning("FailedCreatePodSandBox", message));
                self.progress.sandbox = Step::Failed { message: cause, retry_at: now().after_s(RETRY_S) };
            }
        }
    }

    fn start(&mut self, name: &str, attempt: u32) {
        let (Some(container), Some(sandbox)) = (self.find(name).cloned(), self.observed.ready_sandbox())
        else {
            return;
        };
        let sandbox = SandboxId(sandbox.id.clone());
        let Some(sandbox_config) = self.current_sandbox_config() else {
            return;
        };
        let target =
            self.observed.container(&container.target_container_name).map(|status| status.id.clone());
        let start = Start {
            agent: Arc::clone(&self.agent),
            pod: Arc::clone(&self.pod),
            attempt,
            sandbox,
            sandbox_config,
            pod_ips: self.pod_ips(),
            volumes: Arc::clone(&self.volumes.plans),
            held: Arc::clone(&self.held),
            target_id: target.filter(|_| !container.target_container_name.is_empty()),
            ending: self.ending.subscribe(),
            container,
        };
        self.progress.container_mut(name).starting = true;
        let container = name.to_owned();
        self.spawn(async move { Input::Started { container, outcome: start.run().await } });
    }

    /// After our own restart the sandbox was made by an earlier us: its configuration is computed again.
    fn current_sandbox_config(&mut self) -> Option<kedge_cri_api::PodSandboxConfig> {
        if self.sandbox_config.is_none() {
            let attempt = self.observed.ready_sandbox()?.attempt;
            let pods = self.agent.settings.kubelet.join("pods");
            let wants = self.pod.spec.host_users == Some(false);
            let userns = if wants { userns::of_pod(&pods, &self.pod.metadata.uid).ok() } else { None };
            self.sandbox_config = sandbox_config(&self.pod, attempt, userns, &self.agent.settings).ok();
        }
        self.sandbox_config.clone()
    }

    pub(super) async fn started(&mut self, container: &str, (id, result): Outcome) {
        if let Some(id) = id {
            self.refresh_container(&id.0).await;
        }
        let at = now();
        let progress = self.progress.container_mut(container);
        progress.starting = false;
        match result {
            Ok(()) => {
                progress.failure = None;
                progress.pull_failed = None;
            }
            Err(refused) => {
                if refused.reason == "ErrImagePull" {
                    progress.pulls.note(at, at);
                    progress.pull_failed = Some((at, refused.message.clone()));
                } else {
                    progress.pull_failed = None;
                }
                let failure = Failure::at(at, refused.reason, refused.message);
                progress.failure = Some(failure);
            }
        }
    }

    fn announce(&mut self, containers: &[String]) {
        for container in containers {
            let event = Event::normal("Killing", format!("Stopping container {container}")).of(container);
            tell_pod(&self.agent.recorder, &self.pod, event);
        }
        if let Some(terminating) = &mut self.progress.terminating {
            terminating.announced = true;
        }
    }

    fn stop(&mut self, name: &str, id: String, grace_s: i64, event: Option<String>) {
        if let Some(message) = event {
            tell_pod(&self.agent.recorder, &self.pod, Event::normal("Killing", message).of(name));
        }
        let deadline = now().after_s(grace_s);
        let progress = self.progress.container_mut(name);
        let again = progress.stopping.as_ref().is_some_and(|stopping| stopping.id == id);
        progress.stopping = Some(Stopping { id: id.clone(), deadline });
        let container = self.find(name).cloned().unwrap_or_default();
        let agent = Arc::clone(&self.agent);
        let pod = Arc::clone(&self.pod);
        let pod_ip = self.pod_ips().first().cloned().unwrap_or_default();
        let name = name.to_owned();
        self.spawn(async move {
            let begun = Instant::now();
            let container_id = ContainerId(id.clone());
            let handler = container.lifecycle.as_deref().and_then(|lifecycle| lifecycle.pre_stop.clone());
            if let Some(handler) = handler.filter(|_| !again && grace_s > 0) {
                let place =
                    hooks::Place { pod: &pod, container: &container, id: &container_id, pod_ip: &pod_ip };
                let budget = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
                let hook = hooks::run(&handler, &place, agent.runtime.as_ref());
                // A hook that is cut off has used up the grace; it is no failure of its own.
                if let Ok(Err(cause)) = tokio::time::timeout(budget, hook).await {
                    tracing::info!(pod = pod.full_name(), container = name, cause, "preStop failed");
                    tell_pod(
                        &agent.recorder,
                        &pod,
                        Event::warning("FailedPreStopHook", "PreStopHook failed").of(&name),
                    );
                }
            }
            let used_s = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
            let rest_s = (grace_s - used_s).max(GRACE_MIN_S);
            let result = agent.runtime.stop_container(&container_id, rest_s).await;
            if result.is_err() {
                tokio::time::sleep(Duration::from_secs(RETRY_S.unsigned_abs())).await;
            }
            Input::Stopped { container: name, id, result }
        });
    }

    pub(super) async fn stopped(&mut self, container: &str, id: &str, result: Result<(), Error>) {
        if let Err(error) = result
            && !matches!(error, Error::NotFound(_))
        {
            tracing::warn!(%error, pod = self.pod.full_name(), container, "container not stopped");
        }
        self.refresh_container(id).await;
        let progress = self.progress.container_mut(container);
        if progress.stopping.as_ref().is_some_and(|stopping| stopping.id == id) {
            progress.stopping = None;
        }
    }

    fn stop_sandbox(&mut self, id: String) {
        self.progress.busy.insert(id.clone());
        let agent = Arc::clone(&self.agent);
        self.spawn(async move {
            let result = agent.runtime.stop_pod_sandbox(&SandboxId(id.clone())).await;
            if result.is_err() {
                tokio::time::sleep(Duration::from_secs(RETRY_S.unsigned_abs())).await;
            }
            Input::SandboxStopped { id, result }
        });
    }

    pub(super) async fn sandbox_stopped(&mut self, id: &str, result: Result<(), Error>) {
        self.progress.busy.remove(id);
        match result {
            Ok(()) | Err(Error::NotFound(_)) => {
                self.progress.sandboxes_stopped.insert(id.to_owned());
                self.sandbox_config = None;
            }
            Err(error) => {
                tracing::warn!(%error, pod = self.pod.full_name(), "sandbox not stopped");
                let message = format!("error killing pod: {error}");
                tell_pod(&self.agent.recorder, &self.pod, Event::warning("FailedKillPod", message));
            }
        }
        self.refresh_sandbox(id).await;
    }

    fn remove_container(&mut self, id: String) {
        self.progress.busy.insert(id.clone());
        let agent = Arc::clone(&self.agent);
        self.spawn(async move {
            let result = agent.runtime.remove_container(&ContainerId(id.clone())).await;
            Input::Removed { id, result }
        });
    }

    fn remove_sandbox(&mut self, id: String) {
        self.progress.busy.insert(id.clone());
        let agent = Arc::clone(&self.agent);
        self.spawn(async move {
            let result = agent.runtime.remove_pod_sandbox(&SandboxId(id.clone())).await;
            Input::Removed { id, result }
        });
    }

    pub(super) fn removed(&mut self, id: &str, result: Result<(), Error>) {
        match result {
            Ok(()) | Err(Error::NotFound(_)) => {
                self.progress.busy.remove(id);
                if let Some(status) = self.observed.containers.iter().find(|container| container.id == id) {
                    logs::remove(&self.agent, &self.pod, status);
                }
                self.observed.containers.retain(|container| container.id != id);
                self.observed.sandboxes.retain(|sandbox| sandbox.id != id);
            }
            Err(error) => {
                // Busy until then, so that it is not tried in a circle.
                tracing::warn!(%error, pod = self.pod.full_name(), id, "not removed");
                let (sender, id) = (self.sender.clone(), id.to_owned());
                let agent = Arc::clone(&self.agent);
                let is_sandbox = self.observed.sandboxes.iter().any(|sandbox| sandbox.id == id);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(RETRY_S.unsigned_abs())).await;
                    let result = if is_sandbox {
                        agent.runtime.remove_pod_sandbox(&SandboxId(id.clone())).await
                    } else {
                        agent.runtime.remove_container(&ContainerId(id.clone())).await
                    };
                    // A worker that has ended needs no answer.
                    let _ = sender.send(Input::Removed { id, result }).await;
                });
            }
        }
    }

    fn tear_down(&mut self) {
        self.progress.torn_down = Step::Running;
        let folder = self.agent.settings.pod_folder(&self.pod.metadata.uid);
        self.spawn(async move {
            let done = tokio::task::spawn_blocking(move || disk::tear_down(&folder)).await;
            let result = match done {
                Ok(done) => done.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Input::TornDown(result)
        });
    }

    pub(super) fn torn_down(&mut self, result: Result<(), String>) {
        self.progress.torn_down = match result {
            Ok(()) => Step::Done,
            Err(message) => {
                tracing::warn!(message, pod = self.pod.full_name(), "volumes not removed");
                Step::Failed { message, retry_at: now().after_s(RETRY_S) }
            }
        };
    }

    fn finish_deletion(&mut self) {
        if std::mem::replace(&mut self.deleting, true) {
            return;
        }
        let (agent, pod) = (Arc::clone(&self.agent), Arc::clone(&self.pod));
        self.spawn(async move {
            let meta = &pod.metadata;
            let options = DeleteOptions {
                grace_period_s: Some(0),
                uid: Some(meta.uid.clone()),
                ..DeleteOptions::default()
            };
            let deleted = agent.client.delete(PODS, &meta.namespace, &meta.name, &options).await;
            Input::Deleted(match deleted.map(drop) {
                Ok(()) => Ok(false),
                Err(error) if error.is_not_found() => Ok(true),
                Err(error) if error.is_conflict() && crate::writer::is_gone(&agent, &pod).await => Ok(true),
                Err(error) => {
                    tokio::time::sleep(Duration::from_secs(RETRY_S.unsigned_abs())).await;
                    Err(error)
                }
            })
        });
    }

    /// On success the watch tells that the object is gone; with finalizers it stays, and nothing is left to do.
    pub(super) fn deleted(&mut self, result: Result<bool, kedge_client::Error>) {
        match result {
            Ok(is_gone) => self.progress.gone |= is_gone,
            Err(error) => {
                tracing::warn!(%error, pod = self.pod.full_name(), "pod not deleted");
                self.deleting = false;
            }
        }
    }
}
