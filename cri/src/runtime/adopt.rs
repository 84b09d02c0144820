//! Finding again what runs: every pod folder whose supervisor answers is taken over, every other one is killed and removed.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use kedge_cri_api::{Error, Result};
use kedge_pause_wire::message::{Nothing, State};
use kedge_pause_wire::{Event, Request};
use kedge_sys::socket;

use super::records::{self, ContainerRecord, Exit, SandboxRecord};
use super::{Container, Cri, Sandbox, blocking, internal, lock, mounts};

impl Cri {
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<()> {
        let pods = self.roots.run.join("pods");
        for entry in fs::read_dir(&pods).map_err(internal("read the run directory"))?.flatten() {
            let directory = entry.path();
            if let Err(error) = self.adopt_sandbox(&directory).await {
                tracing::warn!(folder = %directory.display(), %error, "pod not adopted: removing what is left of it");
                if let Err(error) = self.clear_folder(&directory).await {
                    tracing::warn!(folder = %directory.display(), %error, "a dead pod is not cleared yet");
                    self.keep_remains(&directory);
                }
            }
        }
        self.remove_stray_layers()?;
        self.remove_stray_groups().await?;
        self.hold_images();
        let ids: Vec<String> = lock(&self.state).sandboxes.keys().cloned().collect();
        let kept = self.network.retain(&ids).await;
        kept.map_err(|error| Error::Unavailable(format!("release networks of pods that are gone: {error}")))
    }

    async fn adopt_sandbox(self: &Arc<Self>, directory: &Path) -> Result<()> {
        let record: SandboxRecord =
            records::read_json(directory, "sandbox.json").map_err(internal("read sandbox.json"))?;
        if record.boot_id != self.roots.boot_id {
            return Err(Error::FailedPrecondition("it belongs to another boot".into()));
        }
        if record.is_starting {
            return Err(Error::FailedPrecondition("its sandbox was never finished".into()));
        }
        let is_stopped = record.is_stopped;
        let sandbox = remains(directory, record);
        let state = if is_stopped { State::default() } else { self.meet(&sandbox).await? };
        self.adopt_containers(&sandbox, &state)?;
        lock(&self.state).sandboxes.insert(sandbox.id.clone(), sandbox);
        Ok(())
    }

    /// A pod that cannot be cleared (a process in uninterruptible sleep) is one that is not ready: the kubelet removes it as
    /// often as it takes, and the node starts without waiting for it.
    fn keep_remains(&self, directory: &Path) {
        if let Ok(record) = records::read_json::<SandboxRecord>(directory, "sandbox.json") {
            let sandbox = remains(directory, record);
            lock(&self.state).sandboxes.insert(sandbox.id.clone(), sandbox);
        }
    }

