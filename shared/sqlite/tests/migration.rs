//! A database file that an earlier version wrote is migrated when it is opened: all its records are read, and its run
//! finishes.
//!
//! `fixtures/schema-3.db` was written by the program of that schema, which was stopped before it had processed the end
//! of job `docs`. Its run has a job that a worker holds, one that failed once and one that waits for both. Its times are
//! those of 2026-01-01.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use engine::Engine;
use engine::clock::Clock;
use engine::ids::RunKey;
use engine::ports::{AuditStore, Consistency, RunStore, TokenStore};
use protocol::requests::Claim;
use protocol::wire::{Claimed, Job, Workflow};
use protocol::{JobId, LabelSet, Millis, Status, TokenName, WorkerId, WorkflowId};
use sqlite::Sqlite;
use tempfile::TempDir;

const NEW: &str = "wf-efc636f9bc22091d1106";
const OPEN: &str = "wf-80a74a1115998f7ce6dd";

/// Stands a minute after the fixture was written: its leases have expired, and its run may still be open.
struct MinuteLater;

impl Clock for MinuteLater {
    fn now(&self) -> Millis {
        Millis(1_767_225_660_000)
    }
}

/// A copy of the fixture, opened.
fn migrated() -> (Sqlite, TempDir) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-3.db");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wfg.db");
    fs::copy(fixture, &path).expect("a copy");
    (Sqlite::open(path).expect("it is migrated"), folder)
}

fn id(text: &str) -> WorkflowId {
    WorkflowId::new(text).expect("an id")
}

fn statuses(workflow: &Workflow) -> Vec<(&str, Status, u32)> {
    workflow.jobs.iter().map(|job: &Job| (job.id.as_str(), job.status, job.attempt)).collect()
}

async fn claim(engine: &Engine<Sqlite>) -> Option<Claimed> {
    let request = Claim {
        worker_id: WorkerId::new("second").expect("an id"),
        labels: LabelSet::from_comma_separated("linux").expect("labels"),
        lease_ttl_secs: 30,
        wait_secs: 0,
        exclusive: false,
        ticket: None,
    };
    engine.claims().claim(request).await.expect("answered")
}

#[tokio::test]
async fn every_record_of_an_earlier_schema_is_read() {
    let (store, _folder) = migrated();
    let token = store.token(&TokenName::new("admin").expect("a name")).await.expect("read").expect("it is there");
    assert_eq!(token.created_at, Millis(1_767_225_600_100));
    assert_eq!(store.entries(None, 10).await.expect("read").len(), 1);
    let key = store.idempotency("#release-1", Millis(1_767_225_600_100)).await.expect("read").expect("it is there");
    assert_eq!(key.workflow, id(OPEN));
    let run = RunKey::from_stored("d7d7255c465ca6326f3db55433e4085f".to_owned());
    let source = store.definition(&run).await.expect("read").expect("it is there");
    assert_eq!((source.content_type.as_str(), source.text.lines().next()), ("application/yaml", Some("name: release")));
    let new = store.workflow(&id(NEW), Consistency::Strong).await.expect("read").expect("it is there");
    let source = store.definition(&new.run).await.expect("read").expect("it is there");
    assert_eq!(source.content_type, "application/json");

    let engine = Engine::new(store);
    let workflow = engine.queries().workflow(&id(OPEN)).await.expect("read");
    let expected = [
        ("build", Status::Success, 0),
        ("docs", Status::Success, 0),
        ("test", Status::Running, 1),
        ("publish", Status::Queued, 0),
    ];
    assert_eq!(statuses(&workflow), expected);
    let [build, docs, test, publish] = &workflow.jobs[..] else { panic!("four jobs") };
    assert_eq!(build.command, "cargo build --profile $PROFILE");
    assert_eq!(test.required_labels.to_string(), "linux");
    assert_eq!((test.max_retries, test.attempts.len(), test.error.as_deref()), (3, 1, Some("1 test failed")));
    assert_eq!(publish.depends_on.iter().map(JobId::as_str).collect::<Vec<_>>(), ["docs", "test"]);
    let outputs = engine.queries().outputs(&workflow.id, &docs.id, None).await.expect("read");
    assert_eq!(outputs.values().map(String::len).collect::<Vec<_>>(), [500]);
    let log = engine.queries().logs(&workflow.id, &build.id, None, None).await.expect("read");
    let log: String = log.chunks.iter().map(|piece| piece.data.as_str()).collect();
    assert_eq!(log, "Compiling one\nFinished\n");
}

#[tokio::test]
async fn run_of_an_earlier_schema_finishes() {
    let (store, _folder) = migrated();
    let engine = Engine::new(store).with_clock(Arc::new(MinuteLater));
    engine.scheduling().drain().await.expect("drained");
    // The lease of `test` has expired: it is tried again.
    engine.scheduling().run_timers().await.expect("timers");
    for (attempt, name) in [(2, "test"), (0, "publish")] {
        let claimed = claim(&engine).await.unwrap_or_else(|| panic!("{name} is ready"));
        assert_eq!((claimed.job.job_id.as_str(), claimed.job.attempt), (name, attempt));
        let outputs = BTreeMap::from([("by".to_owned(), name.to_owned())]);
        engine.reports().complete(&claimed.lease.lease_id.0, outputs, None).await.expect("completed");
        engine.scheduling().drain().await.expect("drained");
    }
    let workflow = engine.queries().workflow(&id(OPEN)).await.expect("read");
    assert_eq!(workflow.status, Status::Success);
    engine.runs().start(&id(NEW), None, None).await.expect("started");
    engine.scheduling().drain().await.expect("drained");
    assert_eq!(claim(&engine).await.expect("a job").job.job_id.as_str(), "only");
}
