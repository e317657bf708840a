//! Opens a database file: locks it for this process, refuses files of other programs, and migrates the schema.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::ports::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::migrations::{self, CURRENT, Found, OLDEST, PROGRAM};

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
        "{} has schema {found}, written by {}; this program, version {PROGRAM}, reads schemas {OLDEST} to {CURRENT}: \
         use the version that wrote it, or a newer one",
        path.display(), program(written_by.as_ref(), "a newer version")
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number of its schema.
        found: i32,
        /// The version of the program that wrote it, if the file says.
        written_by: Option<String>,
    },
    /// A program wrote it whose files can't be migrated any more.
    #[error(
        "{} has schema {found}, written by {}; this program, version {PROGRAM}, reads schemas {OLDEST} to {CURRENT}: \
         finish its workflows with the version that wrote it, then name a file that doesn't exist yet",
        path.display(), program(written_by.as_ref(), "an older version")
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// The number of its schema.
        found: i32,
        /// The version of the program that wrote it, if the file says.
        written_by: Option<String>,
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

/// The program that wrote a file, for the text of a refusal.
fn program(version: Option<&String>, unknown: &str) -> String {
    version.map_or_else(|| format!("{unknown} of workflow-graph"), |version| format!("workflow-graph {version}"))
}

/// A file that only this process has open as a store, until this is dropped.
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
    match migrations::examine(&db).map_err(failed)? {
        Found::Empty | Found::Known => {}
        Found::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
        Found::Older { schema: found, written_by } => {
            return Err(OpenError::Older { path: path.to_owned(), found, written_by });
        }
        Found::Newer { schema: found, written_by } => {
            return Err(OpenError::Newer { path: path.to_owned(), found, written_by });
        }
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::NoWal { path: path.to_owned() });
    }
    // A commit is on the disk before it is answered, also where the usual call only reaches the disk's cache.
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    db.pragma_update(None, "fullfsync", true).map_err(failed)?;
    migrations::migrate(&db).map_err(failed)?;
    Ok(db)
}

/// A connection that only reads a file.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The one connection of a store in memory.
#[cfg(test)]
pub(crate) fn in_memory() -> rusqlite::Result<Connection> {
    let db = Connection::open_in_memory()?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    migrations::migrate(&db)?;
    Ok(db)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // A connection is only ever used by one thread at a time.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}
