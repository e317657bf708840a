//! The store on SQLite does what every store must: in a file, and in memory.

use sqlite::Sqlite;
use tempfile::TempDir;

fn in_a_file() -> (Sqlite, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Sqlite::open(folder.path().join("wfg.db")).expect("a fresh file"), folder)
}

mod file {
    conformance::port_tests!(super::in_a_file());
    conformance::local_tests!(super::in_a_file());
}

mod memory {
    conformance::port_tests!((super::Sqlite::in_memory(), ()));
    conformance::local_tests!((super::Sqlite::in_memory(), ()));
}
