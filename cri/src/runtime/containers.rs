//! The life of a container: created, started, ended, stopped, removed.

use std::fs;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kedge_cri_api::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, Error, LinuxContainerResources,
    NamespaceMode, Result, RuntimeEventKind, SandboxId, SeccompProfile,
};
use kedge_cri_core::launch::stop_signal;
use kedge_pause_wire::message::{Exited, Failed, Named, Nothing, ReopenLog, Signal};
use kedge_pause_wire::{Event, LaunchSpec, Request, Step, Wire};
use tokio::sync::watch;

use super::launch::{self, Prepared, c_string};
use super::records::{self, ContainerRecord, Exit, Failure};
use super::supervisor;
use super::{Container, Cri, Run, Sandbox, blocking, internal, lock, mounts};

/// After SIGKILL; a process in uninterruptible sleep may take longer, and the caller tries again.
const KILL_WAIT: Duration = Duration::from_secs(10);

impl Cri {
    pub(super) async fn create(
        self: &Arc<Self>,
        sandbox: &SandboxId,
        config: ContainerConfig,
    ) -> Result<ContainerId> {
        let sandbox = self.sandbox(&sandbox.0)?;
        sandbox.supervisor()?;
        let pid = lock(&sandbox.record).config.namespaces.pid;
        check_namespaces(pid, config.security.namespaces.pid)?;
        let image = self.images.mount_plan(&config.image_id).await?;
        let id = records::random_id().map_err(internal("make an id"))?;
        for mount in &config.mounts {
            mounts::check(mount).map_err(|error| {
                Error::Internal(format!(
                    "failed to generate container {id:?} spec: failed to generate spec: {error}"
                ))
            })?;
        }
        if let SeccompProfile::Localhost(path) = &config.security.seccomp {
            launch::read_profile(path)
                .map_err(|error| Error::Internal(format!("failed to create container: {error}")))?;
        }
        let record = ContainerRecord {
            version: records::VERSION,
            id: id.clone(),
            stop_signal: stop_signal(&config.stop_signal, &image.config.stop_signal),
            config,
            image_id: image.image_id,
            image_ref: image.image_ref,
            created_at_ns: records::now_ns(),
            started_at_ns: 0,
            failure: None,
            user: None,
        };
        let directory = sandbox.directory.join(&id);
        records::make_directory(&directory).map_err(internal("make the container's folder"))?;
        let container = Arc::new(Container::new(record, sandbox.clone(), directory));
        sandbox.record_of(&container).map_err(internal("write container.json"))?;
        lock(&self.state).containers.insert(id.clone(), container);
        self.hold_images();
        self.tell(&sandbox, Some(&id), RuntimeEventKind::Created);
        Ok(ContainerId(id))
    }

    pub(super) async fn start(self: &Arc<Self>, id: &ContainerId) -> Result<()> {
        let container = self.container(&id.0)?;
        let sandbox = container.sandbox.clone();
        let _turn = sandbox.turn.lock().await;
        if container.state() != ContainerState::Created {
            return Err(Error::FailedPrecondition(format!("container {:?} is not in created state", id.0)));
        }
        match self.launch(&container).await {
            Ok(()) => {
                self.tell(&sandbox, Some(&container.id), RuntimeEventKind::Started);
                Ok(())
            }
            Err(error) => {
                let message = format!("failed to start container: {error}");
                self.fail(&container, &message).await?;
                self.tell(&sandbox, Some(&container.id), RuntimeEventKind::Stopped);
                Err(Error::Internal(message))
            }
        }
    }

