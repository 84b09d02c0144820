//! Starts one container: image, configuration, create, start, postStart.

use std::sync::Arc;

use kedge_api::pod::{Container, Pod};
use kedge_cri_api::{ContainerId, Image, PodSandboxConfig, SandboxId};
use kedge_kubelet_core::config::{ContainerInputs, container_config};
use kedge_kubelet_core::env::{self, Sources};
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::hosts::{host_name, hosts_file};
use kedge_kubelet_core::volumes::{VolumePlan, references};
use kedge_kubelet_core::{names, security};
use tokio::sync::watch;

use crate::agent::Agent;
use crate::events::tell_pod;
use crate::sources::Held;
use crate::{hooks, logs, mounts, pull, volume_paths};

/// Without the services a pod would not find the API server; it is better told to wait.
const SERVICES_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Everything a start needs, taken when it begins.
pub(crate) struct Start {
    pub agent: Arc<Agent>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub attempt: u32,
    pub sandbox: SandboxId,
    pub sandbox_config: PodSandboxConfig,
    pub pod_ips: Vec<String>,
    pub volumes: Arc<Vec<VolumePlan>>,
    pub held: Arc<Held>,
    /// Of an ephemeral container: the container whose processes it sees.
    pub target_id: Option<String>,
    /// Turns true when the pod ends: a pull is given up.
    pub ending: watch::Receiver<bool>,
}

/// Reason and message of the waiting state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub reason: &'static str,
    pub message: String,
}

/// The container that was made, if one was, and how it went.
pub(crate) type Outcome = (Option<ContainerId>, Result<(), Refused>);

impl Start {
    pub async fn run(mut self) -> Outcome {
        match self.prepare().await {
            Ok((image, sources)) => self.create_and_start(&image, &sources).await,
            Err(refused) => (None, Err(refused)),
        }
    }

    fn tell(&self, event: Event) {
        tell_pod(&self.agent.recorder, &self.pod, event.of(&self.container.name));
    }

    fn refuse(&self, reason: &'static str, message: String) -> Refused {
        self.tell(Event::warning("Failed", format!("Error: {message}")));
        Refused { reason, message }
    }

    async fn prepare(&mut self) -> Result<(Image, Sources), Refused> {
        let sources = self.held.read(&self.pod.metadata.namespace).await;
        let known = sources.clone().unwrap_or_default();
        let refs = references(&self.pod);
        let mut ending = self.ending.clone();
        let image = tokio::select! {
            image = pull::ensure(&self.agent, &self.pod, &self.container, &known, &refs) => image,
            _ = ending.wait_for(|ending| *ending) => Err(("ErrImagePull", "the pod ends".to_owned())),
        };
        let image = image.map_err(|(reason, message)| Refused { reason, message })?;
        let sources = sources.map_err(|message| self.refuse("CreateContainerConfigError", message))?;
        Ok((image, sources))
    }

    async fn create_and_start(&self, image: &Image, sources: &Sources) -> Outcome {
        let config = match self.configure(image, sources).await {
            Ok(config) => config,
            Err(message) => return (None, Err(self.refuse("CreateContainerConfigError", message))),
        };
        let runtime = &self.agent.runtime;
        let id = match runtime.create_container(&self.sandbox, config, &self.sandbox_config).await {
            Ok(id) => id,
            Err(error) => return (None, Err(self.refuse("CreateContainerError", error.to_string()))),
        };
        self.tell(Event::normal("Created", "Container created"));
        if let Err(error) = logs::link(&self.agent, &self.pod, &self.container.name, &id.0, self.attempt) {
            tracing::warn!(%error, pod = self.pod.full_name(), "no link to the container's log");
        }
        if let Err(error) = runtime.start_container(&id).await {
            let refused = self.refuse("RunContainerError", error.to_string());
            return (Some(id), Err(refused));
        }
        self.tell(Event::normal("Started", "Container started"));
        let hooked = self.post_start(&id).await;
        (Some(id), hooked)
    }

