//! What is kept in memory is what the file has.

use engine::Engine;
use engine::ids::JobKey;
use engine::job::Phase;
use engine::messages::{BatchKind, BatchTask, Work};
use engine::ports::{Consistency, JobStore, LocalWork, Pool, RunStore, Stored, WorkerRegistry};
use engine::run::RunEnd;
use protocol::{LabelSet, Millis, Status};

use super::examined::steps;
use super::reads::open;
use crate::local::list;
use crate::recent::Change;
use crate::rows::corrupt;
use crate::store::Sqlite;

/// A store with a running job.
async fn with_running_job() -> (Engine<Sqlite>, JobKey) {
    let engine = Engine::new(Sqlite::in_memory());
    let workflow = open(engine.ports(), 0, vec![Phase::Ready { at: Millis(1000), until: None }]).await;
    engine.ports().add_pools(vec![Pool::of(LabelSet::default())], Millis::now()).await.expect("written");
    let claim = serde_json::from_str(r#"{"worker_id":"w","labels":[],"lease_ttl_secs":30}"#).expect("a claim");
    engine.claims().claim(claim).await.expect("answered").expect("a job");
    let workflow = engine.ports().workflow(&workflow, Consistency::Strong).await.expect("read").expect("it is there");
    (engine, JobKey::new(&workflow.run, 0))
}

#[tokio::test]
async fn records_that_changed_last_are_read_without_the_file_and_are_those_of_the_file() {
    let (engine, key) = with_running_job().await;
    let store = engine.ports();
    steps();
    let job = store.job(&key, Consistency::Strong).await.expect("read").expect("it is there");
    let control = store.control(&key.run, Consistency::Strong).await.expect("read").expect("it is there");
    let first = store.jobs_from(&key.run, 0, 1, Consistency::Strong).await.expect("read");
    assert_eq!(first, std::slice::from_ref(&job));
    assert_eq!(steps(), 0, "nothing was read from the file");
    store.recent.forget();
    assert_eq!(store.job(&key, Consistency::Strong).await.expect("read"), Some(job));
    assert_eq!(store.control(&key.run, Consistency::Strong).await.expect("read"), Some(control));
    assert!(steps() > 0);
}

#[tokio::test]
async fn a_deleted_run_leaves_no_record_in_memory() {
    let (engine, key) = with_running_job().await;
    let store = engine.ports();
    let control = store.control(&key.run, Consistency::Strong).await.expect("read").expect("it is there");
    assert!(store.recent.job(&key).is_some());
    let end = RunEnd { status: Status::Failure, at: Millis(2000), jobs: 1, started_at: None };
    assert!(store.end_workflow(&control.workflow, &key.run, end).await.expect("written"));
    let workflow = store.workflow(&control.workflow, Consistency::Strong).await.expect("read").expect("it is there");
    assert!(store.delete_workflow(&workflow).await.expect("written"));
    assert_eq!(store.control(&key.run, Consistency::Strong).await.expect("read"), None);
    assert!(!store.delete_some(&key.run, 1).await.expect("written"));
    assert_eq!(store.job(&key, Consistency::Strong).await.expect("read"), None);
}

#[tokio::test]
async fn a_transaction_reads_from_the_file_what_it_changed_itself() {
    let (engine, key) = with_running_job().await;
    let changed = key.clone();
    let write = engine.ports().write(move |db| {
        assert!(db.kept_job(&changed).is_some());
        db.changed(Change::Job(changed.clone(), None));
        assert!(db.kept_job(&changed).is_none());
        Ok(())
    });
    write.await.expect("written");
    let (engine, key) = with_running_job().await;
    let write = engine.ports().write(move |db| {
        db.changed(Change::JobsOf(key.run.clone()));
        assert!(db.kept_job(&key).is_none());
        Ok(())
    });
    write.await.expect("written");
}

#[tokio::test]
async fn work_of_a_write_that_failed_is_not_listed() {
    let (engine, key) = with_running_job().await;
    let store = engine.ports();
    while engine.scheduling().drain_one().await.expect("processed") {}
    assert!(!store.may_have_work());
    let task = || Work::BatchTask(BatchTask::new(key.run.clone(), BatchKind::Delete { jobs: 1 }, 0));
    let failing = task();
    let failed: Stored<()> = store
        .write(move |db| {
            list(db, failing)?;
            Err(corrupt("half way"))
        })
        .await;
    failed.expect_err("it fails");
    assert_eq!(store.next_work().await.expect("read"), None);
    let listed = task();
    store.write(move |db| list(db, listed)).await.expect("written");
    let (number, work) = store.next_work().await.expect("read").expect("it is listed");
    assert_eq!(work, task());
    store.recent.forget();
    assert_eq!(store.next_work().await.expect("read"), Some((number, work)), "as the file has it");
}
