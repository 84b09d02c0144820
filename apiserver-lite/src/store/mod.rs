//! The embedded store: SQLite on disk, every read from memory.
//!
//! Tasks: one committer thread (`committer.rs`) owns the database connection; it takes transactions from a bounded channel,
//! writes as many as are waiting in one SQLite transaction, then shows them to readers and watchers and answers. When the
//! channel is full, writers wait. Dropping the [`SqliteStore`] closes the channel, and the thread finishes what it has.

mod committer;
mod database;

pub use database::OpenError;

use committer::{Committer, Job};
use database::Database;
use kedge_store::{
    Done, Entry, Mvcc, Page, Query, Revision, Sink, Store, StoreError, Txn, WatchId, Watched, Watchers,
};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread::JoinHandle;

/// Transactions that may wait for the committer.
const QUEUE: usize = 4096;

pub struct SqliteStore {
    shared: Arc<Shared>,
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the committer share.
pub(crate) struct Shared {
    mvcc: RwLock<Mvcc>,
    watchers: Mutex<Watchers>,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Mvcc> {
        self.mvcc.read().expect("the map's lock is never poisoned: nothing under it panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Mvcc> {
        self.mvcc.write().expect("the map's lock is never poisoned: nothing under it panics")
    }
}

impl SqliteStore {
    /// Opens or creates the database and starts the committer.
    pub fn open(path: &Path) -> Result<SqliteStore, OpenError> {
        let mut database = Database::open(path)?;
        let mvcc = database.load()?;
        let shared = Arc::new(Shared { mvcc: RwLock::new(mvcc), watchers: Mutex::default() });
        let (sender, receiver) = mpsc::sync_channel(QUEUE);
        let committer = Committer::new(database, shared.clone());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(receiver))
            .map_err(|e| OpenError::Thread(e.to_string()))?;
        Ok(SqliteStore { shared, jobs: Some(sender), thread: Mutex::new(Some(thread)) })
    }

    fn submit(&self, job: Job) -> Result<(), StoreError> {
        let sender = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        sender.send(job).map_err(|_| StoreError::Closed)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // A committer that panicked has logged its panic; there is nothing left to wait for.
            drop(thread.join());
        }
    }
}

impl Store for SqliteStore {
    fn revision(&self) -> Revision {
        self.shared.read().revision()
    }

    fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared.read().get(key).cloned()
    }

    fn range(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        self.shared.read().range(query)
    }

    fn commit(&self, txn: Txn, done: Done) {
        if let Err(mpsc::SendError(Job::Commit(_, done))) = match self.jobs.as_ref() {
            Some(sender) => sender.send(Job::Commit(txn, done)),
            None => Err(mpsc::SendError(Job::Commit(txn, done))),
        } {
            done(Err(StoreError::Closed));
        }
    }

    fn watch(&self, prefix: &str, after: Revision, sink: Box<dyn Sink>) -> Result<Watched, StoreError> {
        // The read lock is held over both steps, so that no event falls between them.
        let mvcc = self.shared.read();
        let missed = mvcc.events_after(prefix, after)?;
        let mut watchers = self.shared.watchers.lock().expect("sinks do not panic");
        Ok(Watched { id: watchers.add(prefix, sink), missed })
    }

    fn unwatch(&self, id: WatchId) {
        self.shared.watchers.lock().expect("sinks do not panic").remove(id);
    }

    fn compact(&self, at: Revision) -> Result<(), StoreError> {
        let (sender, receiver) = mpsc::channel();
        self.submit(Job::Compact(at, sender))?;
        receiver.recv().map_err(|_| StoreError::Closed)?
    }

    fn history(&self) -> (Revision, usize) {
        let mvcc = self.shared.read();
        (mvcc.compacted(), mvcc.history_bytes())
    }
}

#[cfg(test)]
mod tests;
