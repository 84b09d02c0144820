//! Mirror pods: how the API shows static pods. One that is missing or of an older manifest is made again; one whose static
//! pod is gone goes with the last of its containers.
//!
//! ```text
//!   start ──→ under way ──ok──→ done ──seen by the watch──→ (looked at again)
//!                 └──failed, after a pause──────────────────→ (looked at again)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kedge_api::Pod;
use kedge_api::resource::PODS;
use kedge_client::{Cache, DeleteOptions};
use kedge_kubelet_core::static_pods::{mirror, mirrored};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::agent::Agent;
use crate::static_pods::StaticPod;

/// After a failure; its namespace may not be there yet.
const RETRY: Duration = Duration::from_secs(5);

/// Namespace and name.
type Key = (String, String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    UnderWay,
    /// The watch has shown a change meanwhile.
    Seen,
    /// Waits for the watch to show it.
    Done,
}

pub(crate) struct Mirrors {
    agent: Arc<Agent>,
    states: BTreeMap<Key, State>,
    /// One request per key; each ends with its key and whether it went well.
    pub tasks: JoinSet<(Key, bool)>,
}

pub(crate) fn key(pod: &Pod) -> Key {
    (pod.metadata.namespace.clone(), pod.metadata.name.clone())
}

impl Mirrors {
    pub fn new(agent: Arc<Agent>) -> Mirrors {
        Mirrors { agent, states: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// The watch has shown this pod, or that it is gone.
    pub fn note(&mut self, key: &Key) {
        match self.states.get(key) {
            Some(State::Done) => drop(self.states.remove(key)),
            Some(State::UnderWay) => drop(self.states.insert(key.clone(), State::Seen)),
            Some(State::Seen) | None => {}
        }
    }

    /// A request has ended.
    pub fn ended(&mut self, key: Key, went_well: bool) {
        match self.states.get(&key) {
            Some(State::UnderWay) if went_well => drop(self.states.insert(key, State::Done)),
            _ => drop(self.states.remove(&key)),
        }
    }

    /// Begins what is missing. `lives` tells whether something of a static pod is still there.
    pub fn keep(
        &mut self,
        statics: &BTreeMap<String, Arc<StaticPod>>,
        cache: &Cache<Pod>,
        lives: impl Fn(&str) -> bool,
    ) {
        for (uid, wanted) in statics {
            let (namespace, name) = key(&wanted.pod);
            match cache.get(&namespace, &name) {
                None => self.make(wanted),
                Some(seen) if mirrored(&seen).is_none() => {}
                Some(seen) => {
                    let is_current =
                        mirrored(&seen) == Some(uid) && seen.metadata.deletion_timestamp.is_none();
                    if !is_current {
                        self.remove(&seen);
                    }
                }
            }
        }
        for pod in cache.list() {
            let of_gone = mirrored(&pod).is_some_and(|uid| !statics.contains_key(uid) && !lives(uid));
            if of_gone {
                self.remove(&pod);
            }
        }
    }

    fn make(&mut self, wanted: &StaticPod) {
        let Some(node) = self.agent.node.borrow().clone() else { return };
        let (key, object) = (key(&wanted.pod), mirror(&wanted.object, &node));
        let agent = Arc::clone(&self.agent);
        self.begin(key, move |key| async move {
            agent.client.create::<Value>(PODS, &key.0, &object).await.map(drop)
        });
    }

    fn remove(&mut self, seen: &Pod) {
        let options = DeleteOptions {
            grace_period_s: Some(0),
            uid: Some(seen.metadata.uid.clone()),
            ..DeleteOptions::default()
        };
        let agent = Arc::clone(&self.agent);
        self.begin(key(seen), move |key| async move {
            agent.client.delete(PODS, &key.0, &key.1, &options).await.map(drop)
        });
    }

    fn begin<F>(&mut self, key: Key, request: impl FnOnce(Key) -> F)
    where
        F: Future<Output = Result<(), kedge_client::Error>> + Send + 'static,
    {
        if self.states.contains_key(&key) {
            return;
        }
        self.states.insert(key.clone(), State::UnderWay);
        let request = request(key.clone());
        self.tasks.spawn(async move {
            let went_well = match request.await {
                Ok(()) => true,
                // Somebody was faster; what the watch shows decides.
                Err(error) if error.is_not_found() || error.is_conflict() || error.is_already_exists() => {
                    true
                }
                Err(error) => {
                    tracing::warn!(%error, pod = format!("{}/{}", key.0, key.1), "mirror pod");
                    tokio::time::sleep(RETRY).await;
                    false
                }
            };
            (key, went_well)
        });
    }
}
