//! Sandboxes and containers on this node: the trait `Runtime` over pause, cgroups and mounts.
//!
//! ```text
//! port        the trait, one line per call
//! sandboxes   run, stop, remove a pod's sandbox      containers  create, start, stop, remove
//! exec        exec, attach, port-forward             stats       cgroup files
//! adopt       what a previous daemon left            supervisor  the daemon's side of one pause
//! ```
//!
//! Tasks: one listener per sandbox, which takes the ends that its supervisor tells. State is in two maps; an entry's own lock is
//! held for a moment and never across an await. Launches and removals of one sandbox take turns by its `turn` lock.

mod adopt;
mod cgroups;
mod containers;
mod descriptor;
mod exec;
mod launch;
mod mounts;
mod port;
mod records;
mod sandboxes;
mod stats;
mod supervisor;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use kedge_cni_api::Network;
use kedge_cri_api::{Error, Result, RuntimeEvent, RuntimeEventKind};
use kedge_cri_core::launch::NodeFacts;
use kedge_cri_core::seccomp;
use kedge_machinery::Roots;
use tokio::sync::{broadcast, watch};

use crate::rootfs::ImageStore;
use cgroups::{Cgroups, Group};
use records::{ContainerRecord, Exit, SandboxRecord};
use supervisor::Supervisor;

/// Events that a slow reader may be behind before it has to list.
const EVENTS_MAX: usize = 4096;

/// The native runtime of one node.
pub struct Cri {
    /// For the tasks and worker threads that a call starts.
    this: Weak<Cri>,
    roots: Arc<Roots>,
    network: Arc<dyn Network>,
    images: Arc<dyn ImageStore>,
    /// The supervisor's program, sealed: nobody can change what every pod runs.
    pause: OwnedFd,
    cgroups: Cgroups,
    facts: NodeFacts,
    seccomp_defaults: seccomp::Defaults,
    state: Mutex<State>,
    events: broadcast::Sender<RuntimeEvent>,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, Arc<Sandbox>>,
    containers: BTreeMap<String, Arc<Container>>,
}

struct Sandbox {
    id: String,
    directory: PathBuf,
    record: Mutex<SandboxRecord>,
    /// Absent once the sandbox is stopped or its supervisor has died.
    supervisor: Mutex<Option<Arc<Supervisor>>>,
    /// One launch, stop or removal at a time.
    turn: tokio::sync::Mutex<()>,
}

struct Container {
    id: String,
    sandbox: Arc<Sandbox>,
    directory: PathBuf,
    record: Mutex<ContainerRecord>,
    run: Mutex<Run>,
    /// Raised when the process has ended.
    ended: watch::Sender<bool>,
}

/// The changing part of a container.
#[derive(Debug, Clone, Default)]
struct Run {
    pid: Option<i32>,
    exit: Option<Exit>,
    is_oom_killed: bool,
}

/// A lock that no holder poisons: panics abort the component's state with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn internal(doing: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::Internal(format!("{doing}: {error}"))
}

impl Cri {
    /// Opens the runtime and adopts the pods that a previous one left. `pause` is the supervisor's program.
    pub async fn open(
        roots: Arc<Roots>,
        network: Arc<dyn Network>,
        images: Arc<dyn ImageStore>,
        pause: &'static [u8],
    ) -> Result<Arc<Cri>> {
        records::make_directory(&roots.run.join("pods")).map_err(internal("make the run directory"))?;
        records::make_directory(&roots.state.join("containers"))
            .map_err(internal("make the container directory"))?;
        let pause = kedge_sys::memfd::sealed("pause", pause)
            .map_err(|errno| internal("make the pause memfd")(errno.into()))?;
        let cgroups = Cgroups::discover(&roots.cgroup_parent).map_err(internal("find the cgroup trees"))?;
        let facts = launch::node_facts(cgroups.is_v2());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let state = Mutex::default();
        let cri = Arc::new_cyclic(|this| {
            let this = this.clone();
            let seccomp_defaults = seccomp::Defaults::default();
            Cri { this, roots, network, images, pause, cgroups, facts, seccomp_defaults, state, events }
        });
        cri.adopt().await?;
        Ok(cri)
    }

    fn this(&self) -> Arc<Cri> {
        self.this.upgrade().expect("a call runs on a value that somebody holds")
    }

    fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        let found = lock(&self.state).sandboxes.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("sandbox {id:?} not found")))
    }

    fn container(&self, id: &str) -> Result<Arc<Container>> {
        let found = lock(&self.state).containers.get(id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("container {id:?} not found")))
    }

    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        let state = lock(&self.state);
        state.containers.values().filter(|container| container.sandbox.id == sandbox).cloned().collect()
    }

    /// Nobody listening is fine.
    fn tell(&self, sandbox: &Sandbox, container: Option<&str>, kind: RuntimeEventKind) {
        let pod_uid = lock(&sandbox.record).config.uid.clone();
        let (sandbox_id, container_id) = (sandbox.id.clone(), container.map(str::to_owned));
        let _ = self.events.send(RuntimeEvent { pod_uid, sandbox_id, container_id, kind });
    }

    fn hold_images(&self) {
        let ids = lock(&self.state).containers.values().map(|it| lock(&it.record).image_id.clone()).collect();
        self.images.hold(ids);
    }
}

impl Sandbox {
    fn supervisor(&self) -> Result<Arc<Supervisor>> {
        let gone = || Error::FailedPrecondition(format!("sandbox {:?} is not ready", self.id));
        lock(&self.supervisor).clone().ok_or_else(gone)
    }

    fn is_ready(&self) -> bool {
        lock(&self.supervisor).is_some()
    }

    fn group(&self, leaf: &str) -> Group {
        Group::new(&lock(&self.record).config.cgroup_parent, leaf)
    }
}

impl Container {
    fn group(&self) -> Group {
        self.sandbox.group(&self.id)
    }

    fn is_running(&self) -> bool {
        let run = lock(&self.run);
        run.pid.is_some() && run.exit.is_none()
    }
}

/// Runs blocking system calls away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Internal("a worker thread has panicked".into()))
}
