//! The thread that owns the database: group commit and compaction.

use super::Shared;
use super::database::{Database, Row, Written};
use kedge_store::{Done, Event, Op, Revision, StoreError, Txn};
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

/// Transactions in one SQLite transaction at most; the wait for the disk is shared by all of them.
const BATCH: usize = 256;
/// History beyond this is compacted at once, to half of it; `background.rs` keeps it below by age and by size at its leisure.
const HISTORY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Rows dropped between two looks at the queue, so that compaction never holds up a write for long.
const COMPACT_ROWS: usize = 2000;

pub enum Job {
    Commit(Txn, Done),
    Compact(Revision, mpsc::Sender<Result<(), StoreError>>),
}

pub struct Committer {
    database: Database,
    shared: Arc<Shared>,
}

/// A transaction that passed its guards.
struct Accepted {
    revision: Revision,
    rows: Written,
    done: Done,
}

impl Committer {
    pub fn new(database: Database, shared: Arc<Shared>) -> Committer {
        Committer { database, shared }
    }

    pub fn run(mut self, jobs: mpsc::Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let mut batch = Vec::new();
            let mut next = Some(job);
            while let Some(job) = next.take() {
                match job {
                    Job::Commit(txn, done) => batch.push((txn, done)),
                    Job::Compact(at, answer) => {
                        self.commit(std::mem::take(&mut batch));
                        // Nobody waits for the answer any more if the asker is gone.
                        drop(answer.send(self.compact(at, &jobs, &mut batch)));
                    }
                }
                if batch.len() < BATCH {
                    next = jobs.try_recv().ok();
                }
            }
            self.commit(batch);
            self.bound_history();
        }
    }

    /// In memory only: the rows go with the next compaction, which is not waited for here.
    fn bound_history(&self) {
        let mut mvcc = self.shared.write();
        if mvcc.history_bytes() <= HISTORY_BYTES_MAX {
            return;
        }
        if let Some(at) = mvcc.revision_beyond(HISTORY_BYTES_MAX / 2) {
            tracing::warn!(%at, "history grows faster than it ages and is forgotten early");
            mvcc.compact(at);
        }
    }

    fn commit(&mut self, batch: Vec<(Txn, Done)>) {
        let (accepted, refused) = self.check(batch);
        let written = match accepted.is_empty() {
            true => Ok(()),
            false => self.database.write(accepted.iter().map(|a| (a.revision, &a.rows))),
        };
        let mut answers: Vec<(Done, Result<Revision, StoreError>)> = Vec::with_capacity(accepted.len());
        match written {
            Ok(()) => self.publish(accepted, &mut answers),
            Err(text) => {
                tracing::error!(error = %text, "writes were refused");
                answers.extend(accepted.into_iter().map(|a| (a.done, Err(StoreError::Failed(text.clone())))));
            }
        }
        for (done, key) in refused {
            done(Err(StoreError::Conflict { key }));
        }
        for (done, result) in answers {
            done(result);
        }
    }

    /// Gives each transaction whose guards hold its revision. Later ones see the effects of earlier ones.
    fn check(&self, batch: Vec<(Txn, Done)>) -> (Vec<Accepted>, Vec<(Done, String)>) {
        let mvcc = self.shared.read();
        let mut revision = mvcc.revision();
        // Keys written earlier in this batch: (create, modification, version), zero when deleted.
        let mut pending: BTreeMap<String, (Revision, Revision, u64)> = BTreeMap::new();
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for (txn, done) in batch {
            let present = |key: &str| match pending.get(key) {
                Some(state) => *state,
                None => mvcc.get(key).map_or((Revision::ZERO, Revision::ZERO, 0), |e| {
                    (e.create_revision, e.mod_revision, e.version)
                }),
            };
            if let Some(guard) = txn.guards.iter().find(|g| present(&g.key).1 != g.mod_revision) {
                refused.push((done, guard.key.clone()));
                continue;
            }
            revision = revision.next();
            let rows: Written = txn.ops.into_iter().map(|op| row(op, revision, &present)).collect();
            for row in &rows {
                let state = match row.op {
                    Op::Put { .. } => (row.create, revision, row.version),
                    Op::Delete { .. } => (Revision::ZERO, Revision::ZERO, 0),
                };
                pending.insert(row.op.key().to_owned(), state);
            }
            accepted.push(Accepted { revision, rows, done });
        }
        (accepted, refused)
    }

    /// Shows durable transactions to readers and watchers.
    fn publish(&self, accepted: Vec<Accepted>, answers: &mut Vec<(Done, Result<Revision, StoreError>)>) {
        let mut mvcc = self.shared.write();
        let mut events: Vec<Arc<Event>> = Vec::new();
        for transaction in accepted {
            let ops = transaction.rows.into_iter().map(|row| row.op).collect();
            events.extend(mvcc.apply(transaction.revision, ops));
            answers.push((transaction.done, Ok(transaction.revision)));
        }
        // Under the map's lock: a watch that starts has either read these events or gets them.
        self.shared.watchers.lock().expect("sinks do not panic").publish(&events);
    }

    fn compact(
        &mut self,
        at: Revision,
        jobs: &mpsc::Receiver<Job>,
        batch: &mut Vec<(Txn, Done)>,
    ) -> Result<(), StoreError> {
        self.shared.write().compact(at);
        while self.database.compact(at, COMPACT_ROWS).map_err(StoreError::Failed)? == COMPACT_ROWS {
            while let Ok(job) = jobs.try_recv() {
                match job {
                    Job::Commit(txn, done) => batch.push((txn, done)),
                    // The running compaction covers it, or the next one will.
                    Job::Compact(_, answer) => drop(answer.send(Ok(()))),
                }
            }
            self.commit(std::mem::take(batch));
        }
        self.database.vacuum();
        Ok(())
    }
}

fn row(op: Op, revision: Revision, present: &dyn Fn(&str) -> (Revision, Revision, u64)) -> Row {
    let (create, modified, version) = present(op.key());
    match modified {
        Revision::ZERO => Row { op, create: revision, version: 1 },
        _ => Row { op, create, version: version + 1 },
    }
}
