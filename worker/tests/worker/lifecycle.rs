//! A worker's life: it registers, waits for the server, fills its slots, pauses, and ends.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{
    Answer, Fake, LONG, Request, job, lease, log_text, numbered, once, refuse, run_once, until_written,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use workflow_graph_worker_sdk::{Context, Executor, Failure, Job, Outputs, Worker, WorkerConfig, WorkerError};

#[tokio::test]
async fn a_worker_registers_runs_reports_after_the_whole_log_and_deregisters() {
    let server = Fake::start(once(&job("seq 1 3000; echo '::set-output version=1.2'; echo last"), 30)).await;
    run_once(&server, server.config()).await;

    let calls: Vec<_> = server.all().iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    let logs = calls.iter().filter(|call| call.ends_with("/logs")).count();
    assert_eq!(calls[..2], ["POST /api/workers/register", "POST /api/jobs/claim"]);
    assert!((1..10).contains(&logs) && calls[2..2 + logs].iter().all(|call| call == "POST /api/jobs/L1/logs"));
    assert_eq!(calls[2 + logs..], ["POST /api/jobs/L1/complete", "DELETE /api/workers/w1"]);

    let expected: String = numbered("", 1..3001);
    assert_eq!(log_text(&server), expected + "::set-output version=1.2\nlast\n");
    let sequences = server.seen("/logs").into_iter().flat_map(|request| {
        request.json()["chunks"].as_array().expect("a list").iter().map(|c| c["sequence"].as_u64()).collect::<Vec<_>>()
    });
    assert!(sequences.enumerate().all(|(n, sequence)| sequence == Some(n as u64)));
    assert_eq!(server.seen("/complete")[0].json(), json!({"outputs": {"version": "1.2"}}));
    let register = server.seen("/register")[0].json();
    assert_eq!((&register["labels"], &register["features"]), (&json!(["staging"]), &json!(["outputs_url", "secrets"])));
}

/// Grants every claim a job with an id of its own, `count` in all.
fn grants(count: usize, command: &'static str) -> impl Fn(&Request) -> Option<Answer> {
    let granted = AtomicUsize::new(0);
    move |request| {
        let n = request.is("/claim").then(|| granted.fetch_add(1, Ordering::SeqCst)).filter(|n| *n < count)?;
        let mut claimed = json!({"job": job(command), "lease": lease(30)});
        claimed["job"]["job_id"] = json!(format!("job{n}"));
        claimed["lease"]["lease_id"] = json!(format!("L{n}"));
        Some(Answer::Json(200, claimed))
    }
}

#[tokio::test]
async fn a_worker_runs_as_many_jobs_at_a_time_as_configured_each_in_its_slot() {
    let dir = tempfile::tempdir().expect("a directory");
    // Each job ends only when all three have begun.
    let command = "touch slot$WORKER_SLOT; until [ -e slot0 ] && [ -e slot1 ] && [ -e slot2 ]; do sleep 0.02; done";
    let server = Fake::start(grants(6, command)).await;
    let worker = Worker::new(WorkerConfig { concurrency: 3, workdir: dir.path().into(), ..server.config() });
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    server.until("/complete", 6).await;
    shutdown.drain();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
    assert_eq!(std::fs::read_dir(dir.path()).expect("exists").count(), 3);
}

#[tokio::test]
async fn a_draining_worker_finishes_its_jobs_and_a_stopped_one_reports_them_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(grants(9, "echo x > begun; until [ -e go ]; do sleep 0.02; done")).await;
    let config = WorkerConfig { workdir: dir.path().into(), ..server.config() };
    let worker = Worker::new(config.clone());
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    until_written(&dir.path().join("begun")).await;
    shutdown.drain();
    std::fs::write(dir.path().join("go"), "").expect("written");
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
    assert_eq!((server.seen("/complete").len(), server.seen("/claim").len()), (1, 1));

    std::fs::remove_file(dir.path().join("go")).expect("removed");
    std::fs::remove_file(dir.path().join("begun")).expect("removed");
    let worker = Worker::new(config);
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    until_written(&dir.path().join("begun")).await;
    shutdown.stop();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
    let fail = server.seen("/fail")[0].json();
    assert!(fail["error"].as_str().expect("a text").starts_with("lost: worker w1"), "{fail}");
    assert_eq!(fail["retryable"], true);
}

