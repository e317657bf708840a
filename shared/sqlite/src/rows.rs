//! Conversion between column values and types.

use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::ids::RunKey;
use engine::ports::{StoreError, Stored};
use protocol::Millis;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Maps an error of SQLite to a store error.
pub(crate) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => corrupt(error),
        Some(_) => StoreError::Unavailable(error.to_string()),
    }
}

/// As [`failed`], for an error of a statement, which may be that the disk is full.
fn statement_failed(db: &Connection, error: rusqlite::Error) -> StoreError {
    let path = db.path().unwrap_or_default();
    let full = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => true,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => is_full_beside(path),
        _ => false,
    };
    if full { StoreError::DiskFull(path.to_owned()) } else { failed(error) }
}

/// Returns true if a new file beside `path` can't be written because the disk is full. SQLite reports a full disk as an
/// input/output error if the index of its log can't grow, or if the disk allocates space late.
fn is_full_beside(path: &str) -> bool {
    let probe = format!("{path}-probe");
    let written = std::fs::write(&probe, vec![1; 1 << 16]);
    drop(std::fs::remove_file(&probe));
    written.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// A record in a form that the engine doesn't write.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic, the next transaction rolls back what is unfinished; other values were only read.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Converts a record to a column value.
pub(crate) fn to_json(record: &impl Serialize) -> Stored<String> {
    serde_json::to_string(record).map_err(corrupt)
}

/// Parses a record's column value.
pub(crate) fn from_json<T: DeserializeOwned>(value: ValueRef<'_>) -> Stored<T> {
    let text = value.as_bytes().map_err(corrupt)?;
    serde_json::from_slice(text).map_err(corrupt)
}

/// Converts a time to a column value.
pub(crate) fn to_time(at: Millis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// Parses a time's column value.
pub(crate) fn from_time(at: i64) -> Millis {
    Millis(u64::try_from(at).unwrap_or(0))
}

/// The run in a row's first column.
pub(crate) fn run_key(row: &Row<'_>) -> Stored<RunKey> {
    row.get(0).map(RunKey::from_stored).map_err(failed)
}

/// Converts a number of rows to a parameter of a statement.
pub(crate) fn to_limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(not(test))]
type Prepared<'c> = rusqlite::CachedStatement<'c>;
#[cfg(test)]
type Prepared<'c> = crate::tests::examined::Examined<'c>;

/// Prepares a statement. Each connection caches it.
pub(crate) fn prepare<'c>(db: &'c Connection, text: &str) -> Stored<Prepared<'c>> {
    let statement = db.prepare_cached(text).map_err(|error| statement_failed(db, error))?;
    #[cfg(test)]
    let statement = crate::tests::examined::Examined::new(db, text, statement);
    Ok(statement)
}

/// Returns the rows of a query, each parsed by `read`.
pub(crate) fn all<T>(
    db: &Connection,
    text: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Stored<T>,
) -> Stored<Vec<T>> {
    let mut statement = prepare(db, text)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|error| statement_failed(db, error))? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Returns the first row of a query, parsed by `read`.
pub(crate) fn one<T>(
    db: &Connection,
    text: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Stored<T>,
) -> Stored<Option<T>> {
    let mut statement = prepare(db, text)?;
    let found = statement.query_row(params, |row| Ok(read(row))).optional();
    found.map_err(|error| statement_failed(db, error))?.transpose()
}

/// Returns the record in the first column of a query's first row.
pub(crate) fn record<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Stored<Option<T>> {
    one(db, text, params, |row| from_json(row.get_ref(0).map_err(failed)?))
}

/// Returns the records in the first column of a query's rows.
pub(crate) fn records<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Stored<Vec<T>> {
    all(db, text, params, |row| from_json(row.get_ref(0).map_err(failed)?))
}

/// The number of expired rows that one write removes, so that no write takes long.
pub(crate) const EXPIRED_ROWS: u32 = 20;

/// Deletes some rows of a table whose time in `column` is at or before `at`.
pub(crate) fn delete_expired(db: &Connection, table: &str, column: &str, at: Millis) -> Stored<()> {
    let rows = format!("SELECT rowid FROM {table} WHERE {column} <= ?1 ORDER BY {column} LIMIT ?2");
    execute(db, &format!("DELETE FROM {table} WHERE rowid IN ({rows})"), (to_time(at), EXPIRED_ROWS)).map(drop)
}

/// Runs a statement. Returns the number of rows that it changed.
pub(crate) fn execute(db: &Connection, text: &str, params: impl Params) -> Stored<usize> {
    prepare(db, text)?.execute(params).map_err(|error| statement_failed(db, error))
}