    async fn configure(
        &self,
        image: &Image,
        sources: &Sources,
    ) -> Result<kedge_cri_api::ContainerConfig, String> {
        let (agent, pod, container) = (&self.agent, &self.pod, &self.container);
        security::check_non_root(pod, container, image)?;
        let synced = tokio::time::timeout(SERVICES_TIMEOUT, agent.services.synced()).await;
        synced.map_err(|_| {
            "services have not yet been read at least once, cannot construct envvars".to_owned()
        })?;
        let services = agent.services.list();
        let links = env::service_links(pod, services.iter().map(AsRef::as_ref));
        let context = agent.field_context(self.pod_ips.clone());
        let read_file_key = |selector: &kedge_api::pod::FileKeySelector| self.read_file_key(selector);
        let env = env::resolve(pod, container, sources, &links, &context, &read_file_key)?;
        let pod_folder = agent.settings.pod_folder(&pod.metadata.uid);
        self.write_hosts(&pod_folder)?;
        let place = mounts::Place {
            container,
            pod_folder: &pod_folder,
            volumes: &self.volumes,
            env: &env,
            recursive_read_only: agent.recursive_read_only,
            attempt: self.attempt,
        };
        let mounts = mounts::of_container(&place)?;
        let log_folder = agent.settings.log_folder(pod).join(&container.name);
        std::fs::create_dir_all(&log_folder).map_err(|error| format!("{}: {error}", log_folder.display()))?;
        let inputs = ContainerInputs {
            attempt: self.attempt,
            image,
            env,
            mounts,
            userns: self.sandbox_config.namespaces.userns,
            target_id: self.target_id.clone(),
        };
        Ok(container_config(pod, container, inputs, &agent.settings))
    }

    /// Written before every start: it may hold an address that a new sandbox has changed.
    fn write_hosts(&self, pod_folder: &std::path::Path) -> Result<(), String> {
        let host = host_name(&self.pod, &self.agent.settings.cluster.domain)?;
        let node_hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let text = hosts_file(&self.pod, &host, &self.pod_ips, &node_hosts);
        let path = mounts::hosts_path(pod_folder);
        // In place, not renamed: containers that run have this very file mounted.
        let write = || std::fs::create_dir_all(pod_folder).and_then(|()| std::fs::write(&path, text));
        write().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// `KEY=value` lines of a file in a volume (KEP-3721).
    fn read_file_key(&self, selector: &kedge_api::pod::FileKeySelector) -> Result<Option<String>, String> {
        let volume = self.volumes.iter().find(|volume| volume.name == selector.volume_name);
        let volume = volume.ok_or_else(|| {
            format!("cannot find the volume {:?} referenced by FileKeyRef", selector.volume_name)
        })?;
        let optional = selector.optional == Some(true);
        let text = match volume_paths::read_small(&volume.path, std::path::Path::new(&selector.path)) {
            Ok(text) => text,
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Err("couldn't parse env file".to_owned()),
        };
        let value =
            text.lines().find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == selector.key));
        match value {
            Some((_, value)) => Ok(Some(value.trim().trim_matches(['"', '\'']).to_owned())),
            None if optional => Ok(None),
            None => Err(format!(
                "environment variable key {:?} not found in file {:?}",
                selector.key,
                volume.path.join(&selector.path)
            )),
        }
    }

    async fn post_start(&self, id: &ContainerId) -> Result<(), Refused> {
        let handler = self.container.lifecycle.as_deref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        let Some(handler) = handler else { return Ok(()) };
        let pod_ip = self.pod_ips.first().map(String::as_str).unwrap_or_default();
        let place = hooks::Place { pod: &self.pod, container: &self.container, id, pod_ip };
        let Err(message) = hooks::run(handler, &place, self.agent.runtime.as_ref()).await else {
            return Ok(());
        };
        tracing::info!(pod = names::pod_in_messages(&self.pod), message, "postStart failed");
        self.tell(Event::warning("FailedPostStartHook", "PostStartHook failed"));
        self.tell(Event::normal("Killing", "FailedPostStartHook"));
        let grace_s = self.pod.spec.termination_grace_period_seconds.unwrap_or(30);
        if let Err(error) =
            self.agent.runtime.stop_container(id, grace_s.max(crate::worker::GRACE_MIN_S)).await
        {
            tracing::warn!(%error, "stopping a container whose postStart failed");
        }
        Err(Refused { reason: "PostStartHookError", message })
    }
}
