//! The scheduler's loop: changes of pods and nodes into the core, bindings and refusals out to the API server.
//!
//! Tasks: [`run`] owns the state; each request to the API server is a task of its own in a `JoinSet` of at most
//! [`REQUESTS_MAX`], which reports back when it ends.

mod report;
mod requests;
#[cfg(test)]
mod tests;

pub use report::{Error, why};

use kedge_api::{Node, Pod};
use kedge_client::{Cache, Client, Event, Recorder};
use kedge_machinery::Change;
use kedge_scheduler_core::{Action, PodUid, SCHEDULER_NAME, Scheduler, writes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

/// Requests under way; decisions wait while there are this many.
pub const REQUESTS_MAX: usize = 64;

/// A request that ended.
enum Done {
    Bound,
    NotBound(kedge_client::Error),
    Told,
}

/// What a task was started for.
struct Started {
    pod: Arc<Pod>,
    /// None: it only tells of a refusal.
    node: Option<String>,
}

struct Loop {
    client: Client,
    recorder: Recorder,
    scheduler: Scheduler,
    requests: JoinSet<Done>,
    started: BTreeMap<Id, Started>,
    epoch: Instant,
}

/// Schedules until `shutdown` says so. Everything it knows it reads from the caches, so it may be started again at any time.
pub async fn run(
    client: Client,
    pods: Arc<Cache<Pod>>,
    nodes: Arc<Cache<Node>>,
    mut shutdown: watch::Receiver<bool>,
) {
    tokio::select! {
        () = async { tokio::join!(pods.synced(), nodes.synced()); } => {}
        _ = shutdown.wait_for(|stop| *stop) => return,
    }
    let (mut pod_changes, mut node_changes) = (pods.subscribe(), nodes.subscribe());
    let mut state = Loop::new(client);
    state.know(&nodes.list());
    loop {
        state.act();
        let wait = state.until_due();
        // Every arm may be dropped: changes and joins lose nothing, and the timer is computed anew.
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return,
            changes = node_changes.changes() => state.nodes_changed(changes),
            changes = pod_changes.changes() => state.pods_changed(changes),
            Some(ended) = state.requests.join_next_with_id() => state.ended(ended),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Loop {
    fn new(client: Client) -> Loop {
        Loop {
            recorder: Recorder::start(client.clone(), SCHEDULER_NAME, ""),
            client,
            scheduler: Scheduler::new(first_seed()),
            requests: JoinSet::new(),
            started: BTreeMap::new(),
            epoch: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Nodes come first, lest the first pods are told that there are none.
    fn know(&mut self, nodes: &[Arc<Node>]) {
        let now = self.now();
        for node in nodes {
            self.scheduler.node_changed(&node.metadata.name, Some(Arc::clone(node)), now);
        }
    }

    fn nodes_changed(&mut self, changes: Vec<Change<Node>>) {
        let now = self.now();
        for change in changes {
            self.scheduler.node_changed(&change.key.name, change.new, now);
        }
    }

    fn pods_changed(&mut self, changes: Vec<Change<Pod>>) {
        let now = self.now();
        // Places that pods take or free count before any decision: all changes go in before `act`.
        for change in changes {
            self.scheduler.pod_changed(change.old.as_ref(), change.new, now);
        }
    }

    fn until_due(&self) -> Duration {
        match self.scheduler.next_due() {
            Some(at) if self.requests.len() < REQUESTS_MAX => at.saturating_sub(self.now()),
            _ => Duration::from_secs(3600),
        }
    }

    fn act(&mut self) {
        while self.requests.len() < REQUESTS_MAX {
            let now = self.now();
            match self.scheduler.next_action(now) {
                Some(Action::Bind { pod, node }) => self.bind(pod, node),
                Some(Action::Refuse { pod, message }) => self.refuse(pod, &message),
                None => return,
            }
        }
    }

    fn bind(&mut self, pod: Arc<Pod>, node: String) {
        let request = requests::bind(self.client.clone(), Arc::clone(&pod), node.clone());
        let task = self.requests.spawn(async move {
            match request.await {
                Ok(()) => Done::Bound,
                Err(error) => Done::NotBound(error),
            }
        });
        self.started.insert(task.id(), Started { pod, node: Some(node) });
    }

    fn refuse(&mut self, pod: Arc<Pod>, message: &str) {
        tracing::debug!(pod = pod.full_name(), message, "fits nowhere");
        self.tell(&pod, "Warning", "FailedScheduling", message);
        let Some(patch) = writes::unschedulable(&pod, message, wall_clock()) else {
            return;
        };
        let request = requests::patch_status(self.client.clone(), Arc::clone(&pod), patch);
        let task = self.requests.spawn(async move {
            request.await;
            Done::Told
        });
        self.started.insert(task.id(), Started { pod, node: None });
    }

    fn ended(&mut self, ended: Result<(Id, Done), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(Started { pod, node }) = self.started.remove(&id) else {
            return;
        };
        let Some(node) = node else { return };
        let (failure, is_certain) = match ended {
            Ok((_, Done::Bound | Done::Told)) => return self.bound(&pod, &node),
            Ok((_, Done::NotBound(error))) => (error.to_string(), !error.is_retryable()),
            Err(error) => (error.to_string(), false),
        };
        tracing::warn!(pod = pod.full_name(), node, failure, "not bound, will try again");
        let message = format!("running Bind plugin \"DefaultBinder\": {failure}");
        self.tell(&pod, "Warning", "FailedScheduling", &message);
        let now = self.now();
        match is_certain {
            true => self.scheduler.bind_refused(&pod, now),
            false => self.scheduler.bind_unsure(&PodUid::of(&pod), now),
        }
    }

    fn bound(&mut self, pod: &Pod, node: &str) {
        self.scheduler.bound(&PodUid::of(pod));
        tracing::info!(pod = pod.full_name(), node, "bound");
        let message = format!("Successfully assigned {} to {node}", pod.full_name());
        self.tell(pod, "Normal", "Scheduled", &message);
    }

    fn tell(&self, pod: &Pod, kind: &'static str, reason: &str, message: &str) {
        let message = writes::truncate(message);
        self.recorder.tell(Event { about: writes::reference(pod), kind, reason: reason.to_owned(), message });
    }
}

fn wall_clock() -> kedge_api::Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    kedge_api::Time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Another start in every process, so that a scheduler that is restarted often does not prefer the first nodes.
fn first_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos())
}
