//! Timers: leases, retry delays, `timeout` and `queue_timeout`.

use std::time::{Duration, Instant};

use harness::{Cancelled, Cloud, Failure, Running, Success, graph};
use protocol::Millis;
use protocol::wire::{Cause, Job, WaitReason};

/// The causes of a job's failed attempts, in order.
fn causes(job: &Job) -> Vec<Cause> {
    job.attempts.iter().map(|attempt| attempt.cause).collect()
}

#[tokio::test]
async fn a_lease_that_expires_without_a_report_ends_the_attempt() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 1}}").await;
    let build = cloud.worker("silent").ttl(2).claims("build").await;
    build.sleeps_past_its_lease().await;
    let over = Instant::now();
    run.until_ready("build").await;
    println!("requeued {} ms after the lease was over", over.elapsed().as_millis() + 100);
    let lost = &run.job("build").await.attempts[0];
    assert_eq!((lost.cause, lost.attempt, lost.exit_code), (Cause::Lost, 0, None), "{lost:?}");
    assert_eq!(lost.worker_id.as_ref(), Some(&build.lease.worker_id));
}

#[tokio::test]
async fn each_cause_uses_its_own_budget_and_the_status_shows_every_attempt_with_its_cause() {
    let cloud = Cloud::connect();
    let retry = "{max: 1, lost: 1, timeout: 1}";
    let job = format!("jobs: {{build: {{run: x, labels: '{{label}}', timeout: 6, retry: {retry}}}}}");
    let run = cloud.submit(job).await;
    let worker = cloud.worker("w");
    let first = worker.claims("build").await;
    assert_eq!(first.job.timeout_secs, Some(6));
    first.fails("it broke").await;
    worker.clone().ttl(1).claims("build").await;
    run.until_ready("build").await;
    worker.claims("build").await;
    run.until_ready("build").await;
    let last = worker.claims("build").await;
    assert_eq!(last.job.attempt, 3);
    last.fails("it broke again").await;
    run.until(Failure).await;
    let job = run.job("build").await;
    assert_eq!(causes(&job), [Cause::Failure, Cause::Lost, Cause::Timeout, Cause::Failure], "{:#?}", job.attempts);
    let numbers: Vec<u32> = job.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let errors: Vec<&str> = job.attempts.iter().map(|attempt| attempt.error.as_str()).collect();
    assert!(errors[1].contains("lost") && errors[2].contains("timeout of 6 s"), "{errors:?}");
    assert_eq!((errors[0], errors[3], job.error.as_deref()), ("it broke", "it broke again", Some("it broke again")));
}

#[tokio::test]
async fn a_cause_without_a_budget_of_its_own_uses_max() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retry: {max: 1, timeout: 5}}}").await;
    cloud.worker("one").ttl(1).claims("build").await;
    run.until_ready("build").await;
    cloud.worker("two").claims("build").await.fails("it broke").await;
    run.until(Failure).await;
    assert_eq!(causes(&run.job("build").await), [Cause::Lost, Cause::Failure]);
}

