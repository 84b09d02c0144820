use super::*;
use bytes::Bytes;
use kedge_store::suite::commit;
use kedge_store::{Guard, Op};

fn put(key: &str, value: &str) -> Txn {
    let op = Op::Put { key: key.into(), value: Bytes::copy_from_slice(value.as_bytes()) };
    Txn { guards: vec![], ops: vec![op] }
}

fn delete(key: &str) -> Txn {
    Txn { guards: vec![], ops: vec![Op::Delete { key: key.into() }] }
}

#[test]
fn sqlite_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    kedge_store::suite::run(&|| {
        count.set(count.get() + 1);
        Box::new(SqliteStore::open(&folder.path().join(format!("{}.db", count.get()))).unwrap())
    });
}

#[test]
fn everything_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let before = {
        let store = SqliteStore::open(&path).unwrap();
        commit(&store, put("/a", "1")).unwrap();
        commit(&store, put("/a", "2")).unwrap();
        commit(&store, put("/b", "1")).unwrap();
        commit(&store, delete("/b")).unwrap()
    };
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.revision(), before);
    let a = store.get("/a").unwrap();
    assert_eq!((&a.value[..], a.create_revision.0, a.mod_revision.0, a.version), (&b"2"[..], 2, 3, 2));
    assert!(store.get("/b").is_none());
    let old = store.range(&Query { prefix: "/", at: Revision(4), ..Query::default() }).unwrap();
    assert_eq!(old.entries.len(), 2, "history is kept");
    assert_eq!(commit(&store, put("/b", "2")).unwrap(), before.next());
    assert_eq!(store.get("/b").unwrap().version, 1);
}

#[test]
fn a_copy_taken_at_any_instant_opens() {
    // What kill -9 leaves behind is the file and its log as they are between two acknowledgements.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    for round in 0..20 {
        let revision = commit(&store, put(&format!("/k{}", round % 5), "v")).unwrap();
        let copy = folder.path().join(format!("copy{round}.db"));
        std::fs::copy(&path, &copy).unwrap();
        std::fs::copy(folder.path().join("store.db-wal"), folder.path().join(format!("copy{round}.db-wal")))
            .unwrap();
        assert_eq!(SqliteStore::open(&copy).unwrap().revision(), revision);
    }
}

#[test]
fn compaction_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    {
        let store = SqliteStore::open(&path).unwrap();
        for value in ["1", "2", "3"] {
            commit(&store, put("/a", value)).unwrap();
        }
        commit(&store, put("/b", "1")).unwrap();
        let last = commit(&store, delete("/b")).unwrap();
        store.compact(last).unwrap();
    }
    let store = SqliteStore::open(&path).unwrap();
    let oldest = Revision(6);
    assert_eq!(store.revision(), oldest);
    let range = store.range(&Query { prefix: "/", at: Revision(3), ..Query::default() });
    assert_eq!(range.unwrap_err(), StoreError::Compacted { asked: Revision(3), oldest });
    assert_eq!(&store.get("/a").unwrap().value[..], b"3");
    let rows: i64 = {
        drop(store);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("SELECT count(*) FROM kv", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows, 1, "old versions and the tombstone are gone from the file");
}

#[test]
fn nobody_else_reads_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/store.db");
    let store = SqliteStore::open(&path).unwrap();
    commit(&store, put("/secret", "1")).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in ["store.db", "store.db-wal"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
    drop(store);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _reopened = SqliteStore::open(&path).unwrap();
    assert_eq!(mode(&path), 0o600, "a file of an older version is closed");
}

#[test]
fn compaction_gives_the_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).unwrap();
    let large = "x".repeat(100_000);
    for _ in 0..100 {
        commit(&store, put("/a", &large)).unwrap();
    }
    let last = commit(&store, put("/a", "1")).unwrap();
    store.compact(last).unwrap();
    drop(store);
    let left = path.metadata().unwrap().len();
    assert!(left < 1_000_000, "{left} bytes are left of ten million");
}

#[test]
fn history_that_outgrows_its_bound_is_forgotten_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
    let large = "x".repeat(1 << 20);
    for _ in 0..200 {
        commit(&store, put("/a", &large)).unwrap();
    }
    let (compacted, bytes) = store.history();
    assert!(compacted > Revision::ZERO && bytes <= 129 << 20, "{bytes} bytes since {compacted}");
}

#[test]
fn a_batch_checks_guards_against_its_own_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
    let (sender, receiver) = mpsc::channel();
    for _ in 0..50 {
        let mut txn = put("/a", "1");
        txn.guards.push(Guard { key: "/a".into(), mod_revision: Revision::ZERO });
        let sender = sender.clone();
        store.commit(txn, Box::new(move |result| sender.send(result.is_ok()).unwrap()));
    }
    drop(sender);
    assert_eq!(receiver.iter().filter(|ok| *ok).count(), 1);
}

#[test]
fn files_that_cannot_be_used_are_refused_with_a_sentence() {
    let check = |name: &str, prepare: &dyn Fn(&Path), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        prepare(&path);
        let error = SqliteStore::open(&path).err().unwrap_or_else(|| panic!("{name}: opened")).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    };
    check("newer", &newer, "newer version of kedge (schema 99, this one knows 1)");
    check("garbage", &|path| std::fs::write(path, vec![7; 8192]).unwrap(), "is damaged");
    check("foreign", &foreign, "is damaged");
    check("a folder", &|path| std::fs::create_dir(path).unwrap(), "cannot write the database");
}

fn newer(path: &Path) {
    rusqlite::Connection::open(path).unwrap().pragma_update(None, "user_version", 99).unwrap();
}

fn foreign(path: &Path) {
    rusqlite::Connection::open(path).unwrap().pragma_update(None, "user_version", 1).unwrap();
}
