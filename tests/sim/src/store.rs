//! The store under random writes, crashes and compaction, against a model that keeps everything.
//!
//! A crash loses what was not acknowledged: the durable rows are replayed as the SQLite engine does at start. After every step
//! the map must answer as the model does, at every revision that is not compacted, and a watch must have seen each change once.

use crate::random::Random;
use bytes::Bytes;
use kedge_store::{Entry, Guard, Mvcc, Op, Query, Revision, StoreError, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: [&str; 4] = ["/p/a", "/p/b", "/q/a", "/q/b"];

/// One durable row: what the database holds of one operation.
#[derive(Debug, Clone)]
struct Row {
    revision: Revision,
    key: &'static str,
    /// None: a tombstone. Else create revision, version, value.
    put: Option<(Revision, u64, String)>,
}

/// The newest state of every key, by revision.
type Snapshot = BTreeMap<&'static str, String>;

#[derive(Default)]
struct World {
    mvcc: Mvcc,
    rows: Vec<Row>,
    snapshots: BTreeMap<Revision, Snapshot>,
    compacted: Revision,
    /// Where the watch of `/p/` is, and what it has seen.
    watched: Revision,
    seen: Vec<String>,
    expected: Vec<String>,
}

/// Runs `steps` steps of a seed; the error says what went wrong and where.
pub fn run(seed: u64, steps: usize) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut world = World { watched: Revision::FIRST, ..World::default() };
    world.snapshots.insert(Revision::FIRST, Snapshot::new());
    for step in 0..steps {
        let act = match random.below(10) {
            0 => world.crash(),
            1 => world.compact(&mut random),
            2 => world.watch(),
            _ => world.write(&mut random),
        };
        world.check().map_err(|why| format!("seed {seed} step {step} after {act}: {why}"))?;
    }
    Ok(())
}

impl World {
    fn write(&mut self, random: &mut Random) -> &'static str {
        let key = KEYS[random.below(KEYS.len() as u64) as usize];
        let present = self.mvcc.get(key).map_or(Revision::ZERO, |entry| entry.mod_revision);
        let stale = random.below(4) == 0;
        let mod_revision = if stale { present.next() } else { present };
        let delete = random.below(3) == 0;
        let value = format!("{}", random.below(1000));
        let op = match delete {
            true => Op::Delete { key: key.into() },
            false => Op::Put { key: key.into(), value: Bytes::from(value.clone()) },
        };
        let txn = Txn { guards: vec![Guard { key: key.into(), mod_revision }], ops: vec![op] };
        if self.mvcc.conflict(&txn).is_some() {
            return "a refused write";
        }
        let revision = self.mvcc.revision().next();
        let mut snapshot = self.snapshots.last_key_value().map(|(_, s)| s.clone()).unwrap_or_default();
        let existed = match delete {
            true => snapshot.remove(key).is_some(),
            false => snapshot.insert(key, value.clone()).is_some(),
        };
        self.mvcc.apply(revision, txn.ops);
        let put = self.mvcc.get(key).map(|entry| (entry.create_revision, entry.version, value));
        self.rows.push(Row { revision, key, put });
        self.snapshots.insert(revision, snapshot);
        if key.starts_with("/p/") && (!delete || existed) {
            self.expected.push(format!("{key}@{revision}"));
        }
        "a write"
    }

    /// The process dies; the next one reads the rows back.
    fn crash(&mut self) -> &'static str {
        let mut mvcc = Mvcc::default();
        for row in &self.rows {
            let key: Arc<str> = row.key.into();
            let entry = row.put.as_ref().map(|(create, version, value)| {
                let value = Bytes::from(value.clone());
                Arc::new(Entry::new(key.clone(), value, *create, row.revision, *version))
            });
            mvcc.restore(key, row.revision, entry);
        }
        mvcc.restore_compacted(self.compacted);
        self.mvcc = mvcc;
        "a crash"
    }

    fn compact(&mut self, random: &mut Random) -> &'static str {
        // Never beyond the watch, which would have to start over.
        let newest = self.watched.0.max(1);
        let at = Revision(self.compacted.0.max(random.below(newest + 1)));
        self.mvcc.compact(at);
        self.compacted = at;
        "a compaction"
    }

    fn watch(&mut self) -> &'static str {
        let events = self.mvcc.events_after("/p/", self.watched).unwrap_or_default();
        self.seen.extend(events.iter().map(|event| format!("{}@{}", event.key, event.revision)));
        self.watched = self.mvcc.revision();
        if self.seen == self.expected { "a watch" } else { "a watch that missed something" }
    }

    fn check(&self) -> Result<(), String> {
        if self.watched == self.mvcc.revision() && self.seen != self.expected {
            return Err(format!("seen {:?}, expected {:?}", self.seen, self.expected));
        }
        for (revision, snapshot) in &self.snapshots {
            let query = Query { prefix: "/", at: *revision, ..Query::default() };
            match self.mvcc.range(&query) {
                Err(StoreError::Compacted { .. }) if *revision < self.compacted => {}
                Err(error) => return Err(format!("at {revision}: {error}")),
                Ok(_) if *revision < self.compacted => {
                    return Err(format!("{revision} is compacted and readable"));
                }
                Ok(page) => {
                    let found: BTreeMap<&str, String> = page
                        .entries
                        .iter()
                        .map(|e| (&*e.key, String::from_utf8_lossy(&e.value).into_owned()))
                        .collect();
                    if found != *snapshot {
                        return Err(format!("at {revision}: {found:?}, expected {snapshot:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fresh_seeds_hold() {
        for seed in 0..200 {
            super::run(seed, 120).unwrap();
        }
    }
}