#[tokio::test]
async fn a_job_that_outlasts_the_shutdowns_grace_is_stopped() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(grants(9, "echo x > begun; sleep 600; true")).await;
    let grace = Some(Duration::from_millis(50));
    for (once, jobs) in [(false, 1), (true, 2)] {
        let workdir = dir.path().into();
        let worker = Worker::new(WorkerConfig { workdir, shutdown_grace: grace, once, ..server.config() });
        let shutdown = worker.shutdown();
        let running = tokio::spawn(worker.run());
        until_written(&dir.path().join("begun")).await;
        shutdown.drain();
        timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
        assert_eq!((server.seen("/fail").len(), server.seen("/claim").len()), (jobs, jobs), "once: {once}");
        std::fs::remove_file(dir.path().join("begun")).expect("it had begun");
    }
}

#[tokio::test]
async fn a_worker_waits_for_a_busy_server_and_ends_if_the_server_refuses_it() {
    let refusals = AtomicUsize::new(3);
    let grant = once(&job("true"), 30);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/workers/register" if refusals.load(Ordering::SeqCst) > 0 => {
            if refusals.fetch_sub(1, Ordering::SeqCst) == 2 { Some(Answer::Drop) } else { refuse(503) }
        }
        "/api/jobs/claim" if refusals.fetch_add(1, Ordering::SeqCst) < 2 => refuse(502),
        _ => grant(request),
    })
    .await;
    let config = WorkerConfig { poll: Duration::from_millis(1), ..server.config() };
    run_once(&server, config).await;
    assert_eq!(server.seen("/complete").len(), 1);

    let server = Fake::start(|_| refuse(401)).await;
    let error = Worker::new(server.config()).run().await.expect_err("refused");
    assert!(matches!(&error, WorkerError::Refused(_)) && error.to_string().contains("refused with 401"), "{error}");
}

#[tokio::test]
async fn a_worker_that_the_server_forgot_registers_again() {
    let server = Fake::start(|request| match request.path.as_str() {
        "/api/workers/register" => Some(Answer::Json(200, json!({"queues": [], "heartbeat_secs": 1}))),
        "/api/workers/w1/heartbeat" => refuse(404),
        _ => None,
    })
    .await;
    let worker = Worker::new(server.config());
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    server.until("/register", 2).await;
    shutdown.drain();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
}

#[tokio::test]
async fn recommended_lease_is_claimed_with_and_paces_the_heartbeats_of_jobs() {
    let grant = once(&job("sleep 2"), 2);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/workers/register" => {
            Some(Answer::Json(200, json!({"queues": [], "heartbeat_secs": 30, "lease_ttl_secs": 2})))
        }
        "/api/jobs/L1/heartbeat" => Some(Answer::Json(200, json!({"lease": lease(2), "cancelled": false}))),
        _ => grant(request),
    })
    .await;
    let config = WorkerConfig { once: true, ..server.config() };
    timeout(LONG, Worker::new(config).run()).await.expect("ends").expect("worked");
    assert_eq!(server.seen("/claim")[0].json()["lease_ttl_secs"], 2);
    assert!(server.seen("/L1/heartbeat").len() >= 2, "a heartbeat each third of the lease");

    let server = Fake::start(|request| {
        request
            .is("/register")
            .then(|| Answer::Json(200, json!({"queues": [], "heartbeat_secs": 30, "lease_ttl_secs": 2})))
    })
    .await;
    let config =
        WorkerConfig { lease_ttl_secs: Some(40), idle_exit: Some(Duration::from_millis(200)), ..server.config() };
    timeout(LONG, Worker::new(config).run()).await.expect("ends").expect("worked");
    assert_eq!(server.seen("/claim")[0].json()["lease_ttl_secs"], 40, "the own setting wins");
}

#[tokio::test]
async fn an_idle_worker_ends_as_configured() {
    let server = Fake::start(|_| None).await;
    let config = WorkerConfig { idle_exit: Some(Duration::from_millis(200)), ..server.config() };
    timeout(LONG, Worker::new(config).run()).await.expect("ends").expect("worked");
    assert!(server.seen("/claim").len() > 2);
    let claim = server.seen("/claim")[0].json();
    assert_eq!((&claim["lease_ttl_secs"], &claim["ticket"]), (&json!(30), &Value::Null));
}

