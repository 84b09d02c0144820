//! Writes one pod's status: the newest one wins, and only what differs is sent.
//!
//! Task: one per worker. It ends when the worker drops its end, or when the pod is gone from the API.

use std::sync::Arc;
use std::time::Duration;

use kedge_api::Pod;
use kedge_api::pod::PodStatus;
use kedge_api::resource::PODS;
use kedge_client::PatchKind;
use kedge_machinery::Backoff;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::agent::Agent;
use crate::patch;
use crate::worker::Input;

/// The status to be written, and the pod as it was last seen.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub sequence: u64,
    pub status: Arc<PodStatus>,
    pub seen: Arc<Pod>,
}

fn revision(pod: &Pod) -> u64 {
    pod.metadata.resource_version.parse().unwrap_or(0)
}

pub(crate) async fn run(
    agent: Arc<Agent>,
    mut wanted: watch::Receiver<Option<Wanted>>,
    inputs: mpsc::Sender<Input>,
) {
    let mut written: Option<Arc<Pod>> = None;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    while wanted.changed().await.is_ok() {
        loop {
            let Some(next) = wanted.borrow_and_update().clone() else {
                break;
            };
            // Whichever is newer: what the last write returned, or what the watch has shown.
            let same = |pod: &Arc<Pod>| pod.metadata.uid == next.seen.metadata.uid;
            let base = written
                .clone()
                .filter(|pod| same(pod) && revision(pod) >= revision(&next.seen))
                .unwrap_or_else(|| Arc::clone(&next.seen));
            match write(&agent, &base, &next.status).await {
                Ok(pod) => {
                    backoff.reset();
                    written = Some(pod);
                    if inputs.send(Input::StatusWritten(next.sequence)).await.is_err() {
                        return;
                    }
                    break;
                }
                Err(error) if error.is_conflict() && !is_gone(&agent, &base).await => {
                    // Others write the object faster than we do; that is no reason to end a pod.
                    tracing::debug!(%error, pod = base.full_name(), "the pod's status is written again");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) if error.is_not_found() || error.is_conflict() => {
                    tracing::debug!(%error, pod = base.full_name(), "the pod is gone");
                    if inputs.send(Input::Unwritable).await.is_err() {
                        return;
                    }
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, pod = base.full_name(), "the pod's status is not written");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

/// Says whether a conflict means that another pod has the name, or none: the server says Conflict for a lost race too.
pub(crate) async fn is_gone(agent: &Agent, pod: &Pod) -> bool {
    let meta = &pod.metadata;
    is_another(&meta.uid, agent.client.get::<Pod>(PODS, &meta.namespace, &meta.name).await)
}

fn is_another(uid: &str, answer: kedge_client::Result<Pod>) -> bool {
    match answer {
        Ok(found) => found.metadata.uid != uid,
        // A pod of ours can be read by us: this one is another node's.
        Err(error) => error.is_not_found() || error.is_forbidden(),
    }
}

async fn write(agent: &Agent, base: &Arc<Pod>, status: &PodStatus) -> Result<Arc<Pod>, kedge_client::Error> {
    let value = |status: &PodStatus| serde_json::to_value(status).unwrap_or_default();
    let Some(change) = patch::between(&value(&base.status), &value(status)) else {
        return Ok(Arc::clone(base));
    };
    let meta = &base.metadata;
    let change = json!({"metadata": {"uid": meta.uid}, "status": change});
    let pod: Pod = agent
        .client
        .patch(PODS, &meta.namespace, &meta.name, "status", PatchKind::Strategic, &change)
        .await?;
    Ok(Arc::new(pod))
}

#[cfg(test)]
mod tests {
    use kedge_client::{ApiStatus, Error};

    use super::*;

    /// A server under load says Conflict because others were faster, and the pod lives.
    #[test]
    fn a_lost_race_is_not_the_end_of_a_pod() {
        let pod = |uid: &str| {
            let mut pod = Pod::default();
            pod.metadata.uid = uid.into();
            Ok(pod)
        };
        let refused = |code: u16| Err(Error::Api(ApiStatus { code, ..ApiStatus::default() }));
        let transport = Err(Error::Transport { doing: "GET".into(), cause: "reset".into() });
        let seen = [pod("a"), refused(500), transport, pod("b"), refused(404), refused(403)];
        let gone = seen.map(|answer| is_another("a", answer));
        assert_eq!(gone, [false, false, false, true, true, true]);
    }
}
