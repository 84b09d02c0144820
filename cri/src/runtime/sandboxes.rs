//! The life of a sandbox: namespaces and network up, ready, stopped, removed.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use kedge_cni_api::Attach;
use kedge_cri_api::{
    Error, NamespaceMode, PodSandboxConfig, PodSandboxStatus, Result, RuntimeEventKind, SandboxId,
};
use kedge_cri_core::sysctl;
use kedge_pause_wire::message::Nothing;
use kedge_pause_wire::{Event, IdMap, NamespaceFrom, Request, SandboxSpec, Sysctl};
use kedge_sys::{clone, socket};

use super::launch::c_string;
use super::records::{self, SandboxRecord};
use super::supervisor::{self, Supervisor, Told};
use super::{Cri, Sandbox, blocking, internal, lock, mounts};

impl Cri {
    pub(super) async fn run_sandbox(self: &Arc<Self>, config: PodSandboxConfig) -> Result<SandboxId> {
        let id = records::random_id().map_err(internal("make an id"))?;
        let directory = self.roots.run.join("pods").join(&id);
        let spec = plan(&config)?;
        let record = SandboxRecord {
            version: records::VERSION,
            id: id.clone(),
            boot_id: self.roots.boot_id.clone(),
            config,
            created_at_ns: records::now_ns(),
            pause_pid: 0,
            ips: Vec::new(),
            is_stopped: false,
            is_starting: true,
        };
        let sandbox = Arc::new(Sandbox {
            id: id.clone(),
            directory,
            record: Mutex::new(record),
            supervisor: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
        });
        if let Err(error) = self.bring_up(&sandbox, spec).await {
            match self.tear_down(&sandbox).await {
                Ok(()) => drop(fs::remove_dir_all(&sandbox.directory)),
                Err(left) => {
                    // Known as a sandbox that is not ready, it is removed again and again until that succeeds.
                    tracing::warn!(sandbox = id, error = %left, "a sandbox that failed is not cleared yet");
                    lock(&self.state).sandboxes.insert(id, sandbox);
                }
            }
            return Err(error);
        }
        lock(&self.state).sandboxes.insert(id.clone(), sandbox.clone());
        self.tell(&sandbox, None, RuntimeEventKind::Created);
        self.tell(&sandbox, None, RuntimeEventKind::Started);
        Ok(SandboxId(id))
    }

    async fn bring_up(self: &Arc<Self>, sandbox: &Arc<Sandbox>, spec: SandboxSpec) -> Result<()> {
        let (cri, of) = (self.clone(), sandbox.clone());
        let connection = blocking(move || cri.start_supervisor(&of))
            .await?
            .map_err(internal("start the pod's supervisor"))?;
        self.listen(sandbox, connection)?;
        let supervisor = sandbox.supervisor()?;
        let (event, mut descriptors) = supervisor.call(&Request::Setup(spec), &[]).await?;
        let network = match event {
            Event::Ready(ready) => ready.network.map(|_| descriptors.swap_remove(0)),
            Event::Failed(failed) => {
                return Err(Error::Internal(format!(
                    "failed to set up the sandbox: {}",
                    supervisor::sentence(&failed, "")
                )));
            }
            other => {
                return Err(Error::Internal(format!("failed to set up the sandbox: unexpected {other:?}")));
            }
        };
        if let Some(network) = network {
            self.attach_network(sandbox, &network).await?;
        }
        lock(&sandbox.record).is_starting = false;
        sandbox.write_record().map_err(internal("write sandbox.json"))
    }

    /// Everything up to a running pause that is written down. The first record comes before the cgroup and the process that it
    /// tells of: a daemon that dies in between leaves nothing that its successor does not find. Blocks.
    fn start_supervisor(&self, sandbox: &Sandbox) -> std::io::Result<OwnedFd> {
        let config = lock(&sandbox.record).config.clone();
        records::make_directory(&sandbox.directory)?;
        sandbox.write_record()?;
        write_files(&sandbox.directory, &config)?;
        if config.namespaces.ipc != NamespaceMode::Node {
            mounts::mount_shm(&sandbox.directory.join("shm"))?;
        }
        let group = sandbox.group(&sandbox.id);
        self.cgroups.create(&group)?;
        let entrance = self.cgroups.entrance(&group, &group)?;
        let procs: Vec<_> = entrance.procs.iter().map(AsFd::as_fd).collect();
        let folder: OwnedFd = fs::File::open(&sandbox.directory)?.into();
        let listener = socket::listen(folder.as_fd(), "pause.sock")?;
        let (ours, theirs) = socket::pair()?;
        let log: OwnedFd = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(sandbox.directory.join("pause.log"))?
            .into();
        let (pid, _pidfd) = clone::spawn(&clone::Spawn {
            program: self.pause.as_fd(),
            argv: &[c"pause"],
            descriptors: &[listener.as_fd(), theirs.as_fd()],
            stdio: log.as_fd(),
            unified: entrance.unified.as_ref().map(AsFd::as_fd),
            cgroups: &procs,
        })?;
        lock(&sandbox.record).pause_pid = pid;
        sandbox.write_record()?;
        Ok(ours)
    }

