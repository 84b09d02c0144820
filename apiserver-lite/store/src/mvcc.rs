//! The multi-version map: every key with its retained versions, and the log of changes in order.
//!
//! Sizes: a cluster with 5,000 pods holds about 30,000 keys and changes some hundred a second. Versions are shared
//! between the chains and the log, so history costs its values once.

use crate::{Entry, Event, Op, Revision, StoreError, Txn};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// What a range read asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    pub prefix: &'a str,
    /// Start after this key; empty: at the prefix.
    pub after: &'a str,
    /// [`Revision::ZERO`]: the newest.
    pub at: Revision,
    /// 0: no limit.
    pub limit: usize,
}

/// The answer of a range read.
#[derive(Debug, Default)]
pub struct Page {
    pub entries: Vec<Arc<Entry>>,
    /// The revision that was read.
    pub revision: Revision,
    /// How many keys of the prefix follow the returned ones.
    pub remaining: usize,
}

/// A key's version; None: a tombstone.
#[derive(Debug)]
struct Version {
    at: Revision,
    entry: Option<Arc<Entry>>,
}

#[derive(Debug)]
pub struct Mvcc {
    revision: Revision,
    compacted: Revision,
    keys: BTreeMap<Arc<str>, Vec<Version>>,
    log: VecDeque<Arc<Event>>,
    /// Bytes of the values that only history holds, roughly.
    history_bytes: usize,
}

impl Default for Mvcc {
    fn default() -> Self {
        Mvcc {
            revision: Revision::FIRST,
            compacted: Revision::ZERO,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            history_bytes: 0,
        }
    }
}

impl Mvcc {
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The compacted revision; older ones cannot be read.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.keys.get(key)?.last()?.entry.as_ref()
    }

    /// The key that keeps `txn` from applying.
    pub fn conflict<'t>(&self, txn: &'t Txn) -> Option<&'t str> {
        let changed = |guard: &&crate::Guard| {
            let present = self.get(&guard.key).map_or(Revision::ZERO, |e| e.mod_revision);
            present != guard.mod_revision
        };
        txn.guards.iter().find(changed).map(|guard| guard.key.as_str())
    }

    /// Applies operations at `revision`, which must be newer than every other, and returns what watchers are to see.
    pub fn apply(&mut self, revision: Revision, ops: Vec<Op>) -> Vec<Arc<Event>> {
        assert!(revision > self.revision, "revisions only grow");
        self.revision = revision;
        ops.into_iter().filter_map(|op| self.apply_one(revision, op)).collect()
    }

    fn apply_one(&mut self, revision: Revision, op: Op) -> Option<Arc<Event>> {
        let previous = self.get(op.key()).cloned();
        let key = match self.keys.get_key_value(op.key()) {
            Some((key, _)) => key.clone(),
            None => Arc::from(op.key()),
        };
        let entry = match op {
            Op::Put { value, .. } => {
                let create = previous.as_ref().map_or(revision, |p| p.create_revision);
                let version = previous.as_ref().map_or(1, |p| p.version + 1);
                Some(Arc::new(Entry::new(key.clone(), value, create, revision, version)))
            }
            Op::Delete { .. } if previous.is_none() => return None,
            Op::Delete { .. } => None,
        };
        Some(self.record(revision, key, entry, previous))
    }

    /// Puts back a version read from disk; versions come in the order of their revisions.
    pub fn restore(&mut self, key: Arc<str>, revision: Revision, entry: Option<Arc<Entry>>) {
        self.revision = self.revision.max(revision);
        let previous = self.get(&key).cloned();
        if entry.is_some() || previous.is_some() {
            self.record(revision, key, entry, previous);
        }
    }

    /// Marks what restored history no longer has.
    pub fn restore_compacted(&mut self, at: Revision) {
        self.revision = self.revision.max(at);
        self.compact(at);
    }

    fn record(
        &mut self,
        revision: Revision,
        key: Arc<str>,
        entry: Option<Arc<Entry>>,
        previous: Option<Arc<Entry>>,
    ) -> Arc<Event> {
        self.history_bytes += previous.as_ref().map_or(0, |p| p.value.len()) + key.len();
        let versions = self.keys.entry(key.clone()).or_default();
        versions.push(Version { at: revision, entry: entry.clone() });
        let event = Arc::new(Event { revision, key, entry, previous });
        self.log.push_back(event.clone());
        event
    }

    /// Can `at` be read? Zero means the newest.
    fn readable(&self, at: Revision) -> Result<Revision, StoreError> {
        match at {
            Revision::ZERO => Ok(self.revision),
            at if at > self.revision => Err(StoreError::Future { asked: at, newest: self.revision }),
            at if at < self.compacted => Err(StoreError::Compacted { asked: at, oldest: self.compacted }),
            at => Ok(at),
        }
    }

    pub fn range(&self, query: &Query<'_>) -> Result<Page, StoreError> {
        let at = self.readable(query.at)?;
        let start = match query.after {
            "" => Bound::Included(query.prefix),
            after => Bound::Excluded(after),
        };
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let mut page = Page { revision: at, ..Page::default() };
        let keys = self.keys.range::<str, _>((start, Bound::Unbounded));
        for (_, versions) in keys.take_while(|(key, _)| key.starts_with(query.prefix)) {
            let Some(entry) = visible(versions, at) else {
                continue;
            };
            if page.entries.len() < limit {
                page.entries.push(entry.clone());
            } else {
                page.remaining += 1;
            }
        }
        Ok(page)
    }

    /// The events below `prefix` after a revision.
    pub fn events_after(&self, prefix: &str, after: Revision) -> Result<Vec<Arc<Event>>, StoreError> {
        if after < self.compacted {
            return Err(StoreError::Compacted { asked: after, oldest: self.compacted });
        }
        let first = self.log.partition_point(|event| event.revision <= after);
        Ok(self.log.range(first..).filter(|event| event.key.starts_with(prefix)).cloned().collect())
    }

    /// Forgets every version that was overwritten or deleted at or before `at`.
    pub fn compact(&mut self, at: Revision) {
        let at = at.min(self.revision);
        if at <= self.compacted {
            return;
        }
        self.compacted = at;
        while self.log.front().is_some_and(|event| event.revision <= at) {
            let Some(event) = self.log.pop_front() else { break };
            self.history_bytes -= event.previous.as_ref().map_or(0, |p| p.value.len()) + event.key.len();
            let Some(versions) = self.keys.get_mut(&event.key) else {
                continue;
            };
            let keep = versions.partition_point(|v| v.at <= at).saturating_sub(1);
            versions.drain(..keep);
            let dead = versions.first().is_some_and(|v| v.at <= at && v.entry.is_none());
            if dead {
                versions.remove(0);
            }
            if versions.is_empty() {
                self.keys.remove(&event.key);
            }
        }
    }

    /// The newest revision that is at least `bytes` of history old: what to compact to when history grows too big.
    pub fn revision_beyond(&self, bytes: usize) -> Option<Revision> {
        let mut kept = 0;
        let size =
            |event: &Arc<Event>| event.previous.as_ref().map_or(0, |p| p.value.len()) + event.key.len();
        self.log.iter().rev().find_map(|event| {
            kept += size(event);
            (kept > bytes).then_some(event.revision)
        })
    }
}

fn visible(versions: &[Version], at: Revision) -> Option<&Arc<Entry>> {
    let newer = versions.iter().rev().take_while(|v| v.at > at).count();
    versions[..versions.len() - newer].last()?.entry.as_ref()
}
