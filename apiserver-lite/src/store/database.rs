//! The file: schema, opening, loading, writing one batch, compaction.
//!
//! `kv.at` is `revision << 20 | index of the operation`, so that the order of rows is the order of history.

use kedge_store::{Entry, Mvcc, Op, Revision};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the schema that this program writes.
const VERSION: i64 = 1;
const SUB_BITS: u32 = 20;

const SCHEMA: &str = "
CREATE TABLE key (id INTEGER PRIMARY KEY, k TEXT NOT NULL UNIQUE);
CREATE TABLE kv (
    at INTEGER PRIMARY KEY,
    id INTEGER NOT NULL REFERENCES key(id),
    create_rev INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL DEFAULT 0,
    tombstone INTEGER NOT NULL DEFAULT 0,
    v BLOB
);
CREATE INDEX kv_id_at ON kv (id, at);
CREATE TABLE compacted (at INTEGER NOT NULL);
INSERT INTO compacted VALUES (0);
";

/// Why the store could not be opened. Each text is one sentence with what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the database {path} was written by a newer version of kedge (schema {found}, this one knows {known}): \
         start that version, or restore an older copy of the file",
        path = .path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "the database {path} is damaged ({cause}): restore a copy of it, or move the file away to begin with an empty cluster",
        path = .path.display()
    )]
    Damaged { path: PathBuf, cause: String },
    #[error("cannot write the database {path} ({cause}): make room on its disk or mount it writable", path = .path.display())]
    NotWritable { path: PathBuf, cause: String },
    #[error("the database {path} is in use by another kedge: stop that one first", path = .path.display())]
    Busy { path: PathBuf },
    #[error("cannot open the database {path}: {cause}", path = .path.display())]
    Other { path: PathBuf, cause: String },
    #[error("cannot start the store's thread ({0}): raise the limit on threads")]
    Thread(String),
}