    /// Connects, and believes only the process that this folder was written for.
    async fn meet(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<State> {
        let connected = (|| {
            let folder: OwnedFd = fs::File::open(&sandbox.directory)?.into();
            let connection = socket::connect(folder.as_fd(), "pause.sock")?;
            let peer = socket::peer(connection.as_fd())?;
            let is_ours = peer.uid == 0 && peer.pid == lock(&sandbox.record).pause_pid;
            if is_ours { Ok(connection) } else { Err(std::io::Error::other("another process answers")) }
        })();
        let connection = connected.map_err(internal("connect to the pod's supervisor"))?;
        self.listen(sandbox, connection)?;
        let supervisor = sandbox.supervisor()?;
        supervisor.hello().await?;
        match supervisor.call(&Request::State(Nothing {}), &[]).await?.0 {
            Event::State(state) if state.ready => Ok(state),
            Event::State(_) => Err(Error::FailedPrecondition("its sandbox was never finished".into())),
            other => Err(Error::Internal(format!("unexpected {other:?}"))),
        }
    }

    fn adopt_containers(&self, sandbox: &Arc<Sandbox>, state: &State) -> Result<()> {
        let entries = fs::read_dir(&sandbox.directory).map_err(internal("read the pod's folder"))?;
        for entry in entries.flatten() {
            let directory = entry.path();
            // Folders without a record (shm, or a creation that was cut short) are no containers.
            let Ok(record) = records::read_json::<ContainerRecord>(&directory, "container.json") else {
                continue;
            };
            let container = Arc::new(Container::new(record, sandbox.clone(), directory));
            self.restore(&container, state);
            lock(&self.state).containers.insert(container.id.clone(), container);
        }
        Ok(())
    }

    fn restore(&self, container: &Container, state: &State) {
        let known = state.containers.iter().find(|known| known.id.to_bytes() == container.id.as_bytes());
        let told = known.and_then(|known| known.exited.as_ref());
        let told =
            told.map(|it| Exit { code: it.code, signal: it.signal, finished_at_ns: it.finished_at_ns });
        let exit = told.or_else(|| records::read_exit(&container.directory));
        let mut run = lock(&container.run);
        run.pid = known.map(|known| known.pid).or(exit.map(|_| 0));
        run.exit = exit;
        run.is_oom_killed = container.directory.join("oom").exists()
            || exit.is_some_and(|exit| exit.signal == libc::SIGKILL)
                && self.cgroups.was_oom_killed(&container.group());
        if let Some(known) = known {
            lock(&container.record).started_at_ns = known.started_at_ns;
        }
        let is_over = exit.is_some() || lock(&container.record).failure.is_some();
        container.ended.send_replace(is_over);
        if is_over {
            // The end came while nobody watched: what it left is cleared like at any other end.
            let _ =
                self.cgroups.kill(&container.group()).and_then(|()| self.cgroups.remove(&container.group()));
        }
    }

    /// A folder that nobody answers for: its cgroups are killed, its mounts and files go.
    async fn clear_folder(self: &Arc<Self>, directory: &Path) -> Result<()> {
        let (cri, directory) = (self.clone(), directory.to_path_buf());
        let cleared = blocking(move || {
            if let Ok(record) = records::read_json::<SandboxRecord>(&directory, "sandbox.json") {
                let pod = super::Group::new(&record.config.cgroup_parent, "");
                let names = fs::read_dir(&directory)?
                    .flatten()
                    .map(|entry| entry.file_name().to_string_lossy().into_owned());
                for leaf in names.chain([record.id]).filter(|name| name.len() == 64) {
                    cri.cgroups.kill_and_remove(&pod.below(&leaf))?;
                }
            }
            mounts::unmount(&directory.join("shm"));
            fs::remove_dir_all(&directory)
        });
        cleared.await?.map_err(internal("clear a dead pod's folder"))
    }

    /// Groups of pods without a sandbox, with whatever still runs in them. Nobody makes any before the runtime is open.
    async fn remove_stray_groups(self: &Arc<Self>) -> Result<()> {
        let groups =
            lock(&self.state).sandboxes.values().map(|sandbox| sandbox.group("")).collect::<Vec<_>>();
        let cri = self.clone();
        let removed = blocking(move || {
            for group in cri.cgroups.pods()?.into_iter().filter(|group| !groups.contains(group)) {
                tracing::warn!(?group, "a pod's cgroup has no sandbox: removing it");
                cri.cgroups.kill_and_remove(&group)?;
            }
            Ok(())
        });
        removed.await?.map_err(internal("remove the cgroups of pods that are gone"))
    }

    /// Writable layers without a container: the power went out, or the run directory's tmpfs did.
    fn remove_stray_layers(&self) -> Result<()> {
        let directory = self.roots.state.join("containers");
        for entry in fs::read_dir(&directory).map_err(internal("read the container directory"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !lock(&self.state).containers.contains_key(&name) {
                fs::remove_dir_all(entry.path()).map_err(internal("remove a stray layer"))?;
            }
        }
        Ok(())
    }
}

/// A sandbox as its folder tells of it, without a supervisor.
fn remains(directory: &Path, record: SandboxRecord) -> Arc<Sandbox> {
    Arc::new(Sandbox {
        id: record.id.clone(),
        directory: directory.to_path_buf(),
        record: Mutex::new(record),
        supervisor: Mutex::new(None),
        turn: tokio::sync::Mutex::new(()),
    })
}
