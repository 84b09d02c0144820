//! The loop of one controller: changes → keys → a queue → at most [`WORKERS`] keys at a time.

use crate::caches::Caches;
use kedge_api::Time;
use kedge_controllers_core::{Changed, KindId, View};
use kedge_machinery::{ObjectKey, WorkQueue};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};

/// Upstream's `--concurrent-deployment-syncs` and its like.
pub const WORKERS: usize = 5;

/// What came of one key.
#[derive(Debug, Default)]
pub struct Outcome {
    pub requeue_at: Option<Time>,
    /// The key is tried again with back-off, and is told these words.
    pub failure: Option<String>,
}

/// A controller as the runner sees it.
#[async_trait::async_trait]
pub trait Work: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    fn watches(&self) -> &'static [KindId];
    fn keys(&self, change: &Changed, view: &View<'_>) -> Vec<ObjectKey>;
    async fn work(&self, key: &ObjectKey, last_failure: Option<String>) -> Outcome;
}

struct Loop<W> {
    work: Arc<W>,
    queue: WorkQueue<ObjectKey>,
    running: JoinSet<Outcome>,
    keys: BTreeMap<Id, ObjectKey>,
    failures: BTreeMap<ObjectKey, String>,
    started: Instant,
}

pub async fn run<W: Work>(work: Arc<W>, caches: Arc<Caches>) {
    caches.synced().await;
    let (sender, mut changes) = mpsc::channel(1);
    for kind in work.watches() {
        caches.forward(*kind, sender.clone());
    }
    let mut state = Loop {
        work,
        queue: WorkQueue::default(),
        running: JoinSet::new(),
        keys: BTreeMap::new(),
        failures: BTreeMap::new(),
        started: Instant::now(),
    };
    loop {
        state.start_workers();
        let sleep = state.until_due();
        // Every arm may be dropped: receiving and joining lose nothing, and the timer is computed anew.
        tokio::select! {
            Some(batch) = changes.recv() => state.enqueue(&batch, &caches),
            Some(ended) = state.running.join_next_with_id() => state.finish(ended),
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

impl<W: Work> Loop<W> {
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn until_due(&self) -> Duration {
        let full = self.running.len() >= WORKERS;
        match self.queue.next_due() {
            Some(at) if !full => at.saturating_sub(self.now()),
            _ => Duration::from_secs(3600),
        }
    }

    fn enqueue(&mut self, batch: &[Changed], caches: &Caches) {
        let view = caches.view();
        for change in batch {
            for key in self.work.keys(change, &view) {
                self.queue.add(key);
            }
        }
    }

    fn start_workers(&mut self) {
        while self.running.len() < WORKERS {
            let now = self.now();
            let Some(key) = self.queue.take(now) else { return };
            let work = Arc::clone(&self.work);
            let last_failure = self.failures.remove(&key);
            let task_key = key.clone();
            let handle = self.running.spawn(async move { work.work(&task_key, last_failure).await });
            self.keys.insert(handle.id(), key);
        }
    }

    fn finish(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        let now = self.now();
        match ended {
            Ok((_, Outcome { failure: Some(words), .. })) => {
                tracing::debug!(controller = self.work.name(), %key, words, "will try again");
                self.failures.insert(key.clone(), words);
                self.queue.failed(&key, now);
            }
            Ok((_, Outcome { requeue_at, .. })) => {
                self.queue.done(&key);
                if let Some(at) = requeue_at {
                    self.queue.add_at(key, now + until(at));
                }
            }
            Err(error) => {
                tracing::error!(controller = self.work.name(), %key, %error, "panicked; the key is tried again");
                self.queue.failed(&key, now);
            }
        }
    }
}

/// Seconds since the epoch, as the API counts.
pub fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn until(at: Time) -> Duration {
    let seconds = at.0.saturating_sub(wall_clock().0);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
