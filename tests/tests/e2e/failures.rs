//! Failures: retries while there are any left, then the skip of all dependents and of nothing else.

use harness::{Cloud, Failure, Success, graph};
use protocol::wire::WaitReason;

#[tokio::test]
async fn all_dependents_of_a_failed_job_are_skipped_and_an_independent_branch_goes_on() {
    let cloud = Cloud::connect();
    let jobs = ["bad", "one: bad", "two: one", "three: two", "good", "branch: good", "leaf: branch", "mixed: leaf two"];
    let run = cloud.submit(graph(jobs)).await;
    let worker = cloud.worker("w");
    let (first, second) = (worker.claims_any().await, worker.claims_any().await);
    let (bad, good) = if first.job.job_id.as_str() == "bad" { (first, second) } else { (second, first) };
    bad.fail("it broke", false).await.expect("accepted");
    run.until_job("three", harness::Skipped).await;
    run.until_job("mixed", harness::Skipped).await;
    assert_eq!(run.now().await.status, harness::Running, "the other branch isn't done");

    good.completes(&[]).await;
    worker.claims("branch").await.completes(&[]).await;
    worker.claims("leaf").await.completes(&[]).await;
    run.until(Failure).await;
    assert_eq!(
        run.jobs().await,
        "bad=failure one=skipped two=skipped three=skipped good=success branch=success leaf=success mixed=skipped"
    );
    worker.finds_nothing().await;
    let bad = run.job("bad").await;
    assert_eq!(
        (bad.error.as_deref(), bad.output.as_deref(), bad.exit_code),
        (Some("it broke"), Some("it broke"), Some(3))
    );
}

#[tokio::test]
async fn a_skip_elsewhere_does_not_skip_a_job_whose_needs_succeeded() {
    let cloud = Cloud::connect();
    // `own` is listed next to skipped jobs, and its need next to their needs.
    let run = cloud.submit(graph(["bad", "good", "gone: bad good", "own: good", "gone_too: gone", "after: own"])).await;
    let worker = cloud.worker("w");
    // Both are claimed before either is reported, because a report makes more jobs ready to claim.
    for root in [worker.claims_any().await, worker.claims_any().await] {
        if root.job.job_id.as_str() == "bad" {
            root.fail("it broke", false).await.expect("accepted");
        } else {
            root.completes(&[("from", "good")]).await;
        }
    }
    run.until_job("gone_too", harness::Skipped).await;
    let own = worker.claims("own").await;
    assert_eq!(own.received().await, serde_json::json!({ "good": { "from": "good" } }));
    own.completes(&[]).await;
    worker.claims("after").await.completes(&[]).await;
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "bad=failure good=success gone=skipped own=success gone_too=skipped after=success");
}

#[tokio::test]
async fn a_retryable_failure_is_retried_until_it_succeeds() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs: {build: {run: x, labels: '{label}', retries: 2}, next: {run: x, labels: '{label}', needs: build}}",
        )
        .await;
    let worker = cloud.worker("w");
    for attempt in 0..2 {
        let build = worker.claims("build").await;
        assert_eq!(build.job.attempt, attempt);
        build.fails(&format!("failure {attempt}")).await;
        let waiting = run.until_waits_for("next", WaitReason::Needs).await;
        assert_eq!(waiting.needs.map(|needs| needs[0].to_string()).as_deref(), Some("build"));
        let shown = run.job("build").await;
        assert_eq!((shown.attempt, shown.error), (attempt + 1, Some(format!("failure {attempt}"))));
    }
    let last = worker.claims("build").await;
    assert_eq!(last.job.attempt, 2);
    last.completes(&[]).await;
    worker.claims("next").await.completes(&[]).await;
    run.until(Success).await;
    let build = run.job("build").await;
    assert_eq!((build.attempt, build.error, build.max_retries), (2, None, 2));
}

#[tokio::test]
async fn without_retries_left_a_job_fails_and_names_the_cause() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs: {build: {run: x, labels: '{label}', retries: 1}, next: {run: x, labels: '{label}', needs: build}}",
        )
        .await;
    let worker = cloud.worker("w");
    worker.claims("build").await.fails("the first").await;
    worker.claims("build").await.fails("the last").await;
    run.until(Failure).await;
    worker.finds_nothing().await;
    assert_eq!(run.jobs().await, "build=failure next=skipped");
    let build = run.job("build").await;
    assert_eq!((build.attempt, build.error.as_deref()), (1, Some("the last")));
}

#[tokio::test]
async fn a_failure_that_is_not_retryable_is_not_retried() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 5}}").await;
    let worker = cloud.worker("w");
    worker.claims("build").await.fail("no such command", false).await.expect("accepted");
    run.until(Failure).await;
    assert_eq!(run.job("build").await.attempt, 0);
    worker.finds_nothing().await;
}

#[tokio::test]
async fn a_lost_worker_uses_a_retry_and_the_error_names_the_loss() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 1}}").await;
    for attempt in 0..2 {
        let build = cloud.worker(&format!("w{attempt}")).ttl(1).claims("build").await;
        assert_eq!(build.job.attempt, attempt);
        build.sleeps_past_its_lease().await;
    }
    run.until(Failure).await;
    let build = run.job("build").await;
    assert_eq!((build.attempt, build.exit_code), (1, None));
    assert!(build.error.as_ref().is_some_and(|error| error.contains("lost")), "{build:?}");
    cloud.worker("w2").finds_nothing().await;
}

#[tokio::test]
async fn an_error_text_over_the_limit_is_cut_at_a_character_boundary() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let text = format!("x{}", "é".repeat(5000));
    cloud.worker("w").claims("build").await.fail(&text, false).await.expect("accepted");
    run.until(Failure).await;
    let shown = run.job("build").await.error.expect("an error");
    let start = shown.strip_suffix('…').expect("it says that something is missing");
    assert!(start.len() <= 4096 && start.len() > 4000 && text.starts_with(start));
}

#[tokio::test]
async fn if_all_roots_fail_everything_else_is_skipped_and_the_workflow_ends() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b", "join: a b", "end: join"])).await;
    let worker = cloud.worker("w");
    for _ in 0..2 {
        worker.claims_any().await.fail("no", false).await.expect("accepted");
    }
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "a=failure b=failure join=skipped end=skipped");
}