#[tokio::test]
async fn a_retry_waits_for_its_delay_and_shows_when_it_ends() {
    let cloud = Cloud::connect();
    // Long enough for a busy emulator to show it.
    let retry = "{max: 2, backoff: exponential, delay: 10}";
    let run = cloud.submit(format!("jobs: {{build: {{run: x, labels: '{{label}}', retry: {retry}}}}}")).await;
    let worker = cloud.worker("w");
    let mut build = worker.claims("build").await;
    for delay in [10_000, 20_000] {
        build.fails("it broke").await;
        let waiting = run.until_waits_for("build", WaitReason::Delayed).await;
        let until = waiting.until_ms.expect("it says until when");
        build = worker.claims("build").await;
        assert!(Millis::now() >= until, "given before its time");
        assert_eq!(build.job.delayed_until_ms, until);
        let failed = run.job("build").await.attempts.last().expect("it failed").finished_at_ms;
        assert_eq!(until.since(failed), Duration::from_millis(delay));
    }
    build.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn heartbeats_do_not_extend_a_job_past_its_timeout() {
    let cloud = Cloud::connect();
    let run =
        cloud.submit("jobs: {build: {run: x, labels: '{label}', timeout: 3s}, next: {run: x, needs: build}}").await;
    let build = cloud.worker("w").claims("build").await;
    let deadline = build.lease.granted_at_ms + Duration::from_secs(build.lease.ttl_secs.into());
    while let Ok(beat) = build.heartbeat().await {
        let until = beat.lease.granted_at_ms + Duration::from_secs(beat.lease.ttl_secs.into());
        assert!(until <= deadline, "a heartbeat moved the end to {until}, past {deadline}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(Millis::now() >= deadline, "it was ended before its time");
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "build=failure next=skipped");
    let job = run.job("build").await;
    assert_eq!(causes(&job), [Cause::Timeout]);
    for (call, answer) in build.tries_everything().await {
        assert!(answer.expect_err(call).is(409, "lease_lost"), "{call}");
    }
}

#[tokio::test]
async fn a_job_that_no_worker_takes_in_time_fails_and_its_dependents_are_skipped() {
    let cloud = Cloud::connect();
    let jobs = "jobs: {build: {run: x, labels: '{label}', queue_timeout: 1, retries: 3}, next: {run: x, needs: build}}";
    let run = cloud.submit(jobs).await;
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "build=failure next=skipped");
    let job = run.job("build").await;
    assert_eq!((causes(&job), job.attempt, &job.worker_id), (vec![Cause::QueueTimeout], 0, &None));
    assert!(job.error.as_ref().is_some_and(|error| error.contains("queue_timeout of 1 s")), "{job:?}");
    cloud.worker("late").finds_nothing().await;
}

#[tokio::test]
async fn a_queue_timeout_counts_from_ready_to_claimed() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit("jobs: {a: {run: x, labels: '{label}'}, b: {run: x, labels: '{label}', needs: a, queue_timeout: 8}}");
    let run = run.await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    a.completes(&[]).await;
    let b = worker.claims("b").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(run.job("b").await.status, Running);
    b.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_cancel_ends_a_job_that_waits_for_its_retry() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {late: {run: x, labels: '{label}', retry: {max: 1, delay: 1h}}}").await;
    let worker = cloud.worker("w");
    worker.claims("late").await.fails("it broke").await;
    run.until_waits_for("late", WaitReason::Delayed).await;
    run.cancel().await;
    run.until(Cancelled).await;
    assert_eq!(run.jobs().await, "late=cancelled");
    worker.finds_nothing().await;
}

#[tokio::test]
async fn a_rerun_has_all_its_retries_and_the_same_limits() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 1, timeout: 90}}").await;
    let worker = cloud.worker("w");
    for _ in 0..2 {
        for _ in 0..2 {
            let build = worker.claims("build").await;
            assert_eq!(build.job.timeout_secs, Some(90));
            build.fails("it broke").await;
        }
        run.until(Failure).await;
        assert_eq!(causes(&run.job("build").await), [Cause::Failure; 2]);
        run.start().await.expect("it has ended");
    }
    run.cancel().await;
    run.until(Cancelled).await;
}

#[tokio::test]
async fn a_chain_that_loses_every_worker_once_runs_to_its_end() {
    let cloud = Cloud::connect();
    let text = graph(["a", "b: a", "c: b"]).replace("run: 'true'", "run: 'true', retry: {lost: 1}");
    let run = cloud.submit(text).await;
    for job in ["a", "b", "c"] {
        cloud.worker("dies").ttl(1).claims(job).await;
        run.until_ready(job).await;
        cloud.worker("lives").claims(job).await.completes(&[]).await;
    }
    run.until(Success).await;
}
