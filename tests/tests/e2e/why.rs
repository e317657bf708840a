//! `waiting_for`: why a job waits.

use std::time::Duration;

use harness::{Cloud, Success, eventually, graph};
use protocol::wire::WaitReason;
use protocol::{LabelSet, Millis};

#[tokio::test]
async fn a_job_that_waits_for_needs_names_the_open_ones() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b", "c: a b"])).await;
    let waiting = run.until_waits_for("c", WaitReason::Needs).await;
    assert_eq!(
        waiting.needs.map(|needs| needs.iter().map(ToString::to_string).collect()),
        Some(vec!["a".to_owned(), "b".into()])
    );
    assert!(Millis::now().since(waiting.since_ms) < Duration::from_mins(1));

    let done = cloud.worker("w").claims_any().await;
    done.completes(&[]).await;
    let left = if done.job.job_id.as_str() == "a" { "b" } else { "a" };
    eventually("one need is left", async || {
        let needs = run.job("c").await.waiting_for?.needs?;
        (needs.len() == 1 && needs[0].as_str() == left).then_some(())
    })
    .await;
    assert_eq!(run.job(done.job.job_id.as_str()).await.waiting_for, None, "what has ended waits for nothing");
    run.cancel().await;
    assert_eq!(run.job("c").await.waiting_for, None, "what was cancelled waits for nothing");
}

#[tokio::test]
async fn a_job_without_online_workers_waits_for_no_worker() {
    // On a shared target other tests' workers are online.
    let cloud = Cloud::alone().await;
    let run = cloud.submit("jobs: {any: {run: x}, special: {run: x, labels: gpu}}").await;
    run.until_waits_for("any", WaitReason::NoWorker).await;
    let waiting = run.until_waits_for("special", WaitReason::NoWorker).await;
    assert_eq!((waiting.missing, waiting.nearest, waiting.busy), (None, None, None));

    let worker = cloud.worker("w").labelled("other").takes_anything().registers(&[]).await;
    run.until_waits_for("special", WaitReason::MissingLabels).await;
    worker.leaves().await;
    run.until_waits_for("special", WaitReason::NoWorker).await;

    cloud.worker("x").labelled("other").registers(&[]).await;
    let waiting = run.until_waits_for("any", WaitReason::Exclusive).await;
    assert_eq!(waiting.nearest.map(|id| id.to_string()), Some(format!("{}-x", cloud.label)));
}

#[tokio::test]
async fn missing_label_is_named_with_the_nearest_worker() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: ['{label}', '{label}-gpu', '{label}-big']}}").await;
    cloud.worker("far").labelled("{label}").registers(&[]).await;
    let near = cloud.worker("near").labelled("{label}, {label}-BIG").registers(&[]).await;
    // A function knows the workers as they were some seconds ago.
    let waiting = eventually("the nearest worker is named", async || {
        let waiting = run.job("build").await.waiting_for?;
        (waiting.reason == WaitReason::MissingLabels && waiting.nearest.as_ref() == Some(near.id())).then_some(waiting)
    })
    .await;
    assert_eq!(waiting.missing, LabelSet::parse([format!("{}-gpu", cloud.label).as_str()]).ok());

    // A worker with all labels comes and takes the job without any other action.
    cloud.worker("all").labelled("{label}, {label}-big, {label}-gpu").claims("build").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_job_that_waits_for_busy_workers_shows_their_number_and_since_when() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b", "c"])).await;
    let one = cloud.worker("one").claims_any().await;
    let two = cloud.worker("two").claims_any().await;
    let all = ["a", "b", "c"];
    let waits = all.into_iter().find(|id| ![&one, &two].iter().any(|hold| hold.job.job_id.as_str() == *id));
    let waits = waits.expect("two of three run");
    eventually("both workers are seen to be busy", async || {
        let waiting = run.job(waits).await.waiting_for?;
        (waiting.reason == WaitReason::Busy && waiting.busy == Some(2) && waiting.since_ms > Millis(0)).then_some(())
    })
    .await;
    one.completes(&[]).await;
    two.completes(&[]).await;
    cloud.worker("one").claims(waits).await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_job_whose_needs_succeeded_is_ready_before_any_worker_appears() {
    let cloud = Cloud::connect();
    let text = "jobs: {build: {run: x, labels: '{label}'}, deploy: {run: x, labels: '{label}-late', needs: build}}";
    let run = cloud.submit(text).await;
    cloud.worker("w").claims("build").await.completes(&[]).await;
    run.until_ready("deploy").await;
    let pool = eventually("the job waits in its pool", async || {
        let pools = cloud.client.pools().await.expect("pools");
        let own = LabelSet::parse([format!("{}-late", cloud.label).as_str()]).expect("labels");
        pools.into_iter().find(|pool| pool.labels == own && pool.waiting == 1)
    })
    .await;
    assert!(pool.workers_online == 0 && pool.oldest_ms.is_some() && pool.running == 0, "{pool:?}");

    let seen = Millis::now();
    let deploy = cloud.worker("late").labelled("{label}-late").claims("deploy").await;
    assert!(deploy.job.enqueued_at_ms <= seen, "it was ready before its worker appeared");
    deploy.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_running_job_and_one_never_started_wait_for_nothing() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build"]), false, None).await;
    assert_eq!(run.job("build").await.waiting_for, None);
    run.start().await.expect("started");
    let build = cloud.worker("w").claims("build").await;
    assert_eq!(run.job("build").await.waiting_for, None);
    build.completes(&[]).await;
    run.until(Success).await;
}
