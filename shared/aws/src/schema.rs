//! The schema number of a stack's records, and the refusal of records that this program can't read or may not write.
//!
//! The jobs table has one item that says which schema its newest records have, which version of the program wrote it, and the oldest
//! schemas whose programs may read and write beside that version. Function `submit` writes the item where there is none, and raises it;
//! every function reads it when it starts and again after [`CHECKED_EVERY`]. A change of a stored record, a key or a queue's message
//! that older records don't fit is a new number. Versions whose numbers differ by one work side by side (docs/architecture.md).

use std::time::Duration;

use engine::ports::{Consistency, StoreError};
use serde::{Deserialize, Serialize};

use crate::item::{from_item, number, to_item};
use crate::keys;
use crate::table::Table;
use crate::update::Expression;

/// A process reads the item again after this time.
pub(crate) const CHECKED_EVERY: Duration = Duration::from_mins(5);
/// This program's version.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");
/// This program's numbers. A new schema raises `schema`; the other three follow one release later at the earliest.
const OWN: Numbers = Numbers { schema: 3, reads_from: 3, min_reader: 3, min_writer: 3 };

/// The schemas that a program writes, reads, and works beside.
#[derive(Clone, Copy)]
struct Numbers {
    /// The schema of the records that it writes.
    schema: u32,
    /// The oldest schema of the records that it reads.
    reads_from: u32,
    /// The oldest schema whose program reads these records.
    min_reader: u32,
    /// The oldest schema whose program may also change them.
    min_writer: u32,
}

/// What a program does with a stack's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only reads them. It may write audit entries.
    Read,
    /// It reads and changes them.
    Change,
}

#[derive(Serialize, Deserialize)]
struct SchemaItem {
    schema: u32,
    #[serde(default)]
    min_reader: u32,
    #[serde(default)]
    min_writer: u32,
    written_by: String,
}

/// Why a stack's records can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A newer version wrote records that this program can't read, or may not change.
    #[error(
        "the stack's records have schema {found}, written by workflow-graph {written_by}; a program that may {} them \
         has schema {needed} or a higher one, and this program, version {PROGRAM}, has schema {}: deploy version \
         {written_by} or a newer one",
        verb(*.access), OWN.schema
    )]
    Newer {
        /// The schema of the records.
        found: u32,
        /// The version of the program that wrote it.
        written_by: String,
        /// What this program would do with them.
        access: Access,
        /// The lowest schema of a program that may do this.
        needed: u32,
    },
    /// An older version wrote records that this program no longer reads.
    #[error(
        "the stack's records have schema {found}, written by workflow-graph {written_by}; this program, version \
         {PROGRAM}, reads schemas {} to {}: deploy the versions between them one after the other, or deploy this one \
         as a stack of another name",
        OWN.reads_from, OWN.schema
    )]
    Older {
        /// The schema of the records.
        found: u32,
        /// The version of the program that wrote it.
        written_by: String,
    },
    /// The item can't be read or written.
    #[error("the schema of the stack's records can't be checked: {0}")]
    Store(#[from] StoreError),
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Change => "change",
    }
}

impl Numbers {
    /// Whether a program with these numbers may use the records that the item describes.
    fn check(self, item: &SchemaItem, access: Access) -> Result<(), SchemaError> {
        let SchemaItem { schema: found, min_reader, min_writer, .. } = *item;
        let written_by = || item.written_by.clone();
        let needed = match access {
            Access::Read => min_reader,
            Access::Change => min_reader.max(min_writer),
        };
        if self.schema < needed {
            return Err(SchemaError::Newer { found, written_by: written_by(), access, needed });
        }
        if found < self.reads_from {
            return Err(SchemaError::Older { found, written_by: written_by() });
        }
        Ok(())
    }
}

/// Refuses records that this program may not use. Without an item, nothing was submitted yet.
pub(crate) async fn check(table: &Table, access: Access) -> Result<(), SchemaError> {
    read(table, access).await.map(drop)
}

/// As [`check`], and writes the item where there is none or one of an older schema. Never lowers it: records of the newer schema
/// stay after a rollback.
pub(crate) async fn initialize(table: &Table) -> Result<(), SchemaError> {
    let Numbers { schema, min_reader, min_writer, .. } = OWN;
    if read(table, Access::Change).await?.is_some_and(|found| found >= schema) {
        return Ok(());
    }
    let fields = SchemaItem { schema, min_reader, min_writer, written_by: PROGRAM.to_owned() };
    let item = to_item(keys::schema(), None, &fields)?;
    table.put_if(item, Expression::conditions().when_absent_or_below("schema", number(schema))).await?;
    // If it was refused, another process was faster.
    check(table, Access::Change).await
}

/// The schema of the item, if there is one.
async fn read(table: &Table, access: Access) -> Result<Option<u32>, SchemaError> {
    let Some(item) = table.get(keys::schema(), Consistency::Strong).await? else { return Ok(None) };
    let item: SchemaItem = from_item(item)?;
    OWN.check(&item, access)?;
    Ok(Some(item.schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The item that a program with these numbers writes.
    fn item(Numbers { schema, min_reader, min_writer, .. }: Numbers) -> SchemaItem {
        SchemaItem { schema, min_reader, min_writer, written_by: format!("{schema}.0.0") }
    }

    /// A release that follows the rule: it reads and tolerates the number before its own.
    fn release(schema: u32) -> Numbers {
        Numbers { schema, reads_from: schema - 1, min_reader: schema - 1, min_writer: schema - 1 }
    }

    #[test]
    fn neighbouring_versions_work_side_by_side_and_others_are_refused() {
        for access in [Access::Read, Access::Change] {
            for (program, found) in [(7, 7), (7, 6), (6, 7)] {
                release(program).check(&item(release(found)), access).expect("neighbours");
            }
            let newer = release(5).check(&item(release(7)), access);
            assert!(matches!(newer, Err(SchemaError::Newer { found: 7, needed: 6, .. })), "{newer:?}");
            let older = release(7).check(&item(release(5)), access);
            assert!(matches!(older, Err(SchemaError::Older { found: 5, .. })), "{older:?}");
        }
    }

    #[test]
    fn program_that_may_not_write_still_reads() {
        let found = item(Numbers { min_writer: 7, ..release(7) });
        release(6).check(&found, Access::Read).expect("it reads");
        let refused = release(6).check(&found, Access::Change);
        assert!(matches!(refused, Err(SchemaError::Newer { needed: 7, .. })), "{refused:?}");
    }

    #[test]
    fn own_records_may_be_used() {
        OWN.check(&item(OWN), Access::Change).expect("its own");
    }
}
