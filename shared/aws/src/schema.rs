//! The schema number of a stack's tables, and the refusal of tables with another one.
//!
//! The jobs table has one item that says which schema its records have and which version of the program wrote that. The
//! function `submit` writes it where there is none; every function reads it when it starts, before it reads anything
//! else. A change of a stored record, a key or a queue's message that older records don't fit is a new number.

use engine::ports::{Consistency, StoreError};
use protocol::Millis;
use serde::{Deserialize, Serialize};

use crate::item::{from_item, to_item};
use crate::keys;
use crate::table::Table;

/// The schema that this program reads and writes.
const SCHEMA: u32 = 2;
/// This program's version.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize, Deserialize)]
struct SchemaItem {
    schema: u32,
    written_by: String,
}

/// Why a stack's tables can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The tables have another schema.
    #[error(
        "table {table} has schema {found}, written by workflow-graph {written_by}; this program, version {PROGRAM}, \
         reads schema {SCHEMA}: use version {written_by}, or deploy this one as a stack of another name"
    )]
    Other {
        /// The table.
        table: String,
        /// The number of its schema.
        found: u32,
        /// The version of the program that wrote it.
        written_by: String,
    },
    /// The item can't be read or written.
    #[error("the schema of the tables can't be checked: {0}")]
    Store(#[from] StoreError),
}

/// Refuses a table with another schema. Without an item, nothing was submitted yet.
pub(crate) async fn check(table: &Table) -> Result<(), SchemaError> {
    read(table).await.map(drop)
}

/// As [`check`], and writes the item where there is none.
pub(crate) async fn initialize(table: &Table) -> Result<(), SchemaError> {
    if read(table).await? {
        return Ok(());
    }
    let fields = SchemaItem { schema: SCHEMA, written_by: PROGRAM.to_owned() };
    let item = to_item(keys::schema(), None, &fields)?;
    if table.put_if_absent(item, Millis::now()).await? {
        return Ok(());
    }
    // Another process was faster.
    check(table).await
}

/// Returns true if the table has the schema's item.
async fn read(table: &Table) -> Result<bool, SchemaError> {
    let Some(item) = table.get(keys::schema(), Consistency::Strong).await? else { return Ok(false) };
    let SchemaItem { schema: found, written_by } = from_item(item)?;
    if found != SCHEMA {
        return Err(SchemaError::Other { table: table.name().to_owned(), found, written_by });
    }
    Ok(true)
}
