//! `concurrency`: jobs, and runs, of a group take turns.

use harness::{Cancelled, Cloud, Failure, HeldLease, Queued, Run, Running, Success, eventually};
use protocol::access::Scope;
use protocol::wire::{WaitReason, WaitingFor};
use serde_json::json;

/// One job in the group `db` of the test.
const MIGRATE: &str = "jobs: {migrate: {run: x, labels: '{label}', retries: 1, concurrency: '{label}-DB'}}";

/// Submits workflows like this one. Each has its place in the group before the next is submitted.
async fn in_order<const N: usize>(cloud: &Cloud, definition: &str) -> [Run; N] {
    let mut runs = Vec::new();
    for n in 0..N {
        let run = cloud.submit(definition).await;
        if n == 0 {
            run.until_ready("migrate").await;
        } else {
            run.until_waits_for("migrate", WaitReason::Concurrency).await;
            let ahead = async || Some(waits(&run, "migrate").await?.ahead? == n - 1).filter(|right| *right);
            eventually("it has its place", ahead).await;
        }
        runs.push(run);
    }
    runs.try_into().unwrap_or_else(|_| unreachable!("so many were submitted"))
}

async fn waits(run: &Run, job: &str) -> Option<WaitingFor> {
    run.job(job).await.waiting_for
}

/// Expects a lease of this run.
fn of(run: &Run, held: HeldLease) -> HeldLease {
    assert_eq!(held.job.workflow_id, run.id, "another run came first");
    held
}

/// Waits until the run waits for its turn.
async fn until_blocked(run: &Run) -> WaitingFor {
    eventually("the run waits for its turn", async || run.now().await.waiting_for).await
}

#[tokio::test]
async fn jobs_of_a_group_run_one_at_a_time_in_the_order_in_which_they_came() {
    let cloud = Cloud::connect();
    let runs: [Run; 5] = in_order(&cloud, MIGRATE).await;
    let worker = cloud.worker("w");
    for (n, run) in runs.iter().enumerate() {
        let held = of(run, worker.claims_any().await);
        worker.finds_nothing().await;
        if let Some(last) = runs.last().filter(|last| last.id != run.id) {
            let waiting = waits(last, "migrate").await.expect("it waits");
            let holder = waiting.holder.clone().expect("somebody has the group");
            assert_eq!(
                (holder.workflow, holder.job.map(|job| job.to_string())),
                (run.id.clone(), Some("migrate".into()))
            );
            assert_eq!(waiting.group, Some(cloud.fill("{label}-db").to_lowercase()));
            assert_eq!(waiting.ahead, Some(3 - n), "{waiting:?}");
        }
        held.completes(&[]).await;
    }
    for run in &runs {
        run.until(Success).await;
    }
    worker.finds_nothing().await;
}

#[tokio::test]
async fn a_job_keeps_its_group_over_its_tries_and_gives_it_up_however_it_ends() {
    let cloud = Cloud::connect();
    let [fails, cancelled, lost, waits, end]: [Run; 5] = in_order(&cloud, MIGRATE).await;
    let worker = cloud.worker("w");
    of(&fails, worker.claims_any().await).fails("it broke").await;
    let again = of(&fails, worker.claims_any().await);
    assert_eq!(again.job.attempt, 1, "its second try comes before the others");
    again.fails("it broke again").await;
    fails.until(Failure).await;
    of(&cancelled, worker.claims_any().await);
    worker.finds_nothing().await;
    cancelled.cancel().await;
    for _ in 0..2 {
        of(&lost, worker.clone().ttl(1).claims_any().await);
    }
    waits.cancel().await;
    waits.until(Cancelled).await;
    of(&end, worker.claims_any().await).completes(&[]).await;
    end.until(Success).await;
    assert_eq!((lost.until(Failure).await.status, cancelled.now().await.status), (Failure, Cancelled));
}

#[tokio::test]
async fn a_job_that_no_worker_takes_gives_up_its_group_with_its_queue_timeout() {
    let cloud = Cloud::connect();
    let untaken = "jobs: {migrate: {run: x, labels: '{label}-nobody', queue_timeout: 2, concurrency: '{label}-db'}}";
    let [first] = in_order(&cloud, untaken).await;
    let next = cloud.submit(MIGRATE).await;
    of(&next, cloud.worker("w").claims_any().await).completes(&[]).await;
    next.until(Success).await;
    first.until(Failure).await;
    let (over, began) = (first.job("migrate").await.finished_at_ms, next.job("migrate").await.started_at);
    assert!(over.is_some() && began >= over, "{began:?} is before {over:?}");
}

#[tokio::test]
async fn the_next_job_of_a_completion_is_none_of_a_group() {
    let cloud = Cloud::connect();
    let text =
        "jobs: {a: {run: x, labels: '{label}'}, b: {needs: a, run: x, labels: '{label}', concurrency: '{label}-g'}}";
    let run = cloud.submit(text).await;
    let worker = cloud.worker("w");
    let next = worker.claims("a").await.complete_for_next(&[], &worker).await.expect("accepted");
    assert!(next.is_none(), "{next:?}");
    worker.claims("b").await.completes(&[]).await;
    run.until(Success).await;
}

/// A build and a deploy in the group `release` of the test.
const RELEASE: &str = "concurrency: '{label}-release'
jobs: {build: {run: x, labels: '{label}'}, deploy: {needs: build, run: x, labels: '{label}'}}";

