//! Statements as tests see them: none reads a whole table, and what each has examined is counted.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use rusqlite::{CachedStatement, Connection, StatementStatus};

use crate::store::Sqlite;

thread_local! {
    /// Steps of SQLite's virtual machine that statements took on this thread: some for each row they look at.
    static STEPS: Cell<u64> = const { Cell::new(0) };
    /// Transactions that were committed on this thread.
    static COMMITS: Cell<u64> = const { Cell::new(0) };
}

/// Steps on this thread since this was last asked.
pub(crate) fn steps() -> u64 {
    STEPS.take()
}

/// Commits on this thread since this was last asked.
pub(crate) fn commits() -> u64 {
    COMMITS.take()
}

/// A statement that counts what it does.
pub(crate) struct Examined<'c>(CachedStatement<'c>);

impl<'c> Examined<'c> {
    pub(crate) fn new(db: &'c Connection, text: &str, statement: CachedStatement<'c>) -> Self {
        uses_an_index(db, text);
        if text == "COMMIT" {
            COMMITS.set(COMMITS.get() + 1);
        }
        Self(statement)
    }
}

impl<'c> Deref for Examined<'c> {
    type Target = CachedStatement<'c>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Examined<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Examined<'_> {
    fn drop(&mut self) {
        let steps = self.0.reset_status(StatementStatus::VmStep);
        STEPS.set(STEPS.get() + u64::from(steps.unsigned_abs()));
    }
}

/// Scans that read no table: of nothing, and of the recursive list of pools with ready jobs.
const HARMLESS: [&str; 3] = ["SCAN CONSTANT ROW", "SCAN counted", "SCAN own VIRTUAL TABLE INDEX 1:"];

/// Sees that a statement finds its rows by an index, or goes through one in its order, and never sorts.
fn uses_an_index(db: &Connection, text: &str) {
    let mut explain = db.prepare_cached(&format!("EXPLAIN QUERY PLAN {text}")).expect("a statement that was prepared");
    let unknown = explain.parameter_count();
    let nothing = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, unknown));
    let plan = explain.query_map(nothing, |row| row.get::<_, String>(3)).expect("a plan");
    for step in plan {
        let step = step.expect("text");
        let reads_all = step.starts_with("SCAN") && !step.contains("USING") && !HARMLESS.contains(&step.as_str());
        let sorts = step.contains("TEMP B-TREE");
        assert!(!(reads_all || sorts), "{step}: {text}");
    }
}

/// Every statement of the ports is explained while they are checked.
mod no_statement_reads_a_whole_table {
    use super::Sqlite;

    conformance::port_tests!((Sqlite::in_memory(), ()));
    conformance::local_tests!((Sqlite::in_memory(), ()));
}