    async fn launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let supervisor = container.sandbox.supervisor()?;
        let (image_id, user) = {
            let record = lock(&container.record);
            (record.image_id.clone(), lock(&container.sandbox.record).config.namespaces.userns)
        };
        let image = self.images.mount_plan(&image_id).await?;
        let users = match user {
            Some(_) => Some(self.user_namespace(&container.sandbox).await?),
            None => None,
        };
        let (cri, of) = (self.clone(), container.clone());
        let prepared = blocking(move || cri.prepare(&of, &image, users.as_ref())).await??;
        self.write_launch(container, &prepared)?;
        let spec = prepared.spec.clone();
        let request = Request::Launch(Box::new(prepared.spec));
        match supervisor.call(&request, &prepared.handed.borrowed()).await?.0 {
            Event::Launched(launched) => {
                lock(&container.run).pid = Some(launched.pid);
                lock(&container.record).started_at_ns = launched.started_at_ns;
                container.sandbox.record_of(container).map_err(internal("write container.json"))
            }
            Event::Failed(failed) => Err(Error::Internal(failed_sentence(&spec, &failed))),
            other => Err(Error::Internal(format!("unexpected {other:?}"))),
        }
    }

    /// Before the launch: whatever runs can be found again, and an exec knows whose process it is.
    fn write_launch(&self, container: &Container, prepared: &Prepared) -> Result<()> {
        let user = &prepared.plan.user;
        lock(&container.record).user = Some((user.uid, user.gid, user.groups.clone()));
        let mut process = Vec::new();
        prepared.spec.process.put(&mut process);
        let written = records::write(&container.directory, "process", &process, 0o600)
            .and_then(|()| container.sandbox.record_of(container));
        written.map_err(internal("write container.json"))
    }

    pub(super) async fn user_namespace(&self, sandbox: &Sandbox) -> Result<std::os::fd::OwnedFd> {
        let (event, descriptors) = sandbox.supervisor()?.call(&Request::Network(Nothing {}), &[]).await?;
        let index = match event {
            Event::Ready(ready) => ready.user,
            _ => None,
        };
        let found = index.and_then(|index| descriptors.into_iter().nth(index as usize));
        found.ok_or_else(|| Error::Internal("the sandbox has no user namespace".into()))
    }

    /// A start that failed is an end of its own: exit code 128, reason StartError.
    async fn fail(self: &Arc<Self>, container: &Arc<Container>, message: &str) -> Result<()> {
        lock(&container.record).failure = Some(Failure {
            at_ns: records::now_ns(),
            exit_code: 128,
            reason: "StartError".into(),
            message: message.to_owned(),
        });
        container.sandbox.record_of(container).map_err(internal("write container.json"))?;
        container.ended.send_replace(true);
        self.clear_group(container).await
    }

    async fn clear_group(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let (cri, group) = (self.clone(), container.group());
        let cleared = blocking(move || cri.cgroups.kill(&group).and_then(|()| cri.cgroups.remove(&group)));
        cleared.await?.map_err(internal("end the container's processes"))
    }

    /// Hears the end of a container's first process. What it left running is killed with its cgroup.
    pub(super) async fn container_ended(self: &Arc<Self>, exited: &Exited) {
        let Ok(container) = self.container(&exited.id.to_string_lossy()) else {
            return;
        };
        let exit = Exit { code: exited.code, signal: exited.signal, finished_at_ns: exited.finished_at_ns };
        let is_oom_killed = exited.signal == libc::SIGKILL && self.cgroups.was_oom_killed(&container.group());
        {
            let mut run = lock(&container.run);
            run.is_oom_killed = is_oom_killed;
            run.exit = Some(exit);
        }
        if is_oom_killed {
            let marked = records::write(&container.directory, "oom", b"1\n", 0o600);
            if let Err(error) = marked {
                tracing::warn!(%error, "cannot note an OOM kill");
            }
        }
        if let Err(error) = self.clear_group(&container).await {
            tracing::warn!(container = container.id, %error, "cannot clear a cgroup");
        }
        container.ended.send_replace(true);
        self.tell(&container.sandbox, Some(&container.id), RuntimeEventKind::Stopped);
    }

    pub(super) async fn stop(self: &Arc<Self>, id: &ContainerId, timeout_s: i64) -> Result<()> {
        let Ok(container) = self.container(&id.0) else {
            return Ok(());
        };
        if container.is_running() && timeout_s > 0 {
            let signal = lock(&container.record).stop_signal;
            self.signal(&container, signal).await?;
            let patience = Duration::from_secs(timeout_s.unsigned_abs());
            if container.wait_end(patience).await {
                return Ok(());
            }
        }
        self.kill_container(&container).await
    }

    async fn signal(&self, container: &Container, signal: i32) -> Result<()> {
        let request = Request::Signal(Signal { id: c_string(&container.id, "id")?, is_exec: false, signal });
        match container.sandbox.supervisor()?.call(&request, &[]).await?.0 {
            Event::Done(_) | Event::NotFound(_) => Ok(()),
            other => Err(Error::Internal(format!("cannot signal the container: {other:?}"))),
        }
    }

    pub(super) async fn kill_container(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        if !container.is_running() {
            return Ok(());
        }
        let (cri, group) = (self.clone(), container.group());
        blocking(move || cri.cgroups.kill(&group)).await?.map_err(internal("kill the container"))?;
        if container.wait_end(KILL_WAIT).await || !container.sandbox.is_ready() {
            return Ok(());
        }
        Err(Error::DeadlineExceeded(format!("container {:?} does not end after SIGKILL", container.id)))
    }

    /// The supervisor is gone and cannot tell any more: its exit file, or SIGKILL, is how the container ended.
    pub(super) fn settle_lost(&self, container: &Container) {
        let mut run = lock(&container.run);
        if run.pid.is_some() && run.exit.is_none() {
            let killed =
                Exit { code: 128 + libc::SIGKILL, signal: libc::SIGKILL, finished_at_ns: records::now_ns() };
            run.exit = Some(records::read_exit(&container.directory).unwrap_or(killed));
            drop(run);
            container.ended.send_replace(true);
            self.tell(&container.sandbox, Some(&container.id), RuntimeEventKind::Stopped);
        }
    }

    pub(super) async fn remove(self: &Arc<Self>, id: &ContainerId) -> Result<()> {
        self.delete_container(&id.0).await
    }

    pub(super) async fn delete_container(self: &Arc<Self>, id: &str) -> Result<()> {
        let Ok(container) = self.container(id) else {
            return Ok(());
        };
        self.kill_container(&container).await?;
        if let Ok(supervisor) = container.sandbox.supervisor() {
            let _ = supervisor.call(&Request::Forget(Named { id: c_string(id, "id")? }), &[]).await;
        }
        self.clear_group(&container).await?;
        let (layers, directory) = (self.layers(id), container.directory.clone());
        let removed = blocking(move || {
            for path in [&layers, &directory] {
                match fs::remove_dir_all(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        removed.await?.map_err(internal("remove the container's folders"))?;
        lock(&self.state).containers.remove(id);
        self.hold_images();
        self.tell(&container.sandbox, Some(id), RuntimeEventKind::Deleted);
        Ok(())
    }

    pub(super) async fn reopen_log(&self, id: &ContainerId) -> Result<()> {
        let container = self.container(&id.0)?;
        if !container.is_running() {
            return Err(Error::FailedPrecondition(format!("container {:?} is not running", id.0)));
        }
        let (pod, record) = (lock(&container.sandbox.record).config.clone(), lock(&container.record).clone());
        let Some(log) = launch::open_log(&pod, &record).map_err(internal("open the log file"))? else {
            return Ok(());
        };
        let request = Request::ReopenLog(ReopenLog { id: c_string(&container.id, "id")?, log: 0 });
        container.sandbox.supervisor()?.call(&request, &[log.as_fd()]).await.map(drop)
    }

    pub(super) async fn update(&self, id: &ContainerId, resources: LinuxContainerResources) -> Result<()> {
        let container = self.container(&id.0)?;
        if container.is_running() {
            self.cgroups.limit(&container.group(), &resources).map_err(internal("change the limits"))?;
        }
        merge(&mut lock(&container.record).config.resources, resources);
        container.sandbox.record_of(&container).map_err(internal("write container.json"))
    }
}

/// Zero is "not set": such a field keeps its value.
fn merge(own: &mut LinuxContainerResources, new: LinuxContainerResources) {
    let set = |own: &mut i64, new: i64| {
        if new != 0 {
            *own = new;
        }
    };
    set(&mut own.cpu_period_us, new.cpu_period_us);
    set(&mut own.cpu_quota_us, new.cpu_quota_us);
    set(&mut own.cpu_shares, new.cpu_shares);
    set(&mut own.memory_limit_bytes, new.memory_limit_bytes);
    set(&mut own.memory_swap_limit_bytes, new.memory_swap_limit_bytes);
    set(&mut own.oom_score_adj, new.oom_score_adj);
    set(&mut own.pids_limit, new.pids_limit);
    for (own, new) in [(&mut own.cpuset_cpus, new.cpuset_cpus), (&mut own.cpuset_mems, new.cpuset_mems)] {
        if !new.is_empty() {
            *own = new;
        }
    }
    if !new.hugepage_limits.is_empty() {
        own.hugepage_limits = new.hugepage_limits;
    }
    own.unified.extend(new.unified);
}

/// Names the file, mount or device that the failed step worked on.
fn failed_sentence(spec: &LaunchSpec, failed: &Failed) -> String {
    let at = failed.item as usize;
    let text = |item: Option<&std::ffi::CString>| {
        item.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let program = text(spec.process.argv.first());
    if failed.step == Step::Exec && failed.errno == libc::ENOENT {
        return if program.contains('/') {
            format!("exec: {program:?}: stat {program}: no such file or directory")
        } else {
            format!("exec: {program:?}: executable file not found in $PATH")
        };
    }
    let item = match failed.step {
        Step::Mount => text(spec.mounts.get(at).map(|mount| &mount.path)),
        Step::Device => text(spec.devices.get(at).map(|device| &device.path)),
        Step::Link => text(spec.links.get(at).map(|link| &link.path)),
        Step::Mask => text(spec.masked.get(at)),
        Step::Readonly => text(spec.readonly.get(at)),
        Step::WorkingDirectory => text(Some(&spec.process.cwd)),
        Step::Exec => format!("{program:?}"),
        _ => String::new(),
    };
    supervisor::sentence(failed, &item)
}

impl Container {
    pub(super) fn new(
        record: ContainerRecord,
        sandbox: Arc<Sandbox>,
        directory: std::path::PathBuf,
    ) -> Container {
        let (id, run) = (record.id.clone(), Mutex::new(Run::default()));
        let ended = watch::Sender::new(false);
        Container { id, sandbox, directory, record: Mutex::new(record), run, ended }
    }

    pub(super) async fn wait_end(&self, patience: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        let waited = tokio::time::timeout(patience, ended.wait_for(|ended| *ended)).await;
        matches!(waited, Ok(Ok(_)))
    }

    pub(super) fn state(&self) -> ContainerState {
        let (record, run) = (lock(&self.record), lock(&self.run));
        match (&record.failure, run.exit, run.pid) {
            (Some(_), _, _) | (None, Some(_), _) => ContainerState::Exited,
            (None, None, Some(_)) => ContainerState::Running,
            (None, None, None) => ContainerState::Created,
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
        let state = self.state();
        let pod = lock(&self.sandbox.record).config.clone();
        let (record, run) = (lock(&self.record), lock(&self.run));
        let log = launch::log_path(&pod, &record).map(|path| path.to_string_lossy().into_owned());
        let config = &record.config;
        let mut status = ContainerStatus {
            id: self.id.clone(),
            sandbox_id: self.sandbox.id.clone(),
            name: config.name.clone(),
            attempt: config.attempt,
            state,
            created_at_ns: record.created_at_ns,
            started_at_ns: record.started_at_ns,
            image: config.user_image.clone(),
            image_id: record.image_id.clone(),
            image_ref: record.image_ref.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: log.unwrap_or_default(),
            pid: run.pid.filter(|_| state == ContainerState::Running),
            resources: config.resources.clone(),
            user: record.user.clone(),
            ..ContainerStatus::default()
        };
        if let Some(failure) = &record.failure {
            status.finished_at_ns = failure.at_ns;
            status.exit_code = failure.exit_code;
            status.reason = failure.reason.clone();
            status.message = failure.message.clone();
        } else if let Some(exit) = run.exit {
            status.finished_at_ns = exit.finished_at_ns;
            status.exit_code = exit.code;
            status.reason = match (run.is_oom_killed, exit.code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            }
            .into();
        }
        status
    }
}

/// A container shares the pod's PID namespace, or the node's, only if the sandbox agrees.
fn check_namespaces(sandbox: NamespaceMode, container: NamespaceMode) -> Result<()> {
    let is_wrong = container == NamespaceMode::Pod && sandbox != NamespaceMode::Pod;
    if is_wrong {
        return Err(Error::InvalidArgument(
            "namespace_options.pid: the sandbox has no shared PID namespace".into(),
        ));
    }
    Ok(())
}
