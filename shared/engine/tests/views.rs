//! Tests of what lists and statuses show.

use std::time::Duration;

use common::World;
use engine::EngineError;
use engine::ids::ReportHash;
use engine::ports::ListCursor;
use engine::submit::Submission;
use protocol::access::{AuditAction, AuditEntry, NewToken, Permissions};
use protocol::requests::LogPiece;
use protocol::wire::{Claimed, Stream, WaitReason, Workflow};
use protocol::{Millis, Status, limits};

mod common;

const CHAIN: &str = "jobs: {first: {run: x}, second: {run: x, needs: first}}";

fn statuses(workflow: &Workflow) -> Vec<Status> {
    workflow.jobs.iter().map(|job| job.status).collect()
}

#[tokio::test]
async fn queued_jobs_of_a_run_that_was_just_opened_have_a_wait_reason() {
    let world = World::started(CHAIN).await;
    let shown = world.engine.queries().workflow(&world.id).await.expect("it is there");
    assert_eq!(statuses(&shown), [Status::Queued, Status::Queued]);
    for job in &shown.jobs {
        let waiting = job.waiting_for.as_ref().expect("a reason");
        assert_eq!((waiting.reason, waiting.needs.as_ref()), (WaitReason::Needs, Some(&job.depends_on)));
    }
}

#[tokio::test]
async fn no_job_is_shown_as_queued_after_a_cancel_was_answered() {
    let world = World::ready(CHAIN).await;
    world.engine.runs().cancel(&world.id).await.expect("cancelled");
    let shown = world.engine.queries().workflow(&world.id).await.expect("it is there");
    assert_eq!(statuses(&shown), [Status::Cancelled, Status::Cancelled]);
    let listed = world.engine.queries().workflows(None, 10, 0, None).await.expect("listed");
    assert_eq!(statuses(&listed.workflows[0]), [Status::Cancelled, Status::Cancelled]);
    let cancelled = world.engine.queries().is_cancelled(&world.id, &shown.jobs[0].id).await;
    assert!(cancelled.expect("answered"));
}

#[tokio::test]
async fn submission_answers_the_workflow_as_it_was_committed() {
    let (engine, _) = common::engine();
    let submitted = engine.submissions().submit(common::submission(CHAIN, false)).await.expect("submitted");
    let read = engine.queries().workflow(&submitted.workflow).await.expect("it is there");
    assert_eq!(*submitted.created.expect("it is new"), read);
}

#[tokio::test]
async fn list_by_status_passes_over_a_bounded_number_of_workflows() {
    let world = World::started(CHAIN).await;
    for _ in 0..limits::LIST_SCAN + 50 {
        world.clock.advance(Duration::from_millis(1));
        let submission = common::submission("jobs: {a: {run: x}}", false);
        world.engine.submissions().submit(submission).await.expect("submitted");
    }
    let list = async |after: Option<ListCursor>, skip| {
        world.engine.queries().workflows(after, 10, skip, Some(Status::Running)).await.expect("listed")
    };
    let first = list(None, 1).await;
    assert!(first.workflows.is_empty() && first.next.is_some(), "the page ends early and says where to go on");
    assert_eq!(first.skip, 1);
    let second = list(first.next.clone(), 0).await;
    assert_eq!((second.workflows.len(), second.next), (1, None));
    assert!(list(first.next, 1).await.workflows.is_empty());
}

#[tokio::test]
async fn log_of_an_attempt_is_cut_at_its_limit_and_says_so() {
    let world = World::ready("jobs: {build: {run: x}}").await;
    let claimed = world.claim("w").await.expect("a job");
    let push = async |sequence: u64| {
        let data = "x".repeat(limits::LOG_PIECE);
        let chunk = LogPiece { sequence, data, timestamp_ms: Millis(1), stream: Stream::Stdout };
        world.engine.reports().append_logs(&claimed.lease.lease_id.0, vec![chunk]).await.expect("accepted");
    };
    let fits = (limits::LOG_PER_ATTEMPT / limits::LOG_PIECE) as u64;
    for sequence in 0..fits + 3 {
        push(sequence).await;
    }
    let last = world.engine.queries().logs(&world.id, &claimed.job.job_id, Some(fits - 1), None).await.expect("a page");
    let data: Vec<&str> = last.chunks.iter().map(|chunk| chunk.data.as_str()).collect();
    assert_eq!(data, ["\n[cut here: a job's log may have 64 MB]\n"]);
}

#[tokio::test]
async fn push_of_a_log_says_whether_somebody_read_the_running_attempt_lately() {
    let world = World::ready("jobs: {build: {run: x, retries: 1}}").await;
    let first = world.claim("w").await.expect("a job");
    let push = async |claimed: &Claimed, sequence: u64| {
        let chunk = LogPiece { sequence, data: "x".to_owned(), timestamp_ms: Millis(1), stream: Stream::Stdout };
        world.engine.reports().append_logs(&claimed.lease.lease_id.0, vec![chunk]).await.expect("accepted").followed
    };
    let read =
        async |attempt| world.engine.queries().logs(&world.id, &first.job.job_id, None, attempt).await.expect("a page");
    assert!(!push(&first, 0).await, "nobody reads");
    read(Some(1)).await;
    assert!(!push(&first, 1).await, "another attempt was read");
    read(None).await;
    assert!(push(&first, 2).await);
    world.clock.advance(Duration::from_secs(20));
    read(None).await;
    world.engine.reports().heartbeat(&first.lease.lease_id.0).await.expect("live");
    world.clock.advance(Duration::from_secs(20));
    assert!(push(&first, 3).await, "a reader who stays is noted again");
    world.engine.reports().heartbeat(&first.lease.lease_id.0).await.expect("live");
    world.clock.advance(Duration::from_secs(11));
    assert!(!push(&first, 4).await, "nobody has read for half a minute");

    world.fail(&first, true).await.expect("accepted");
    read(None).await;
    let second = world.claim("w").await.expect("the next attempt");
    read(Some(0)).await;
    assert!(!push(&second, 0).await, "only the attempt before was read");
}

