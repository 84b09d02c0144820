//! What every engine must do, as tiny scripts: one line is one act and, after `=>`, what is seen.
//!
//! - `put K V [if K2@N]` and `del K [if K2@N]` write; seen is the revision or the error
//! - `get K` sees `V@mod/create/version`
//! - `list PREFIX [after K] [at N] [limit N]` sees the keys, `+N` for what follows, and the revision read
//! - `watch NAME PREFIX after N` sees what was missed; `seen NAME` what arrived since
//! - `unwatch NAME`, `compact N`

use crate::{Done, Event, Guard, Op, Query, Revision, Sink, Store, StoreError, Txn, WatchId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};

const CASES: &[(&str, &str)] = &[
    (
        "one global revision, create and version are kept",
        "get /a => none
         put /a 1 => 2
         put /b 1 => 3
         put /a 2 => 4
         get /a => 2@4/2/2
         del /a => 5
         get /a => none
         put /a 3 => 6
         get /a => 3@6/6/1",
    ),
    (
        "compare and swap on the modification revision",
        "put /a 1 if /a@0 => 2
         put /a 2 if /a@0 => conflict /a
         put /a 2 if /a@2 => 3
         del /a if /a@2 => conflict /a
         put /b 1 if /a@3 => 4
         del /a if /a@3 => 5
         put /a 1 if /a@0 => 6",
    ),
    (
        "ranges, limits and the revision they read",
        "put /p/a 1 => 2
         put /p/b 1 => 3
         put /p/c 1 => 4
         put /q/a 1 => 5
         list /p/ => /p/a /p/b /p/c @5
         list /p/ limit 1 => /p/a +2 @5
         list /p/ after /p/a limit 1 => /p/b +1 @5
         del /p/b => 6
         list /p/ => /p/a /p/c @6
         list /p/ at 3 => /p/a /p/b @3
         list /p/ at 2 => /p/a @2
         list /p/ at 9 => future 6
         list /r/ => @6",
    ),
    (
        "a watch misses nothing and sees only its prefix",
        "put /p/a 1 => 2
         put /p/b 1 => 3
         watch w /p/ after 2 => put /p/b@3
         watch one /p/a after 3 =>
         put /q/a 1 => 4
         put /p/a 2 => 5
         del /p/b => 6
         seen w => put /p/a@5 del /p/b@6
         seen one => put /p/a@5
         unwatch w =>
         put /p/a 3 => 7
         seen w =>
         watch all / after 1 => put /p/a@2 put /p/b@3 put /q/a@4 put /p/a@5 del /p/b@6 put /p/a@7",
    ),
    (
        "compaction forgets versions, tombstones and events, and nothing else",
        "put /a 1 => 2
         put /a 2 => 3
         put /b 1 => 4
         del /b => 5
         put /c 1 => 6
         compact 5 =>
         list / at 4 => compacted 5
         list / at 5 => /a @5
         get /a => 2@3/2/2
         watch w / after 4 => compacted 5
         watch v / after 5 => put /c@6
         put /b 1 if /b@0 => 7
         get /b => 1@7/7/1",
    ),
    (
        "deleting what is not there is a write without an event",
        "watch w / after 1 =>
         del /a => 2
         seen w =>",
    ),
];

/// Runs all cases, each on a store of its own.
pub fn run(make: &dyn Fn() -> Box<dyn Store>) {
    for (name, script) in CASES {
        let mut runner = Runner { store: make(), seen: BTreeMap::new() };
        for line in script.lines() {
            let (act, expected) = line.trim().split_once("=>").expect("a line has =>");
            assert_eq!(runner.act(act.trim()), expected.trim(), "{name}: {line}");
        }
    }
}

/// Commits and waits.
pub fn commit(store: &dyn Store, txn: Txn) -> Result<Revision, StoreError> {
    let (sender, receiver) = mpsc::channel();
    let done: Done = Box::new(move |result| drop(sender.send(result)));
    store.commit(txn, done);
    receiver.recv().expect("a store answers every commit")
}