pub struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    pub fn open(path: &Path) -> Result<Database, OpenError> {
        let explain = |e: rusqlite::Error| explain(path, &e);
        own_files(path)
            .map_err(|e| OpenError::NotWritable { path: path.to_owned(), cause: e.to_string() })?;
        let connection = Connection::open(path).map_err(explain)?;
        let found = user_version(&connection).map_err(explain)?;
        if found > VERSION {
            return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        // Page size and auto_vacuum only take effect before the first table; WAL needs them set first.
        connection
            .execute_batch(
                "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA locking_mode=EXCLUSIVE;
                 PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA mmap_size=0; PRAGMA cache_size=-512;
                 PRAGMA foreign_keys=OFF;",
            )
            .map_err(explain)?;
        let mut database = Database { connection, path: path.to_owned() };
        if found == 0 {
            database.create().map_err(explain)?;
        }
        Ok(database)
    }

    fn create(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()
    }

    /// Reads everything back in the order of history.
    pub fn load(&mut self) -> Result<Mvcc, OpenError> {
        self.read_all().map_err(|e| explain(&self.path, &e))
    }

    fn read_all(&self) -> rusqlite::Result<Mvcc> {
        let mut mvcc = Mvcc::default();
        let mut statement = self.connection.prepare(
            "SELECT kv.at, key.k, kv.create_rev, kv.version, kv.tombstone, kv.v
             FROM kv JOIN key ON key.id = kv.id ORDER BY kv.at",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let revision = Revision(number(row, 0)? >> SUB_BITS);
            let key: Arc<str> = Arc::from(row.get::<_, String>(1)?);
            let entry = match row.get::<_, bool>(4)? {
                true => None,
                false => {
                    let value = row.get::<_, Vec<u8>>(5)?.into();
                    let create = Revision(number(row, 2)?);
                    Some(Arc::new(Entry::new(key.clone(), value, create, revision, number(row, 3)?)))
                }
            };
            mvcc.restore(key, revision, entry);
        }
        let compacted = self.connection.query_row("SELECT at FROM compacted", [], |row| number(row, 0))?;
        mvcc.restore_compacted(Revision(compacted));
        Ok(mvcc)
    }

    /// Writes transactions with their revisions; durable when it returns. Nothing is written on an error.
    pub fn write<'a>(&mut self, batch: impl Iterator<Item = (Revision, &'a Written)>) -> Result<(), String> {
        let result = self.connection.transaction().and_then(|transaction| {
            for (revision, written) in batch {
                insert(&transaction, revision, written)?;
            }
            transaction.commit()
        });
        result.map_err(|e| explain(&self.path, &e).to_string())
    }

    /// Drops the rows that compaction at `at` makes unreachable, at most `limit` of them; returns how many went.
    pub fn compact(&mut self, at: Revision, limit: usize) -> Result<usize, String> {
        self.drop_rows(at, limit).map_err(|e| explain(&self.path, &e).to_string())
    }

    fn drop_rows(&mut self, at: Revision, limit: usize) -> rusqlite::Result<usize> {
        let last = column(at.next().0 << SUB_BITS);
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE compacted SET at = max(at, ?1)", params![column(at.0)])?;
        let gone = transaction.execute(
            "DELETE FROM kv WHERE at IN (
                SELECT old.at FROM kv old WHERE old.at < ?1 AND (
                    old.tombstone
                    OR EXISTS (SELECT 1 FROM kv n WHERE n.id = old.id AND n.at > old.at AND n.at < ?1)) ORDER BY old.at
                LIMIT ?2)",
            params![last, i64::try_from(limit).unwrap_or(i64::MAX)],
        )?;
        transaction.commit()?;
        Ok(gone)
    }

    /// Gives free pages back to the file system, `VACUUM_PAGES` at most.
    pub fn vacuum(&mut self) {
        // A failure costs space only; the next compaction tries again.
        if let Err(error) = self.give_pages_back() {
            tracing::debug!(%error, "the store's file could not be shortened");
        }
        if let Err(error) = self.connection.execute(
            "DELETE FROM key WHERE id IN (SELECT id FROM key WHERE NOT EXISTS \
             (SELECT 1 FROM kv WHERE kv.id = key.id) LIMIT 1000)",
            [],
        ) {
            tracing::debug!(%error, "unused keys could not be dropped");
        }
    }

    /// The statement gives one page back for each of its (empty) rows.
    fn give_pages_back(&self) -> rusqlite::Result<()> {
        let mut statement =
            self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// 32 MiB: some tens of milliseconds in which no write commits.
const VACUUM_PAGES: u32 = 8192;

/// One operation as a row.
pub struct Row {
    pub op: Op,
    pub create: Revision,
    pub version: u64,
}

pub type Written = Vec<Row>;

/// The database holds every Secret of the cluster: nobody but its owner may read it. SQLite gives the files beside it the mode
/// of the database itself.
fn own_files(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn insert(transaction: &Transaction<'_>, revision: Revision, rows: &Written) -> rusqlite::Result<()> {
    let mut find = transaction.prepare_cached("SELECT id FROM key WHERE k = ?1")?;
    let mut name = transaction.prepare_cached("INSERT INTO key (k) VALUES (?1)")?;
    let mut put = transaction.prepare_cached(
        "INSERT INTO kv (at, id, create_rev, version, tombstone, v) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (sub, row) in rows.iter().enumerate() {
        let id: i64 = match find.query_row([row.op.key()], |r| r.get(0)).optional()? {
            Some(id) => id,
            None => name.insert([row.op.key()])?,
        };
        let at = column((revision.0 << SUB_BITS) | sub as u64);
        let (tombstone, value) = match &row.op {
            Op::Put { value, .. } => (false, Some(&value[..])),
            Op::Delete { .. } => (true, None),
        };
        put.execute(params![at, id, column(row.create.0), column(row.version), tombstone, value])?;
    }
    Ok(())
}

/// SQLite's integers are signed; ours stay below 2^63 for as long as the universe lasts.
fn column(number: u64) -> i64 {
    i64::try_from(number).expect("a revision below 2^43")
}

fn number(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn explain(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    let cause = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, cause },
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::PermissionDenied,
        ) => OpenError::NotWritable { path, cause },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy { path },
        // A table is missing or has another shape: not our file, or half of one.
        _ if cause.contains("no such table") => OpenError::Damaged { path, cause },
        _ => OpenError::Other { path, cause },
    }
}
