//! What the pod has on the node's disk, looked at every now and then where it has a limit.

use std::sync::Arc;

use kedge_cri_api::ContainerId;
use kedge_kubelet_core::Moment;
use kedge_kubelet_core::events::Event;
use kedge_kubelet_core::eviction::{self, Usage};
use kedge_kubelet_core::volumes::{Content, Medium};

use super::{Input, Worker};
use crate::disk;
use crate::events::tell_pod;
use crate::node::now;

/// No kernel announces that a tree of files has grown; upstream looks as often.
const EVERY_S: i64 = 10;

#[derive(Default)]
pub(super) struct Storage {
    measuring: bool,
    next_at: Option<Moment>,
}

impl Worker {
    /// Starts to measure when it is time. Returns when that is.
    pub(super) fn watch_storage(&mut self, at: Moment) -> Option<Moment> {
        if self.storage.measuring || !eviction::is_limited(&self.pod) {
            return None;
        }
        let next_at = *self.storage.next_at.get_or_insert(at.after_s(EVERY_S));
        if at < next_at {
            return Some(next_at);
        }
        self.storage.measuring = true;
        let logs = self.agent.settings.log_folder(&self.pod);
        let containers: Vec<_> = self
            .observed
            .running()
            .map(|status| (status.name.clone(), ContainerId(status.id.clone()), logs.join(&status.name)))
            .collect();
        let on_disk = |content: &Content| matches!(content, Content::EmptyDir { medium: Medium::Disk, .. });
        let volumes = self.volumes.plans.iter().filter(|plan| on_disk(&plan.content));
        let volumes: Vec<_> = volumes.map(|plan| (plan.name.clone(), plan.path.clone())).collect();
        let (runtime, sender) = (Arc::clone(&self.agent.runtime), self.sender.clone());
        tokio::spawn(async move {
            let mut usage = Usage::default();
            for (name, id, logs) in containers {
                // A container that has just ended counts again when it is restarted.
                let layer = runtime.container_stats(&id).await.map_or(0, |stats| stats.writable_layer_bytes);
                usage.containers.insert(name, layer + measure(logs).await);
            }
            for (name, path) in volumes {
                usage.volumes.insert(name, measure(path).await);
            }
            // A worker that has ended needs no answer.
            let _ = sender.send(Input::Measured(usage)).await;
        });
        None
    }

    pub(super) fn measured(&mut self, usage: &Usage) {
        self.storage = Storage { measuring: false, next_at: Some(now().after_s(EVERY_S)) };
        if self.progress.ending.is_some() {
            return;
        }
        if let Some(ending) = eviction::over_limit(&self.pod, usage) {
            let event = Event::warning(eviction::EVICTED, ending.message.clone());
            tell_pod(&self.agent.recorder, &self.pod, event);
            self.progress.ending = Some(ending);
        }
    }
}

async fn measure(path: std::path::PathBuf) -> u64 {
    // Only a panic inside fails it, and then there is nothing to count.
    tokio::task::spawn_blocking(move || disk::usage(&path)).await.unwrap_or(0)
}