/// The requests that say whether the worker is paused.
fn pauses(server: &Fake) -> Vec<Value> {
    server.seen("/w1/heartbeat").iter().map(|request| request.json()["paused"].clone()).collect()
}

#[tokio::test]
async fn a_worker_without_its_directory_returns_the_job_and_pauses_until_it_is_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let workdir = dir.path().join("work");
    std::fs::create_dir(&workdir).expect("made");
    let lost = workdir.clone();
    let grant = grants(2, "true");
    let server = Fake::start(move |request| {
        if request.is("/claim") && lost.exists() && lost.read_dir().is_ok_and(|mut files| files.next().is_none()) {
            // Gone between the claim and the job.
            std::fs::remove_dir(&lost).expect("removed");
        }
        if request.is("/w1/heartbeat") {
            return Some(Answer::Json(200, json!({"queues": [], "heartbeat_secs": 30})));
        }
        grant(request)
    })
    .await;
    let worker = Worker::new(WorkerConfig { workdir: workdir.clone(), ..server.config() });
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    let fail = server.until("/fail", 1).await[0].json();
    assert_eq!((&fail["cause"], &fail["retryable"]), (&json!("worker"), &json!(true)));
    assert!(fail["error"].as_str().is_some_and(|error| error.contains("work can't be used")), "{fail}");
    server.until("/w1/heartbeat", 1).await;
    assert!(pauses(&server)[0].as_str().is_some_and(|reason| reason.contains("can't be used")));
    assert_eq!(server.seen("/claim").len(), 1, "a paused worker doesn't claim");

    std::fs::create_dir(&workdir).expect("made");
    std::fs::write(workdir.join("file"), "").expect("written");
    server.until("/complete", 1).await;
    assert!(pauses(&server).last().is_some_and(Value::is_null));
    shutdown.drain();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
}

#[tokio::test]
async fn a_paused_worker_that_is_drained_ends_at_once() {
    let server = Fake::start(grants(1, "true")).await;
    let dir = tempfile::tempdir().expect("a directory");
    let workdir = dir.path().join("work");
    std::fs::create_dir(&workdir).expect("made");
    let worker = Worker::new(WorkerConfig { workdir: workdir.clone(), ..server.config() }).with_executor(Sick);
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    server.until("/fail", 1).await;
    shutdown.drain();
    timeout(Duration::from_secs(4), running).await.expect("ends").expect("no panic").expect("worked");
}

/// Can run nothing.
struct Sick;

impl Executor for Sick {
    async fn execute(&self, _: Job, _: Context) -> Result<Outputs, Failure> {
        Err(Failure::of_worker("the disk is full"))
    }

    async fn check(&self, _: &Path) -> Result<(), Failure> {
        Err(Failure::of_worker("the disk is full"))
    }
}

#[tokio::test]
async fn the_next_attempt_of_a_job_waits_until_the_previous_one_has_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let stubborn = "trap '' TERM; echo $$ > first; while :; do sleep 0.02; done";
    let next = "kill -0 $(cat first) && echo both run > second; echo alone >> second";
    let granted = AtomicUsize::new(0);
    let server = Fake::start(move |request| {
        let attempt = request.is("/claim").then(|| granted.fetch_add(1, Ordering::SeqCst)).filter(|n| *n < 2)?;
        let mut claimed = json!({"job": job([stubborn, next][attempt]), "lease": lease(30)});
        claimed["job"]["attempt"] = json!(attempt);
        claimed["job"]["timeout_secs"] = json!([1, 30][attempt]);
        Some(Answer::Json(200, claimed))
    })
    .await;
    let grace = Duration::from_secs(2);
    let config = WorkerConfig { concurrency: 2, workdir: dir.path().into(), grace, ..server.config() };
    let worker = Worker::new(config);
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    assert_eq!(until_written(&dir.path().join("second")).await, "alone\n");
    server.until("/complete", 1).await;
    shutdown.drain();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
}
