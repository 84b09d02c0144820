//! Which container a request of the API server means: what the 10250 server asks for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kedge_cri_api::{ContainerId, SandboxId};

/// Where a container of a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlace {
    pub id: ContainerId,
    pub is_running: bool,
    /// `…/<attempt>.log`; rotated files lie beside it.
    pub log_path: PathBuf,
    pub tty: bool,
    pub stdin: bool,
}

/// Pods of this node by name; what it answers changes as pods do.
pub trait Lookup: Send + Sync {
    /// The newest container of this name, or with `previous` the one before it.
    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Option<ContainerPlace>;
    fn sandbox(&self, namespace: &str, pod: &str) -> Option<SandboxId>;
    /// The id of a container that has ended, by the pod's status: the runtime may have forgotten it.
    fn ended(&self, namespace: &str, pod: &str, container: &str) -> Option<String>;
}

/// One pod's entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub uid: String,
    pub pod: std::sync::Arc<kedge_api::Pod>,
    pub sandbox: Option<SandboxId>,
    /// Name → places, newest first.
    pub containers: std::collections::BTreeMap<String, Vec<ContainerPlace>>,
}

/// (namespace, name) → entry, written by workers.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<std::collections::BTreeMap<(String, String), Entry>>);

impl Table {
    pub fn set(&self, namespace: &str, name: &str, entry: Entry) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert((namespace.to_owned(), name.to_owned()), entry);
    }

    /// Another pod of the same name may have taken the place already.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        if table.get(&key).is_some_and(|entry| entry.uid == uid) {
            table.remove(&key);
        }
    }

    /// The pods of this node, for `/pods`.
    pub fn pods(&self) -> Vec<serde_json::Value> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.values().filter_map(|entry| serde_json::to_value(entry.pod.as_ref()).ok()).collect()
    }

    fn read<T>(&self, namespace: &str, name: &str, read: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(&(namespace.to_owned(), name.to_owned())).and_then(read)
    }
}

impl Lookup for Table {
    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
    ) -> Option<ContainerPlace> {
        self.read(namespace, pod, |entry| {
            entry.containers.get(container)?.get(usize::from(previous)).cloned()
        })
    }

    fn sandbox(&self, namespace: &str, pod: &str) -> Option<SandboxId> {
        self.read(namespace, pod, |entry| entry.sandbox.clone())
    }

    fn ended(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
        self.read(namespace, pod, |entry| {
            let status = &entry.pod.status;
            let all = status.init_container_statuses.iter().chain(&status.container_statuses);
            let mut all = all.chain(&status.ephemeral_container_statuses);
            let found = all.find(|status| status.name == container && status.state.terminated.is_some())?;
            Some(found.container_id.clone()).filter(|id| !id.is_empty())
        })
    }
}
