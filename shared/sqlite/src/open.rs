//! Opens a database file: locks it for this process, refuses files of other programs, and migrates the schema.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::migrations::{self, CURRENT, Found, OLDEST, PROGRAM};

/// How long a statement waits for another program that uses the file, such as SQLite's shell.
const BUSY: Duration = Duration::from_secs(10);
/// Prepared statements that a connection caches: all of them.
const STATEMENTS: usize = 64;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be read or created.
    #[error("can't open {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use: one process at a time works on a file, and another has it open", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Another program wrote it.
    #[error("{} is not a file of workflow-graph; name another, or one that doesn't exist yet", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
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
    /// A version wrote it whose files can no longer be migrated.
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
    /// The file system has no shared memory, which the write-ahead log needs.
    #[error("{} is on a file system without shared memory, which its write-ahead log needs; use a local one", path.display())]
    NoWal {
        /// The file.
        path: PathBuf,
    },
    /// SQLite can't use the file.
    #[error("can't open {}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
}

/// The version that wrote a file, for the text of an error.
fn program(version: Option<&String>, unknown: &str) -> String {
    version.map_or_else(|| format!("{unknown} of workflow-graph"), |version| format!("workflow-graph {version}"))
}

/// A file that only this store may write, until this is dropped.
pub(crate) struct FileLock {
    /// The operating system releases the lock when this is closed, also if the process is killed.
    _lock: File,
    id: FileId,
    pub path: PathBuf,
}

/// Identifies a file whatever its name is: the device and the inode, or elsewhere than on Unix the canonical path.
#[cfg(unix)]
type FileId = (u64, u64);
#[cfg(not(unix))]
type FileId = PathBuf;

/// The files that this process has open. Opening and closing such a file again would release SQLite's own locks.
static OPEN: Mutex<BTreeSet<FileId>> = Mutex::new(BTreeSet::new());

/// Creates the file if it doesn't exist, readable by its owner only, and locks it.
///
/// On Unix the lock is `flock` on the file itself, so that every hard link of the file has the same lock. SQLite uses
/// another kind of lock. Elsewhere such a lock would exclude SQLite too, so a file beside it is locked.
pub(crate) fn lock(path: &Path) -> Result<FileLock, OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if fs::exists(path).map_err(io)? && open.contains(&file_id(path).map_err(io)?) {
        return Err(OpenError::InUse { path: path.to_owned() });
    }
    let file = private().open(path).map_err(io)?;
    let path = fs::canonicalize(path).map_err(io)?;
    let lock = if cfg!(unix) { file } else { private().open(path.with_added_extension("lock")).map_err(io)? };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path }),
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    open.insert(file_id(&path).map_err(io)?);
    Ok(FileLock { _lock: lock, id: file_id(&path).map_err(io)?, path })
}

impl Drop for FileLock {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<FileId> {
    use std::os::unix::fs::MetadataExt;
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<FileId> {
    fs::canonicalize(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The connection that writes to a file. Creates or migrates the tables.
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
    stable(&db)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    migrations::migrate(&db)?;
    Ok(db)
}

/// Keeps plans of statements whatever their parameters are. Otherwise SQLite looks at the values of some, such as a limit, and
/// compiles the statement again each time that another value is bound.
fn stable(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // A connection is only ever used by one thread at a time.
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(BUSY)?;
    stable(&db)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}