type Seen = Arc<Mutex<Vec<String>>>;

struct Collect(Seen);

impl Sink for Collect {
    fn send(&self, event: &Arc<Event>) -> bool {
        self.0.lock().expect("unpoisoned").push(show(event));
        true
    }
}

fn show(event: &Event) -> String {
    let act = if event.entry.is_some() { "put" } else { "del" };
    format!("{act} {}@{}", event.key, event.revision)
}

struct Runner {
    store: Box<dyn Store>,
    seen: BTreeMap<String, (WatchId, Seen)>,
}

impl Runner {
    fn act(&mut self, act: &str) -> String {
        let words: Vec<&str> = act.split_whitespace().collect();
        match words.as_slice() {
            ["put", key, value, rest @ ..] => {
                let value = bytes::Bytes::copy_from_slice(value.as_bytes());
                self.write(Op::Put { key: (*key).into(), value }, rest)
            }
            ["del", key, rest @ ..] => self.write(Op::Delete { key: (*key).into() }, rest),
            ["get", key] => match self.store.get(key) {
                None => "none".into(),
                Some(e) => {
                    let value = String::from_utf8_lossy(&e.value).into_owned();
                    format!("{value}@{}/{}/{}", e.mod_revision, e.create_revision, e.version)
                }
            },
            ["list", prefix, rest @ ..] => self.list(prefix, rest),
            ["watch", name, prefix, "after", at] => self.watch(name, prefix, number(at)),
            ["seen", name] => std::mem::take(&mut *self.seen[*name].1.lock().expect("unpoisoned")).join(" "),
            ["unwatch", name] => {
                self.store.unwatch(self.seen[*name].0);
                String::new()
            }
            ["compact", at] => self.store.compact(number(at)).map_or_else(error, |()| String::new()),
            _ => panic!("unknown act {act:?}"),
        }
    }

    fn write(&self, op: Op, rest: &[&str]) -> String {
        let guards = match rest {
            [] => Vec::new(),
            ["if", guard] => {
                let (key, at) = guard.split_once('@').expect("a guard is key@revision");
                vec![Guard { key: key.into(), mod_revision: number(at) }]
            }
            other => panic!("unknown condition {other:?}"),
        };
        commit(&*self.store, Txn { guards, ops: vec![op] }).map_or_else(error, |at| at.to_string())
    }

    fn list(&self, prefix: &str, rest: &[&str]) -> String {
        let mut query = Query { prefix, ..Query::default() };
        for pair in rest.chunks(2) {
            match pair {
                ["after", key] => query.after = key,
                ["at", at] => query.at = number(at),
                ["limit", n] => query.limit = n.parse().expect("a number"),
                other => panic!("unknown option {other:?}"),
            }
        }
        let page = match self.store.range(&query) {
            Ok(page) => page,
            Err(e) => return error(e),
        };
        let mut words: Vec<String> = page.entries.iter().map(|e| e.key.to_string()).collect();
        if page.remaining > 0 {
            words.push(format!("+{}", page.remaining));
        }
        words.push(format!("@{}", page.revision));
        words.join(" ")
    }

    fn watch(&mut self, name: &str, prefix: &str, after: Revision) -> String {
        let seen = Seen::default();
        match self.store.watch(prefix, after, Box::new(Collect(seen.clone()))) {
            Err(e) => error(e),
            Ok(watched) => {
                self.seen.insert(name.into(), (watched.id, seen));
                watched.missed.iter().map(|e| show(e)).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

fn number(text: &str) -> Revision {
    Revision(text.parse().expect("a number"))
}

fn error(error: StoreError) -> String {
    match error {
        StoreError::Conflict { key } => format!("conflict {key}"),
        StoreError::Compacted { oldest, .. } => format!("compacted {oldest}"),
        StoreError::Future { newest, .. } => format!("future {newest}"),
        StoreError::Failed(text) => format!("failed: {text}"),
        StoreError::Closed => "closed".into(),
    }
}
