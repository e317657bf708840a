//! Conversion between column values and types.

use engine::ports::{StoreError, Stored};
use protocol::Millis;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What SQLite says went wrong, as the engine knows it.
pub(crate) fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => corrupt(error),
        Some(_) => StoreError::Unavailable(error.to_string()),
    }
}

/// A record that isn't what the engine wrote.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

/// A record as its column has it.
pub(crate) fn to_json(record: &impl Serialize) -> Stored<String> {
    serde_json::to_string(record).map_err(corrupt)
}

/// Reads a record back.
pub(crate) fn from_json<T: DeserializeOwned>(value: ValueRef<'_>) -> Stored<T> {
    let text = value.as_bytes().map_err(corrupt)?;
    serde_json::from_slice(text).map_err(corrupt)
}

/// A time as a column has it.
pub(crate) fn to_time(at: Millis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// Reads a time back.
pub(crate) fn from_time(at: i64) -> Millis {
    Millis(u64::try_from(at).unwrap_or(0))
}

/// A number of rows as a statement has it.
pub(crate) fn to_limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(not(test))]
type Prepared<'c> = rusqlite::CachedStatement<'c>;
#[cfg(test)]
type Prepared<'c> = crate::tests::examined::Examined<'c>;

/// A statement, which each connection prepares once.
pub(crate) fn prepare<'c>(db: &'c Connection, text: &str) -> Stored<Prepared<'c>> {
    let statement = db.prepare_cached(text).map_err(failed)?;
    #[cfg(test)]
    let statement = crate::tests::examined::Examined::new(db, text, statement);
    Ok(statement)
}

/// The rows of a query, each read by `read`.
pub(crate) fn all<T>(
    db: &Connection,
    text: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Stored<T>,
) -> Stored<Vec<T>> {
    let mut statement = prepare(db, text)?;
    let mut rows = statement.query(params).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The first row of a query, read by `read`.
pub(crate) fn one<T>(
    db: &Connection,
    text: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Stored<T>,
) -> Stored<Option<T>> {
    let mut statement = prepare(db, text)?;
    let found = statement.query_row(params, |row| Ok(read(row))).optional().map_err(failed)?;
    found.transpose()
}

/// The record in the first column of a query's first row.
pub(crate) fn record<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Stored<Option<T>> {
    one(db, text, params, |row| from_json(row.get_ref(0).map_err(failed)?))
}

/// The records in the first column of a query's rows.
pub(crate) fn records<T: DeserializeOwned>(db: &Connection, text: &str, params: impl Params) -> Stored<Vec<T>> {
    all(db, text, params, |row| from_json(row.get_ref(0).map_err(failed)?))
}

/// Runs a statement; how many rows it changed.
pub(crate) fn execute(db: &Connection, text: &str, params: impl Params) -> Stored<usize> {
    prepare(db, text)?.execute(params).map_err(failed)
}
