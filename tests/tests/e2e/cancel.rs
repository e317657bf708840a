//! Cancels, re-runs and deletes. After a cancel's answer nothing starts and no report counts.

use futures::future::join_all;
use harness::{Cancelled, Cloud, Failure, HeldLease, Queued, Success, done, graph};
use serde_json::{Value, json};

#[tokio::test]
async fn nothing_starts_after_a_cancel_is_answered() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph((0..30).map(|n| format!("j{n}")).chain(["end: j0".to_owned()]))).await;
    run.until_ready("j0").await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let claimers = (0..6).map(|n| {
        let (worker, stopped) = (cloud.worker(&format!("w{n}")), stopped.clone());
        async move {
            let (mut before, mut after): (Vec<HeldLease>, Vec<HeldLease>) = (Vec::new(), Vec::new());
            loop {
                // Read before the claim is sent: a claim sent before the cancel's answer may be granted.
                let cancelled = *stopped.borrow();
                match worker.claims_once().await {
                    Some(hold) if cancelled => after.push(hold),
                    Some(hold) => before.push(hold),
                    None if cancelled => return (before, after),
                    None => {}
                }
            }
        }
    });
    let canceller = async {
        run.cancel().await;
        stop.send(true).expect("claimers are there");
    };
    let (claimed, ()) = tokio::join!(join_all(claimers), canceller);
    for (before, after) in claimed {
        assert!(after.is_empty(), "started after the cancel: {after:?}");
        for hold in before {
            assert!(hold.complete(&[]).await.is_err_and(|refused| refused.is(409, "cancelled")));
        }
    }
    let ended = run.until(Cancelled).await;
    assert!(ended.jobs.iter().all(|job| job.status == Cancelled), "{}", run.jobs().await);
    cloud.worker("late").finds_nothing().await;
}

#[tokio::test]
async fn a_heartbeat_of_a_cancelled_job_says_so_and_its_reports_are_refused() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["first", "build: first", "deploy: build"])).await;
    let worker = cloud.worker("w");
    worker.claims("first").await.completes(&[("kept", "1")]).await;
    let build = worker.claims("build").await;
    assert!(!build.heartbeat().await.expect("it runs").cancelled);
    run.cancel().await;

    for _ in 0..2 {
        let beat = build.heartbeat().await.expect("an answer, not a refusal");
        assert!(beat.cancelled && beat.lease.lease_id == build.lease.lease_id);
        assert!(build.complete(&[("late", "1")]).await.is_err_and(|refused| refused.is(409, "cancelled")));
        assert!(build.fail("late", true).await.is_err_and(|refused| refused.is(409, "cancelled")));
        assert!(build.log(&[(1, "late\n")]).await.is_err_and(|refused| refused.status == 409));
        let asked = cloud.get(&format!("/api/jobs/{}/build/cancelled", run.id)).await;
        assert_eq!((asked.status.as_u16(), asked.json()), (200, json!(true)));
        // The second heartbeat uses the last lease, when the job is already cancelled.
        run.until(Cancelled).await;
    }
    assert_eq!(run.jobs().await, "first=success build=cancelled deploy=cancelled");
    assert_eq!(json!(run.outputs("build").await), json!({}));
    let first = cloud.get(&format!("/api/jobs/{}/first/cancelled", run.id)).await;
    assert_eq!(first.json(), json!(false), "what had ended stays as it was");
}

