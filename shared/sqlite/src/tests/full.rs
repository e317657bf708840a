//! A full disk. The database may have so many pages: SQLite then reports the same error as on a full disk.

use engine::ids::{JobKey, RunKey};
use engine::ports::{ArtifactStore, RunStore, StoreError, Stored};
use protocol::{OutputName, Outputs};

use crate::rows::failed;
use crate::store::Sqlite;

/// Limits the database to this many pages, or to those that it has.
async fn limit(store: &Sqlite, pages: u32) {
    let set =
        store.write(move |db| db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(failed));
    set.await.expect("set");
}

async fn put(store: &Sqlite, id: u32, bytes: usize) -> Stored<()> {
    let name = OutputName::new("value").expect("a name");
    let outputs = Outputs::from([(name, "x".repeat(bytes))]);
    store.put_outputs(&JobKey::new(&RunKey::new([1; 16]), id), "id", &outputs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_is_reported_and_writes_go_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wfg.db");
    let store = Sqlite::open(&path).expect("a fresh file");
    store.check_writable().await.expect("there is room");
    put(&store, 0, 100_000).await.expect("there is room");
    limit(&store, 1).await;
    assert!(matches!(store.check_writable().await, Err(StoreError::DiskFull(_))));
    let answers = futures::future::join_all((1..5).map(|id| put(&store, id, 100_000))).await;
    for answer in answers {
        let Err(StoreError::DiskFull(file)) = &answer else { panic!("{answer:?}") };
        assert!(file.ends_with("wfg.db"), "{file}");
    }
    limit(&store, 100_000).await;
    store.check_writable().await.expect("there is room");
    for id in 0..4 {
        put(&store, id, 100_000).await.expect("there is room");
    }
}
