//! A store in a file: whose it is, who may open it, what it still knows when it is opened again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::ids::RunKey;
use engine::messages::{BatchKind, BatchTask, Work};
use engine::ports::{Dispatcher, LocalWork, Pool, RunStore, WorkerRegistry};
use protocol::{LabelSet, Millis, SecretName};
use sqlite::{OpenError, Sqlite};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wfg.db");
    (folder, path)
}

/// The text of the refusal, and that it left the file as it was.
fn refused(path: &Path) -> String {
    let before = fs::read(path).expect("it is there");
    let error = Sqlite::open(path).err().expect("it is refused");
    assert_eq!(fs::read(path).expect("it is there"), before, "a refused file stays as it is");
    error.to_string()
}

#[test]
fn a_second_store_on_the_same_file_is_refused_until_the_first_is_dropped() {
    let (folder, path) = folder();
    let first = Sqlite::open(&path).expect("a fresh file");
    let (link, hard_link) = (folder.path().join("other.db"), folder.path().join("hard.db"));
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    fs::hard_link(&path, &hard_link).expect("a link");
    for name in [&path, &link, &hard_link] {
        let error = Sqlite::open(name).err().expect("it is refused");
        assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains(" is in use: one process at a time"), "{error}");
    }
    drop(first);
    for name in [&link, &hard_link, &path] {
        drop(Sqlite::open(name).expect("it is free again"));
    }
}

#[test]
fn file_of_another_schema_or_another_program_is_refused_and_left_alone() {
    let (folder, path) = folder();
    drop(Sqlite::open(&path).expect("a fresh file"));
    let db = rusqlite::Connection::open(&path).expect("a file of SQLite");
    db.pragma_update(None, "user_version", 99).expect("written");
    db.execute("UPDATE program SET version = '9.1.0'", []).expect("written");
    let error = refused(&path);
    assert!(error.contains("wfg.db has schema 99, written by workflow-graph 9.1.0; this program, version"), "{error}");
    assert!(error.ends_with("use the version that wrote it, or a newer one"), "{error}");
    db.execute("DROP TABLE program", []).expect("written");
    db.pragma_update(None, "user_version", 2).expect("written");
    db.close().expect("closed");
    let error = refused(&path);
    assert!(error.contains("wfg.db has schema 2, written by an older version of workflow-graph; this"), "{error}");
    assert!(
        error.ends_with("finish its workflows with the version that wrote it, then name a file that doesn't exist yet"),
        "{error}"
    );

    let other = folder.path().join("other.db");
    let db = rusqlite::Connection::open(&other).expect("a file of SQLite");
    db.execute_batch("CREATE TABLE jobs (mine)").expect("a table");
    db.close().expect("closed");
    let error = refused(&other);
    assert!(error.contains("other.db is not a file of workflow-graph"), "{error}");

    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database, and long enough to be taken for one: ".repeat(100)).expect("written");
    let error = refused(&text);
    assert!(error.contains("notes.txt is not a file of workflow-graph"), "{error}");

    let error = Sqlite::open(folder.path().join("missing/wfg.db")).err().expect("it is refused").to_string();
    assert!(error.starts_with("can't open ") && error.contains("missing/wfg.db: No such file"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_a_store() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let store = Sqlite::open(&path).expect("a fresh file");
    store.add_pools(vec![Pool::of(LabelSet::default())], Millis(1)).await.expect("written");
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("its mode").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log, the log's index");
}

#[tokio::test]
async fn what_is_to_be_done_is_done_after_a_restart_and_what_is_done_is_not() {
    let (_folder, path) = folder();
    let mut store = Sqlite::open(&path).expect("a fresh file");
    let batch = |from| BatchTask::new(RunKey::new([1; 16]), BatchKind::Roots, from);
    for from in 0..4 {
        store.send_batch(batch(from)).await.expect("written");
    }
    for from in 0..4 {
        let (number, work) = store.next_work().await.expect("read").expect("there is work");
        assert_eq!(work, Work::BatchTask(batch(from)));
        if from == 1 {
            // It was under way.
            drop(store);
            store = Sqlite::open(&path).expect("its own file");
            let again = store.next_work().await.expect("read").expect("there is work");
            assert_eq!(again, (number, work));
        }
        store.work_done(number).await.expect("noted");
    }
    assert_eq!(store.next_work().await.expect("read"), None);
    drop(store);
    let store = Sqlite::open(&path).expect("its own file");
    assert_eq!(store.next_work().await.expect("read"), None);
    store.send_batch(batch(9)).await.expect("written");
    let (number, work) = store.next_work().await.expect("read").expect("there is work");
    assert_eq!((number, work), (5, Work::BatchTask(batch(9))), "a number isn't used again");
}

#[tokio::test]
async fn pools_are_known_again_after_a_restart() {
    let (_folder, path) = folder();
    let pools: Vec<Pool> =
        [("a", [].into()), ("b,c", [].into()), ("", [].into()), ("a", [SecretName::new("A").expect("a name")].into())]
            .map(|(text, secrets)| Pool::with_secrets(LabelSet::from_comma_separated(text).expect("labels"), secrets))
            .into();
    let store = Sqlite::open(&path).expect("a fresh file");
    store.add_pools(pools.clone(), Millis(1)).await.expect("written");
    let before = store.pools(Millis(1)).await.expect("read");
    assert_eq!(before.len(), 4);
    assert!(pools.iter().all(|pool| before.contains(pool)));
    drop(store);
    let store = Sqlite::open(&path).expect("its own file");
    assert_eq!(store.pools(Millis(1)).await.expect("read"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropping_a_store_ends_its_thread_and_closes_its_files() {
    let (folder, path) = folder();
    let store = Sqlite::open(&path).expect("a fresh file");
    store.add_pools(vec![Pool::of(LabelSet::default())], Millis(1)).await.expect("written");
    // Many readers at once, each with a connection of its own.
    let store = Arc::new(store);
    let readers = (0..8).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for _ in 0..50 {
                store.timers_due(Millis::now()).await.expect("read");
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.expect("it reads");
    }
    assert!(fs::exists(folder.path().join("wfg.db-wal")).expect("a folder"));
    drop(store);
    // The last connection that is closed takes the log with it.
    assert!(!fs::exists(folder.path().join("wfg.db-wal")).expect("a folder"), "a connection is still open");
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let ours = open.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|file| file.starts_with(folder.path()));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}