#[tokio::test]
async fn a_run_after_a_cancel_starts_from_the_beginning() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs: {build: {run: x, labels: '{label}', retries: 3}, next: {run: x, labels: '{label}', needs: build}}",
        )
        .await;
    let worker = cloud.worker("w");
    worker.claims("build").await.fails("once").await;
    let old = worker.claims("build").await;
    old.log(&[(0, "from the old run\n")]).await.expect("accepted");
    run.cancel().await;
    run.until(Cancelled).await;

    run.start().await.expect("it has ended");
    let fresh = run.now().await;
    assert_eq!((fresh.run, fresh.finished_at_ms), (2, None));
    let new = worker.claims("build").await;
    assert_eq!((new.job.attempt, new.job.run), (0, 2));
    assert_ne!(new.lease.lease_id, old.lease.lease_id);
    for (call, answer) in old.tries_everything().await {
        assert!(call == "heartbeat" || answer.is_err(), "{call} with a lease of the old run");
    }
    let shown = run.job("build").await;
    assert_eq!((shown.status, shown.error, shown.outputs.len()), (harness::Running, None, 0));
    assert_eq!(cloud.get(&run.path("/jobs/build/logs")).await.json(), json!([]), "the old run's log is not this one's");

    new.completes(&[("run", "2")]).await;
    let next = worker.claims("next").await;
    assert_eq!(next.received().await, json!({ "build": { "run": "2" } }));
    next.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn only_failed_keeps_succeeded_jobs_with_their_outputs() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["good", "large: good", "bad: good", "join: large bad"])).await;
    let worker = cloud.worker("w");
    let big = "é\n\"%".repeat(40_000);
    worker.claims("good").await.completes(&[("version", "1.2.3")]).await;
    for number in 1..=3 {
        // Each run but the last fails at `bad`. The first run also runs `large`, and the others keep its outputs.
        for _ in 0..if number == 1 { 2 } else { 1 } {
            let hold = worker.claims_any().await;
            assert_eq!(hold.job.run, number);
            match hold.job.job_id.as_str() {
                "large" => hold.completes(&[("big", &big)]).await,
                "bad" if number < 3 => hold.fail("not yet", false).await.expect("accepted"),
                "bad" => {
                    assert_eq!(hold.received().await, json!({ "good": { "version": "1.2.3" } }));
                    hold.completes(&[("now", "it works")]).await;
                }
                other => panic!("{other} was to be kept"),
            }
        }
        if number < 3 {
            run.until(Failure).await;
            worker.finds_nothing().await;
            run.start_failed().await.expect("it has ended");
        }
    }
    let join = worker.claims("join").await;
    assert!(join.received().await == json!({ "large": { "big": big }, "bad": { "now": "it works" } }));
    join.completes(&[]).await;
    let ended = run.until(Success).await;
    assert_eq!(ended.run, 3);
    assert!(json!(run.outputs("large").await) == json!({ "big": big }));
    assert_eq!(json!(run.job("good").await.outputs), json!({ "version": "1.2.3" }));
}

#[tokio::test]
async fn only_failed_of_a_succeeded_run_runs_nothing_and_ends_at_once() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "next: build"])).await;
    let worker = cloud.worker("w");
    worker.claims("build").await.completes(&[("a", "1")]).await;
    worker.claims("next").await.completes(&[]).await;
    run.until(Success).await;
    run.start_failed().await.expect("it has ended");
    harness::eventually("the second run has ended", async || {
        let now = run.now().await;
        (now.run == 2 && now.status == Success).then_some(())
    })
    .await;
    worker.finds_nothing().await;
    assert_eq!(json!(run.outputs("build").await), json!({ "a": "1" }));
}

#[tokio::test]
async fn cancelling_a_final_workflow_is_accepted_and_changes_nothing() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    cloud.worker("w").claims("build").await.completes(&[("a", "1")]).await;
    let ended = done(run.until(Success).await);
    for _ in 0..2 {
        let answer = cloud.post(&run.path("/cancel"), json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({ "id": run.id })));
    }
    assert_eq!(done(run.now().await), ended);
}

#[tokio::test]
async fn cancelling_a_workflow_that_was_never_started_ends_it() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build", "next: build"]), false, None).await;
    assert_eq!(run.now().await.status, Queued);
    run.cancel().await;
    run.until(Cancelled).await;
    assert_eq!(run.jobs().await, "build=cancelled next=cancelled");
    cloud.worker("w").finds_nothing().await;
}

#[tokio::test]
async fn a_running_workflow_cannot_be_started_or_deleted() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    for refused in [run.start().await, run.start_failed().await, run.delete().await] {
        let refused = refused.expect_err("it runs");
        assert!(refused.is(409, "workflow_running"), "{refused:?}");
        assert!(refused.message.contains(run.id.as_str()) && refused.message.contains("cancel"), "{}", refused.message);
    }
    assert_eq!((run.now().await.run, run.jobs().await.as_str()), (1, "build=running"));
    build.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_deleted_workflow_is_gone_with_its_jobs_outputs_and_logs() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    build.log(&[(0, "hello\n")]).await.expect("accepted");
    let large = "x".repeat(100_000);
    build.completes(&[("large", &large)]).await;
    run.until(Success).await;

    let answer = cloud.send("DELETE", &run.path(""), "", "").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (204, ""));
    for (method, path) in [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/jobs/build/logs"),
        ("GET", "/jobs/build/outputs"),
        ("POST", "/run"),
        ("POST", "/cancel"),
        ("DELETE", ""),
    ] {
        let refused = cloud.send(method, &run.path(path), "", "").await.error();
        assert!(refused.is(404, "no_such_workflow"), "{method} {path}: {refused:?}");
    }
    assert!(build.complete(&[("late", "")]).await.is_err_and(|refused| refused.status == 409));
    let listed = cloud.get("/api/workflows?limit=1000").await.json();
    let mut ids = listed.as_array().expect("a list").iter().map(|workflow: &Value| workflow["id"].clone());
    assert!(!ids.any(|id| id == json!(run.id)));
}

#[tokio::test]
async fn a_workflow_that_was_never_started_can_be_deleted() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build"]), false, None).await;
    run.delete().await.expect("it doesn't run");
    assert!(run.start().await.is_err_and(|refused| refused.is(404, "no_such_workflow")));
    cloud.worker("w").finds_nothing().await;
}
