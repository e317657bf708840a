//! A worker that receives its next job in the answer to its report.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{Answer, Fake, LONG, Request, job, lease};
use serde_json::{Value, json};
use tokio::time::timeout;
use workflow_graph_worker_sdk::{Worker, WorkerConfig};

fn granted(number: usize) -> Value {
    let mut claimed = json!({"job": job("echo ::set-output n=$JOB_ID"), "lease": lease(30)});
    claimed["job"]["job_id"] = json!(format!("job{number}"));
    claimed["lease"]["lease_id"] = json!(format!("L{number}"));
    claimed
}

/// `count` jobs, each ready when the one before is done: by `next` if that is asked for, else by a claim.
fn chain(count: usize) -> impl Fn(&Request) -> Option<Answer> {
    let given = AtomicUsize::new(0);
    let give = move || {
        let number = given.fetch_add(1, Ordering::SeqCst);
        if number < count { granted(number) } else { Value::Null }
    };
    move |request| match request.path.as_str() {
        "/api/jobs/claim" => Some(Answer::Json(200, give())),
        path if path.ends_with("/complete") => {
            let next = if request.json()["next"].is_object() { give() } else { Value::Null };
            Some(Answer::Json(200, json!({ "next": next })))
        }
        _ => None,
    }
}

/// Works until `count` jobs are reported.
async fn work(server: &Fake, config: WorkerConfig, count: usize) {
    let worker = Worker::new(config);
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    server.until("/complete", count).await;
    shutdown.drain();
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
}

/// The calls from the first claim to the last report, but for logs and heartbeats.
fn calls(server: &Fake) -> Vec<String> {
    let all: Vec<_> = server.all().into_iter().map(|request| request.path).collect();
    let from = all.iter().position(|path| path.ends_with("/claim")).expect("a claim");
    let to = all.iter().rposition(|path| path.ends_with("/complete")).expect("a report");
    let counts = |path: &&String| !path.ends_with("/logs") && !path.ends_with("/heartbeat");
    all[from..=to].iter().filter(counts).map(|path| path.replace("/api/jobs/", "")).collect()
}

#[tokio::test]
async fn a_chain_of_ten_costs_one_request_a_job() {
    let server = Fake::start(chain(10)).await;
    work(&server, WorkerConfig { exclusive: true, lease_ttl_secs: Some(40), ..server.config() }, 10).await;
    let expected: Vec<_> = (0..10).map(|n| format!("L{n}/complete")).collect();
    assert_eq!(calls(&server)[..1], ["claim"]);
    assert_eq!(calls(&server)[1..], expected);
    for (n, report) in server.seen("/complete").iter().enumerate() {
        let next = json!({"worker_id": "w1", "labels": ["staging"], "lease_ttl_secs": 40, "exclusive": true});
        assert_eq!(report.json(), json!({"outputs": {"n": format!("job{n}")}, "next": next}));
    }
}

#[tokio::test]
async fn after_twenty_in_succession_the_queue_has_its_turn() {
    let server = Fake::start(chain(45)).await;
    work(&server, server.config(), 45).await;
    let calls = calls(&server);
    let claims: Vec<_> = (0..calls.len()).filter(|&n| calls[n] == "claim").collect();
    // A claimed job and twenty that follow it.
    assert_eq!(claims, [0, 22, 44], "{calls:?}");
}

#[tokio::test]
async fn a_worker_that_ends_asks_for_no_next_job() {
    let server = Fake::start(chain(3)).await;
    let config = WorkerConfig { once: true, ..server.config() };
    timeout(LONG, Worker::new(config).run()).await.expect("ends").expect("worked");
    assert_eq!(server.seen("/complete")[0].json(), json!({"outputs": {"n": "job0"}}));

    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(|request| {
        let claimed = json!({"job": job("echo begun; until [ -e go ]; do sleep 0.02; done"), "lease": lease(30)});
        request.is("/claim").then_some(Answer::Json(200, claimed))
    })
    .await;
    let worker = Worker::new(WorkerConfig { workdir: dir.path().into(), ..server.config() });
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());
    server.until("/logs", 1).await;
    shutdown.drain();
    std::fs::write(dir.path().join("go"), "").expect("written");
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
    assert_eq!(server.seen("/complete")[0].json(), json!({"outputs": {}}));
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_repeated_with_its_request_for_the_next_job() {
    let (chain, lost) = (chain(2), AtomicUsize::new(0));
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L0/complete" if lost.fetch_add(1, Ordering::SeqCst) < 2 => Some(Answer::Drop),
        _ => chain(request),
    })
    .await;
    work(&server, server.config(), 4).await;
    let reports = server.seen("/L0/complete");
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|report| report.body == reports[0].body && report.json()["next"].is_object()));
    assert_eq!(calls(&server)[3..], ["L0/complete", "L1/complete"]);
}

#[tokio::test]
async fn a_next_job_whose_lease_began_while_its_answer_was_lost_is_renewed_in_time() {
    let refusals = AtomicUsize::new(2);
    let chain = chain(1);
    let server = Fake::start(move |request| match request.path.as_str() {
        // The client waits for a second after each.
        "/api/jobs/L0/complete" if refusals.load(Ordering::SeqCst) > 0 => {
            refusals.fetch_sub(1, Ordering::SeqCst);
            Some(Answer::Raw(503, "retry-after: 1\r\n", String::new()))
        }
        "/api/jobs/L0/complete" => {
            let mut next = granted(1);
            next["job"]["command"] = json!("sleep 1");
            next["lease"]["ttl_secs"] = json!(6);
            Some(Answer::Json(200, json!({ "next": next })))
        }
        _ => chain(request),
    })
    .await;
    work(&server, server.config(), 4).await;
    // The worker counts the lease from the first of three reports: a third of the ttl has passed.
    assert_eq!(server.seen("/L1/heartbeat").len(), 1);
}
