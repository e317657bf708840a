//! The schema of a database file: its number, the steps that bring an older file up to it, and which files are refused.
//!
//! `PRAGMA user_version` holds the schema's number. A change of a table, or of a record in one, is a new step at the end
//! of [`STEPS`]. A released step never changes. (The crate `rusqlite_migration` does the same with the same pragma, but
//! it needs an older rusqlite, and only one version of SQLite can be linked.)

use rusqlite::{Connection, OptionalExtension};

/// The program's version, which the file's table `program` stores.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");
/// The application id in the header of this project's files: `wfgr`.
const APPLICATION: i32 = 0x7766_6772;

/// One step: the statements that bring a file to a schema from the one before.
struct Step {
    schema: i32,
    sql: &'static str,
}

/// All steps. The first creates the tables in an empty file. A file with a lower number can no longer be read.
const STEPS: [Step; 8] = [
    Step { schema: 3, sql: include_str!("migrations/3.sql") },
    Step { schema: 4, sql: include_str!("migrations/4.sql") },
    Step { schema: 5, sql: include_str!("migrations/5.sql") },
    Step { schema: 6, sql: include_str!("migrations/6.sql") },
    Step { schema: 7, sql: include_str!("migrations/7.sql") },
    Step { schema: 8, sql: include_str!("migrations/8.sql") },
    Step { schema: 9, sql: include_str!("migrations/9.sql") },
    Step { schema: 10, sql: include_str!("migrations/10.sql") },
];

/// The oldest schema that [`migrate`] accepts.
pub(crate) const OLDEST: i32 = STEPS[0].schema;
/// The schema of every file after [`migrate`].
pub(crate) const CURRENT: i32 = STEPS[STEPS.len() - 1].schema;

/// The kind of a file, determined before anything in it is changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has no tables.
    Empty,
    /// Another program wrote it.
    Foreign,
    /// A schema that this program reads or migrates.
    Known,
    /// A schema below [`OLDEST`].
    Older { schema: i32, written_by: Option<String> },
    /// A schema above [`CURRENT`].
    Newer { schema: i32, written_by: Option<String> },
}

/// Examines a file without changing it.
pub(crate) fn examine(db: &Connection) -> rusqlite::Result<Found> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, schema) = (pragma(db, "application_id")?, pragma(db, "user_version")?);
    if tables == 0 && application == 0 && schema == 0 {
        return Ok(Found::Empty);
    }
    if application != APPLICATION {
        return Ok(Found::Foreign);
    }
    Ok(match schema {
        OLDEST..=CURRENT => Found::Known,
        _ if schema < OLDEST => Found::Older { schema, written_by: written_by(db)? },
        _ => Found::Newer { schema, written_by: written_by(db)? },
    })
}

/// Runs the missing steps and stores this program's version, all in one transaction.
pub(crate) fn migrate(db: &Connection) -> rusqlite::Result<()> {
    let found = pragma(db, "user_version")?;
    if found == CURRENT && written_by(db)?.as_deref() == Some(PROGRAM) {
        return Ok(());
    }
    let transaction = db.unchecked_transaction()?;
    for step in STEPS.iter().filter(|step| step.schema > found) {
        transaction.execute_batch(step.sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", CURRENT)?;
    transaction.execute("DELETE FROM program", [])?;
    transaction.execute("INSERT INTO program (version) VALUES (?1)", [PROGRAM])?;
    transaction.commit()
}

/// The version of the program that wrote the file, if it is stored.
fn written_by(db: &Connection) -> rusqlite::Result<Option<String>> {
    let table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'program')";
    if !db.query_row(table, [], |row| row.get(0))? {
        return Ok(None);
    }
    db.query_row("SELECT version FROM program", [], |row| row.get(0)).optional()
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i32> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_without_a_gap() {
        for pair in STEPS.windows(2) {
            assert_eq!(pair[1].schema, pair[0].schema + 1);
        }
    }

    /// The statements that created the tables, as SQLite stores them.
    fn tables(db: &Connection) -> Vec<String> {
        let mut statement =
            db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").expect("text");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("rows")
    }

    #[test]
    fn migrated_file_has_the_tables_of_a_new_one() {
        let (new, old) = (Connection::open_in_memory().expect("memory"), Connection::open_in_memory().expect("memory"));
        migrate(&new).expect("a new file");
        old.execute_batch(STEPS[0].sql).expect("an old file");
        old.pragma_update(None, "application_id", APPLICATION).expect("written");
        old.pragma_update(None, "user_version", OLDEST).expect("written");
        assert_eq!(examine(&old).expect("examined"), Found::Known);
        migrate(&old).expect("migrated");
        assert_eq!(tables(&old), tables(&new));
        assert_eq!(pragma(&old, "user_version").expect("read"), CURRENT);
        assert_eq!(written_by(&old).expect("read").as_deref(), Some(PROGRAM));
    }

    #[test]
    fn failed_step_leaves_the_file_as_it_was() {
        let db = Connection::open_in_memory().expect("memory");
        db.execute_batch(STEPS[0].sql).expect("an old file");
        db.pragma_update(None, "user_version", OLDEST).expect("written");
        db.execute_batch("DROP TABLE logs").expect("a damaged file");
        let before = tables(&db);
        assert!(migrate(&db).is_err());
        assert_eq!(tables(&db), before);
        assert_eq!(pragma(&db, "user_version").expect("read"), OLDEST);
    }
}