#[tokio::test]
async fn records_expire_90_days_after_the_start_and_not_while_the_run_is_open() {
    let world = World::started("jobs: {build: {run: x}}").await;
    let late = world.engine.submissions().submit(common::submission(CHAIN, false)).await.expect("submitted").workflow;
    let there = async |id| world.engine.queries().workflow(id).await.is_ok();
    let drain = async || world.engine.scheduling().drain().await.expect("memory answers");
    let expire = async || {
        world.engine.scheduling().expire_workflows().await.expect("memory answers");
        drain().await;
    };
    world.clock.advance(limits::RETENTION.saturating_sub(Duration::from_mins(1)));
    world.engine.runs().start(&late, None, None).await.expect("started");
    world.engine.runs().cancel(&late).await.expect("cancelled");
    drain().await;
    world.clock.advance(Duration::from_mins(2));
    expire().await;
    assert!(there(&world.id).await, "its run is open");
    assert!(there(&late).await, "it was started two minutes ago");
    world.engine.runs().cancel(&world.id).await.expect("cancelled");
    drain().await;
    expire().await;
    assert!(!there(&world.id).await && there(&late).await);
    world.clock.advance(limits::RETENTION);
    expire().await;
    assert!(!there(&late).await);
}

#[tokio::test]
async fn log_page_ends_early_and_says_that_more_follows() {
    let world = World::ready("jobs: {build: {run: x}}").await;
    let claimed = world.claim("w").await.expect("a job");
    let chunk = |sequence| LogPiece {
        sequence,
        data: "x".repeat(limits::LOG_PIECE),
        timestamp_ms: Millis(1),
        stream: Stream::Stdout,
    };
    let chunks = (0..3).map(chunk).collect();
    world.engine.reports().append_logs(&claimed.lease.lease_id.0, chunks).await.expect("accepted");
    let page = async |after, attempt| {
        let page = world.engine.queries().logs(&world.id, &claimed.job.job_id, after, attempt).await.expect("a page");
        let sequences: Vec<u64> = page.chunks.iter().map(|chunk| chunk.sequence).collect();
        (sequences, page.more, page.ended, page.attempt)
    };
    assert_eq!(page(None, None).await, (vec![0, 1], true, false, 0));
    assert_eq!(page(Some(1), None).await, (vec![2], false, false, 0));
    world.fail(&claimed, false).await.expect("reported");
    assert_eq!(page(Some(2), Some(0)).await, (vec![], false, true, 0));
}

#[tokio::test]
async fn audit_log_is_listed_page_by_page_without_gaps() {
    let (engine, clock) = common::engine();
    for n in 0..5 {
        clock.advance(Duration::from_millis(1));
        let entry = AuditEntry::new(engine.now(), None, AuditAction::Submit, n.to_string());
        engine.audit().record(entry).await;
    }
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = engine.audit().list(after, 2).await.expect("listed");
        pages.push(page.entries.into_iter().map(|entry| entry.route).collect::<String>());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["43", "21", "0"]);
}

#[tokio::test]
async fn idempotency_key_is_forgotten_after_a_day() {
    let (engine, clock) = common::engine();
    let submit = async |body: &str| {
        let key = Some(("key".to_owned(), ReportHash::of([body])));
        engine.submissions().submit(Submission { key, ..common::submission(CHAIN, false) }).await
    };
    let first = submit("a").await.expect("submitted");
    clock.advance(limits::IDEMPOTENCY_TIME.saturating_sub(Duration::from_secs(10)));
    let again = submit("a").await.expect("answered");
    assert_eq!((again.workflow, again.created), (first.workflow.clone(), None));
    assert!(matches!(submit("b").await, Err(EngineError::KeyReused { .. })));
    clock.advance(Duration::from_secs(10));
    let later = submit("b").await.expect("submitted");
    assert!(later.workflow != first.workflow && later.created.is_some());
}

#[tokio::test]
async fn expired_keys_tokens_and_workers_do_not_stay_in_memory() {
    let (engine, clock) = common::engine();
    for n in 0..3 {
        let key = Some((format!("key-{n}"), ReportHash::of(["body"])));
        engine.submissions().submit(Submission { key, ..common::submission(CHAIN, false) }).await.expect("submitted");
        let (name, permissions) = (format!("token-{n}").parse().expect("a name"), Permissions::all());
        engine.tokens().create(NewToken { name, permissions, expires_in_secs: 3600 }).await.expect("made");
        let register = serde_json::json!({ "worker_id": format!("worker-{n}") });
        engine.workers().register(serde_json::from_value(register).expect("good")).await.expect("registered");
        assert_eq!(engine.ports().expiring(), [1, 1, 1]);
        clock.advance(limits::WORKER_KEPT);
    }
}

#[tokio::test]
async fn jobs_of_a_cancelled_run_do_not_count_as_waiting_in_their_pool() {
    let world = World::ready("jobs: {one: {run: x}, two: {run: x}}").await;
    let waiting = async || {
        let workers = world.engine.workers();
        let pools = workers.count_pools(workers.pools().await.expect("listed")).await.expect("counted");
        (pools[0].waiting, pools[0].oldest_ms.is_some())
    };
    assert_eq!(waiting().await, (2, true));
    world.engine.runs().cancel(&world.id).await.expect("cancelled");
    assert_eq!(waiting().await, (0, false), "although the batch task has not run yet");
}
