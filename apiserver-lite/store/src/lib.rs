//! The store's port: keys with one global revision, as etcd has them.
//!
//! A write is a [`Txn`]: it names the modification revision that each key it depends on must still have, and is applied
//! whole or not at all. Reads come from memory and may ask for any revision that has not been compacted. A watch starts
//! at a revision and misses nothing. Engines (memory here, SQLite in the API server's shell) pass one [`suite`].

mod memory;
mod mvcc;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod watchers;

pub use memory::MemoryStore;
pub use mvcc::{Mvcc, Page, Query};
pub use watchers::{Sink, WatchId, Watchers};

use bytes::Bytes;
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// A point in the history of the store. 0 stands for "never"; the empty store is at 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    pub const ZERO: Revision = Revision(0);
    /// The revision of an empty store, as in etcd.
    pub const FIRST: Revision = Revision(1);

    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One version of one key.
pub struct Entry {
    pub key: Arc<str>,
    pub value: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// 1 for a key just created, then counting.
    pub version: u64,
    derived: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Entry {
    pub fn new(key: Arc<str>, value: Bytes, create: Revision, modified: Revision, version: u64) -> Entry {
        Entry {
            key,
            value,
            create_revision: create,
            mod_revision: modified,
            version,
            derived: OnceLock::new(),
        }
    }

    /// What a reader worked out from the value (labels, other encodings): made once, dropped with the revision. All
    /// readers of one store use one type `T`.
    pub fn derived<T: Any + Send + Sync>(&self, make: impl FnOnce(&Entry) -> T) -> &T {
        let any = self.derived.get_or_init(|| Box::new(make(self)));
        any.downcast_ref().expect("all readers of a store derive the same type")
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{} ({} bytes)", self.key, self.mod_revision, self.value.len())
    }
}

/// One change of one key, as watchers see it.
#[derive(Debug, Clone)]
pub struct Event {
    pub revision: Revision,
    pub key: Arc<str>,
    /// The key after the change; None: it was deleted.
    pub entry: Option<Arc<Entry>>,
    /// The key before the change; None: it did not exist.
    pub previous: Option<Arc<Entry>>,
}

/// What a key must look like for a transaction to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    pub key: String,
    /// Its modification revision; [`Revision::ZERO`]: it does not exist.
    pub mod_revision: Revision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Bytes },
    Delete { key: String },
}

impl Op {
    pub fn key(&self) -> &str {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }
}

/// All operations of a transaction get the same revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
}

/// Why the store refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Decide again on the key's present value.
    #[error("the key {key:?} changed in between")]
    Conflict { key: String },
    /// The history before `oldest` is gone: the reader must start over.
    #[error("revision {asked} has been compacted, the oldest is {oldest}")]
    Compacted { asked: Revision, oldest: Revision },
    /// The revision does not exist yet.
    #[error("revision {asked} is newer than the store, which is at {newest}")]
    Future { asked: Revision, newest: Revision },
    /// Nothing was written; the text says what to do.
    #[error("{0}")]
    Failed(String),
    #[error("the store is shut down")]
    Closed,
}

/// Called once with the revision of the applied transaction. May run on the committer's thread: it must be quick.
pub type Done = Box<dyn FnOnce(Result<Revision, StoreError>) + Send>;

/// A store with etcd's semantics. Implementations answer every read from memory.
pub trait Store: Send + Sync {
    /// The newest revision that readers see.
    fn revision(&self) -> Revision;
    /// The newest version of a key.
    fn get(&self, key: &str) -> Option<Arc<Entry>>;
    /// The keys below a prefix, at the newest or at an older revision.
    fn range(&self, query: &Query<'_>) -> Result<Page, StoreError>;
    /// Applies a transaction durably, then calls `done`; readers and watchers see it before that.
    fn commit(&self, txn: Txn, done: Done);
    /// The events below `prefix` (or of the one key `prefix`) after `after`, and from then on every later one to `sink`.
    fn watch(&self, prefix: &str, after: Revision, sink: Box<dyn Sink>) -> Result<Watched, StoreError>;
    /// Ends a watch.
    fn unwatch(&self, id: WatchId);
    /// Forgets what was overwritten or deleted at or before `at`.
    fn compact(&self, at: Revision) -> Result<(), StoreError>;
    /// The oldest revision that can still be read, and about how many bytes the history beyond it takes.
    fn history(&self) -> (Revision, usize);
}

/// A started watch.
pub struct Watched {
    pub id: WatchId,
    /// What happened between the asked revision and the start of the watch.
    pub missed: Vec<Arc<Event>>,
}
