//! The checks that every store must pass, on a database file.

use sqlite::Sqlite;
use tempfile::TempDir;

fn in_a_file() -> (Sqlite, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Sqlite::open(folder.path().join("wfg.db")).expect("a fresh file"), folder)
}

conformance::port_tests!(in_a_file());
conformance::local_tests!(in_a_file());