#[tokio::test]
async fn runs_of_a_group_are_open_one_at_a_time() {
    let cloud = Cloud::connect();
    let worker = cloud.worker("w");
    let first = cloud.submit(RELEASE).await;
    first.until_ready("build").await;
    let second = cloud.submit(RELEASE).await;
    until_blocked(&second).await;
    let third = cloud.submit_with(RELEASE, false, None).await;
    third.start().await.expect("it is started");
    let waiting = until_blocked(&third).await;
    assert_eq!((waiting.reason, waiting.ahead), (WaitReason::Concurrency, Some(1)));
    let holder = waiting.holder.expect("somebody has the group");
    assert_eq!((holder.workflow, holder.job), (first.id.clone(), None));
    let now = second.now().await;
    assert_eq!((now.status, now.started_at_ms), (Queued, None));
    let refused = second.start().await.expect_err("it was started");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(second.delete().await.expect_err("it was started").status, 409);

    of(&first, worker.claims("build").await).completes(&[]).await;
    let deploy = of(&first, worker.claims("deploy").await);
    worker.finds_nothing().await;
    second.cancel().await;
    second.until(Cancelled).await;
    deploy.fails("it broke").await;
    first.until(Failure).await;
    third.until(Running).await;
    first.start_failed().await.expect("a re-run waits like any other");
    until_blocked(&first).await;
    for run in [&third, &first] {
        if run.id == third.id {
            of(run, worker.claims("build").await).completes(&[]).await;
        }
        of(run, worker.claims("deploy").await).completes(&[]).await;
        run.until(Success).await;
    }
}

#[tokio::test]
async fn runs_with_other_values_of_the_inputs_in_per_are_in_another_group() {
    let cloud = Cloud::connect();
    let text = "inputs: {region: null, note: null}
concurrency: {group: '{label}-per', per: region}
jobs: {deploy: {run: x, labels: '{label}'}}";
    let submit = async |inputs: serde_json::Value| {
        let body = json!({ "definition": cloud.definition(text), "inputs": inputs });
        let answer = cloud.send("POST", "/api/workflows?run=true", "application/json", body.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        cloud.run(answer.json()["id"].as_str().expect("an id").parse().expect("an id"))
    };
    let eu = submit(json!({ "region": "eu,é\"\n" })).await;
    eu.until_ready("deploy").await;
    let us = submit(json!({ "region": "us" })).await;
    us.until_ready("deploy").await;
    let again = submit(json!({ "region": "eu,é\"\n", "note": "another" })).await;
    let waiting = until_blocked(&again).await;
    assert_eq!(waiting.group, Some(cloud.fill("{label}-per").to_lowercase() + " (region=eu,é\\\"\\n)"));
    eu.cancel().await;
    again.until_ready("deploy").await;
}

#[tokio::test]
async fn a_newer_run_cancels_an_older_one_that_said_so_and_no_other() {
    let cloud = Cloud::connect();
    let keeps = "concurrency: '{label}-ci'\njobs: {test: {run: x, labels: '{label}'}}";
    let yields = "concurrency: {group: '{label}-ci', when_newer: cancel}\njobs: {test: {run: x, labels: '{label}'}}";
    let first = cloud.submit(keeps).await;
    first.until_ready("test").await;
    let second = cloud.submit(yields).await;
    until_blocked(&second).await;
    let third = cloud.submit(yields).await;
    second.until(Cancelled).await;
    let worker = cloud.worker("w");
    of(&first, worker.claims("test").await).completes(&[]).await;
    first.until(Success).await;
    let held = of(&third, worker.claims("test").await);
    let fourth = cloud.submit(keeps).await;
    third.until(Cancelled).await;
    assert!(held.complete(&[]).await.is_err_and(|refused| refused.is(409, "cancelled")));
    of(&fourth, worker.claims("test").await).completes(&[]).await;
    fourth.until(Success).await;
}

#[tokio::test]
async fn a_group_needs_a_token_that_allows_it_as_a_label() {
    let cloud = Cloud::connect();
    let token = cloud.token("pipeline", &[Scope::Submit], "{label},{label}-stage").await;
    let limited = cloud.seen_by(Some(&token));
    for (group, definition) in [
        ("{label}-prod", "concurrency: '{label}-prod'\njobs: {a: {run: x, labels: '{label}'}}"),
        ("{label}-prod", "jobs: {a: {run: x, labels: '{label}', concurrency: '{label}-PROD'}}"),
    ] {
        let text = cloud.fill(definition);
        let refused = limited.send("POST", "/api/workflows", "application/yaml", text).await.error();
        assert!(refused.is(403, "group_not_allowed"), "{refused:?}");
        assert!(refused.message.contains(&cloud.fill(group).to_lowercase()), "{refused:?}");
        let other = cloud.submit_with(definition, false, None).await;
        let refused = limited.send("POST", &other.path("/run"), "", "").await.error();
        assert!(refused.is(403, "group_not_allowed"), "{refused:?}");
    }
    let allowed = cloud.fill("concurrency: '{label}-stage'\njobs: {a: {run: x, labels: '{label}'}}");
    assert_eq!(limited.send("POST", "/api/workflows", "application/yaml", allowed).await.status, 201);
}
