//! Opening a store: whose file it is, that nobody else has it open, and that it has the tables.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// What this project writes in the header of its files: `wfgr`.
const APPLICATION: i32 = 0x7766_6772;
/// The version of the tables, in `user_version`. A change of the tables or of the records in them is a new one, with
/// a step here that brings older files up to it.
const VERSION: i32 = 3;
/// How long a statement waits for another program that reads or writes the file, a shell for one.
const BUSY: Duration = Duration::from_secs(10);
/// Prepared statements that a connection keeps: all there are.
const STATEMENTS: usize = 64;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It can't be read or made.
    #[error("can't open {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process works on it.
    #[error("{} is in use: one process at a time works on a file, and another has it open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is not a file of workflow-graph; name another, or one that doesn't exist yet", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "{} was written by a newer version of workflow-graph (its format is {found}, this program knows up to {VERSION}); \
         use that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
    },
    /// A file system that can't do what the write-ahead log needs.
    #[error("{} is on a file system without shared memory, which its write-ahead log needs; use a local one", path.display())]
    NoWal {
        /// The file.
        path: PathBuf,
    },
    /// A record in it isn't what the engine wrote.
    #[error("can't open {}: {error}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which, and why.
        error: StoreError,
    },
    /// It can't be read as what it is.
    #[error("can't open {}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

/// A file that this process alone works on, until this is dropped.
pub(crate) struct FileLock {
    /// Held open: the operating system ends the lock with the process, however that ends.
    _lock: File,
    pub path: PathBuf,
}

/// Makes the file if it isn't there, readable by its owner only, and locks it.
///
/// The lock is on a file of its own: closing any handle of the database would drop SQLite's own locks.
pub(crate) fn loopback_only(path: &Path) -> Result<FileLock, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    private().open(path).map_err(io)?;
    // Another name of the same file must find the same lock.
    let path = fs::canonicalize(path).map_err(io)?;
    let mut beside = path.clone().into_os_string();
    beside.push("-lock");
    let lock = private().open(beside).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(FileLock { _lock: lock, path }),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The connection that writes to a file. The file has the tables then.
pub(crate) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        _ => OpenError::Sqlite { path: path.to_owned(), error },
    };
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    // Before anything of it is changed.
    let is_new = is_new(&db).map_err(failed)?;
    if !is_new {
        if pragma(&db, "application_id").map_err(failed)? != APPLICATION {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
        let found = pragma(&db, "user_version").map_err(failed)?;
        if found > VERSION {
            return Err(OpenError::Newer { path: path.to_owned(), found });
        }
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::NoWal { path: path.to_owned() });
    }
    // A commit is on the disk before it is answered, also where the usual call only reaches the disk's cache.
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "fullfsync", true).map_err(failed)?;
    if is_new {
        create(&db).map_err(failed)?;
    } else {
        migrate(&db).map_err(failed)?;
    }
    Ok(db)
}

/// A connection that only reads a file.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The one connection of a store in memory.
pub(crate) fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    create(&db)?;
    Ok(db)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // A connection is only ever used by one thread at a time.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i32> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

/// Whether nobody has written anything to it.
fn is_new(db: &Connection) -> rusqlite::Result<bool> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0 && pragma(db, "application_id")? == 0 && pragma(db, "user_version")? == 0)
}

/// Changes the tables of an older version to what they are now, all or none.
fn migrate(db: &Connection) -> rusqlite::Result<()> {
    let found = pragma(db, "user_version")?;
    if found == VERSION {
        return Ok(());
    }
    let transaction = db.unchecked_transaction()?;
    if found < 2 {
        transaction.execute_batch(include_str!("timers.sql"))?;
    }
    transaction.execute_batch(include_str!("access.sql"))?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Makes the tables, all or none.
fn create(db: &Connection) -> rusqlite::Result<()> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.execute_batch(include_str!("access.sql"))?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