    /// Starts the task that hears the supervisor.
    pub(super) fn listen(self: &Arc<Self>, sandbox: &Arc<Sandbox>, connection: OwnedFd) -> Result<()> {
        let (supervisor, mut told) =
            Supervisor::new(connection).map_err(internal("watch the pod's supervisor"))?;
        *lock(&sandbox.supervisor) = Some(supervisor);
        let (cri, sandbox) = (Arc::downgrade(self), sandbox.clone());
        tokio::spawn(async move {
            while let Some(told) = told.recv().await {
                let Some(cri) = cri.upgrade() else { return };
                match told {
                    Told::Exited(exited) => cri.container_ended(&exited).await,
                    Told::Gone => cri.supervisor_gone(&sandbox).await,
                }
            }
        });
        Ok(())
    }

    async fn attach_network(&self, sandbox: &Sandbox, netns: &OwnedFd) -> Result<()> {
        let request = {
            let config = &lock(&sandbox.record).config;
            Attach {
                sandbox_id: sandbox.id.clone(),
                pod_namespace: config.namespace.clone(),
                pod_name: config.name.clone(),
                pod_uid: config.uid.clone(),
                ifname: "eth0".into(),
            }
        };
        let attached = self.network.attach(netns.as_fd(), &request).await;
        let attachment = attached
            .map_err(|error| Error::Unavailable(format!("failed to set up the pod network: {error}")))?;
        lock(&sandbox.record).ips = attachment.ips.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// The supervisor has died: so has the sandbox. What is left of it is killed; the kubelet makes another.
    async fn supervisor_gone(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        if lock(&sandbox.supervisor).take().is_none() {
            return;
        }
        tracing::warn!(sandbox = sandbox.id, "the pod's supervisor is gone");
        let _turn = sandbox.turn.lock().await;
        if let Err(error) = self.tear_down(sandbox).await {
            tracing::warn!(sandbox = sandbox.id, %error, "cannot clean up after a supervisor");
        }
        self.tell(sandbox, None, RuntimeEventKind::Stopped);
    }

    pub(super) async fn stop_sandbox(self: &Arc<Self>, id: &SandboxId) -> Result<()> {
        let Ok(sandbox) = self.sandbox(&id.0) else {
            return Ok(());
        };
        let _turn = sandbox.turn.lock().await;
        if lock(&sandbox.record).is_stopped {
            return Ok(());
        }
        for container in self.containers_of(&sandbox.id) {
            self.kill_container(&container).await?;
        }
        self.tear_down(&sandbox).await?;
        self.tell(&sandbox, None, RuntimeEventKind::Stopped);
        Ok(())
    }

    /// Ends processes, network, mounts and cgroups of a sandbox. May be called again.
    async fn tear_down(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<()> {
        // A network that does not come down keeps no process alive.
        let detached = self.network.detach(&sandbox.id).await;
        let supervisor = lock(&sandbox.supervisor).take();
        if let Some(supervisor) = supervisor {
            let _ = supervisor.call(&Request::Shutdown(Nothing {}), &[]).await;
        }
        let (cri, of) = (self.clone(), sandbox.clone());
        let groups: Vec<_> =
            self.containers_of(&sandbox.id).iter().map(|container| container.group()).collect();
        let cleaned = blocking(move || {
            for group in groups.iter().chain([&of.group(&of.id)]) {
                cri.cgroups.kill(group)?;
            }
            let pid = lock(&of.record).pause_pid;
            if pid > 0 {
                // Ours if this daemon started it; an adopted one has another parent.
                kedge_sys::process::reap(pid);
            }
            for group in groups.iter().chain([&of.group(&of.id)]) {
                cri.cgroups.remove(group)?;
            }
            mounts::unmount(&of.directory.join("shm"));
            Ok(())
        });
        cleaned.await?.map_err(internal("end the sandbox's processes"))?;
        for container in self.containers_of(&sandbox.id) {
            self.settle_lost(&container);
        }
        detached
            .map_err(|error| Error::Unavailable(format!("failed to take down the pod network: {error}")))?;
        lock(&sandbox.record).is_stopped = true;
        match sandbox.write_record() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(internal("write sandbox.json")(error))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn remove_sandbox(self: &Arc<Self>, id: &SandboxId) -> Result<()> {
        let Ok(sandbox) = self.sandbox(&id.0) else {
            return Ok(());
        };
        self.stop_sandbox(id).await?;
        for container in self.containers_of(&sandbox.id) {
            self.delete_container(&container.id).await?;
        }
        let _turn = sandbox.turn.lock().await;
        match fs::remove_dir_all(&sandbox.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(internal("remove the sandbox's folder")(error));
            }
            _ => {}
        }
        lock(&self.state).sandboxes.remove(&sandbox.id);
        self.remove_pod_group(&sandbox);
        self.tell(&sandbox, None, RuntimeEventKind::Deleted);
        Ok(())
    }

    /// The pod's own cgroup belongs to the kubelet; an empty one that nobody else uses goes with the last sandbox.
    fn remove_pod_group(&self, sandbox: &Sandbox) {
        let uid = lock(&sandbox.record).config.uid.clone();
        let has_other = lock(&self.state).sandboxes.values().any(|it| lock(&it.record).config.uid == uid);
        if !has_other {
            let _ = self.cgroups.remove(&sandbox.group(""));
        }
    }
}

impl Sandbox {
    fn write_record(&self) -> std::io::Result<()> {
        let record = lock(&self.record).clone();
        records::write_json(&self.directory, "sandbox.json", &record)
    }

    pub(super) fn status(&self) -> PodSandboxStatus {
        let record = lock(&self.record);
        PodSandboxStatus {
            id: self.id.clone(),
            name: record.config.name.clone(),
            uid: record.config.uid.clone(),
            namespace: record.config.namespace.clone(),
            attempt: record.config.attempt,
            ready: !record.is_stopped && self.is_ready(),
            created_at_ns: record.created_at_ns,
            ips: record.ips.clone(),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
            network: record.config.namespaces.network,
        }
    }
}

fn plan(config: &PodSandboxConfig) -> Result<SandboxSpec> {
    let sysctls = sysctl::plan(config).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    let from = |mode: NamespaceMode| match mode {
        NamespaceMode::Node => NamespaceFrom::Host,
        NamespaceMode::Pod | NamespaceMode::Container => NamespaceFrom::Pod,
    };
    let namespaces = &config.namespaces;
    Ok(SandboxSpec {
        network: from(namespaces.network),
        ipc: from(namespaces.ipc),
        // A pod on the node's network has the node's name.
        uts: from(namespaces.network),
        shared_pid: namespaces.pid == NamespaceMode::Pod,
        user: namespaces.userns.map(|users| IdMap { host_id: users.host_id, length: users.length }),
        hostname: c_string(&config.hostname, "hostname")?,
        sysctls: sysctls
            .iter()
            .map(|(path, value)| {
                Ok(Sysctl { path: c_string(path, "sysctls")?, value: c_string(value, "sysctls")? })
            })
            .collect::<Result<_>>()?,
    })
}

/// `resolv.conf` and `hostname`, which every container of the pod sees.
fn write_files(directory: &Path, config: &PodSandboxConfig) -> std::io::Result<()> {
    let hostname = if config.hostname.is_empty() { node_name()? } else { config.hostname.clone() };
    records::write(directory, "hostname", format!("{hostname}\n").as_bytes(), 0o644)?;
    let dns = &config.dns;
    let text = if dns.servers.is_empty() && dns.searches.is_empty() && dns.options.is_empty() {
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    } else {
        let mut text = String::new();
        if !dns.searches.is_empty() {
            text += &format!("search {}\n", dns.searches.join(" "));
        }
        dns.servers.iter().for_each(|server| text += &format!("nameserver {server}\n"));
        if !dns.options.is_empty() {
            text += &format!("options {}\n", dns.options.join(" "));
        }
        text
    };
    records::write(directory, "resolv.conf", text.as_bytes(), 0o644)
}

pub(super) fn node_name() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}
