//! A store without a disk: for tests, the simulation and throw-away clusters.

use crate::{
    Done, Entry, Mvcc, Page, Query, Revision, Sink, Store, StoreError, Txn, WatchId, Watched, Watchers,
};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mvcc: Mvcc,
    watchers: Watchers,
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no sink panics while the store is locked")
    }
}

impl Store for MemoryStore {
    fn revision(&self) -> Revision {
        self.state().mvcc.revision()
    }

    fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.state().mvcc.get(key).cloned()
    }

    fn range(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        self.state().mvcc.range(query)
    }

    fn commit(&self, txn: Txn, done: Done) {
        let result = {
            let mut state = self.state();
            match state.mvcc.conflict(&txn) {
                Some(key) => Err(StoreError::Conflict { key: key.to_owned() }),
                None => {
                    let revision = state.mvcc.revision().next();
                    let events = state.mvcc.apply(revision, txn.ops);
                    state.watchers.publish(&events);
                    Ok(revision)
                }
            }
        };
        done(result);
    }

    fn watch(&self, prefix: &str, after: Revision, sink: Box<dyn Sink>) -> Result<Watched, StoreError> {
        let mut state = self.state();
        let missed = state.mvcc.events_after(prefix, after)?;
        Ok(Watched { id: state.watchers.add(prefix, sink), missed })
    }

    fn unwatch(&self, id: WatchId) {
        self.state().watchers.remove(id);
    }

    fn compact(&self, at: Revision) -> Result<(), StoreError> {
        self.state().mvcc.compact(at);
        Ok(())
    }

    fn history(&self) -> (Revision, usize) {
        let state = self.state();
        (state.mvcc.compacted(), state.mvcc.history_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_passes_the_suite() {
        crate::suite::run(&|| Box::new(MemoryStore::default()));
    }
}
