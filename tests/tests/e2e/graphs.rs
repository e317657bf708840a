//! Graphs: every job runs once, after all its needs.

use std::time::Instant;

use futures::future::join_all;
use harness::{Cloud, Run, Success, graph};

/// All jobs of these runs, in the form in which workers report what they ran.
async fn jobs_of(runs: &[&Run]) -> Vec<String> {
    let all = join_all(runs.iter().map(|run| run.now())).await;
    let mut names: Vec<String> =
        all.iter().flat_map(|workflow| workflow.jobs.iter().map(|job| format!("{} {}", workflow.id, job.id))).collect();
    names.sort();
    names
}

/// Asserts that these workers run each job once, and that all jobs succeed.
async fn every_job_runs_once(cloud: &Cloud, workers: usize, runs: &[&Run]) {
    let done = cloud.worker("any").process(workers, runs).await;
    assert_eq!(done, jobs_of(runs).await);
    for run in runs {
        let workflow = run.until(Success).await;
        assert!(workflow.jobs.iter().all(|job| job.status == Success && job.attempt == 0));
        assert!(workflow.started_at_ms <= workflow.finished_at_ms && workflow.run == 1);
    }
}

#[tokio::test]
async fn a_chain_of_10_runs_in_order() {
    let cloud = Cloud::connect();
    let jobs = (0..10).map(|n| if n == 0 { "j0".to_owned() } else { format!("j{n}: j{}", n - 1) });
    let run = cloud.submit(graph(jobs)).await;
    let worker = cloud.worker("w");
    for n in 0..10 {
        worker.claims(&format!("j{n}")).await.completes(&[]).await;
    }
    run.until(Success).await;
    worker.finds_nothing().await;
}

#[tokio::test]
async fn the_last_job_of_a_diamond_waits_for_both_branches() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["top", "left: top", "right: top", "end: left right"])).await;
    let worker = cloud.worker("w");
    worker.claims("top").await.completes(&[]).await;
    let (one, other) = (worker.claims_any().await, worker.claims_any().await);
    worker.finds_nothing().await;
    one.completes(&[]).await;
    worker.finds_nothing().await;
    other.completes(&[]).await;
    worker.claims("end").await.completes(&[]).await;
    run.until(Success).await;
}

/// A number that the soak sets higher.
fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// `WFG_FAN` jobs side by side, on `WFG_FAN_WORKERS` workers, `WFG_FAN_TIMES` times.
#[tokio::test]
async fn a_fan_out_and_fan_in_of_200_run_each_job_once_with_4_workers() {
    let wide: Vec<String> = (0..number("WFG_FAN", 200)).map(|n| format!("w{n}")).collect();
    let jobs = wide.iter().map(|name| format!("{name}: start"));
    let text = graph(["start".to_owned()].into_iter().chain(jobs).chain([format!("end: {}", wide.join(" "))]));
    for time in 1..=number("WFG_FAN_TIMES", 1) {
        let began = Instant::now();
        let cloud = Cloud::connect();
        let run = cloud.submit(&text).await;
        every_job_runs_once(&cloud, number("WFG_FAN_WORKERS", 4), &[&run]).await;
        println!("fan-out and fan-in of {}, time {time}: {:.0} s", wide.len(), began.elapsed().as_secs_f32());
    }
}

#[tokio::test]
async fn a_fan_in_of_250_starts_after_the_last_need() {
    let cloud = Cloud::connect();
    let wide: Vec<String> = (0..250).map(|n| format!("w{n}")).collect();
    let run = cloud.submit(graph(wide.iter().cloned().chain([format!("end: {}", wide.join(" "))]))).await;
    let worker = cloud.worker("w").ttl(600);
    let last = worker.claims_any().await;
    let others = ["a", "b", "c"].map(|name| cloud.worker(name));
    join_all(others.iter().map(async |other| {
        for _ in 0..83 {
            other.claims_any().await.completes(&[]).await;
        }
    }))
    .await;
    worker.finds_nothing().await;
    let waiting = run.job("end").await.waiting_for.expect("it waits");
    assert_eq!(waiting.needs, Some(vec![last.job.job_id.clone()]));

    last.completes(&[]).await;
    let end = worker.claims("end").await;
    assert_eq!(end.received().await.as_object().map(serde_json::Map::len), Some(250));
    end.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn two_concurrent_workflows_run_each_of_their_jobs_once() {
    let cloud = Cloud::connect();
    let text = graph(["a", "b: a", "c: a", "d: b c", "e", "f: d e", "g: f"]);
    let (one, other) = (cloud.submit(&text).await, cloud.submit(&text).await);
    assert_ne!(one.id, other.id);
    every_job_runs_once(&cloud, 4, &[&one, &other]).await;
}

#[tokio::test]
async fn a_file_that_lists_dependents_first_runs_by_needs_and_is_shown_in_its_own_order() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["last: middle", "middle: first", "first"])).await;
    let worker = cloud.worker("w");
    for name in ["first", "middle", "last"] {
        worker.claims(name).await.completes(&[]).await;
    }
    run.until(Success).await;
    assert_eq!(run.jobs().await, "last=success middle=success first=success");
}

#[tokio::test]
async fn nothing_runs_before_the_workflow_is_started() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build"]), false, None).await;
    let worker = cloud.worker("w");
    worker.finds_nothing().await;
    assert_eq!(run.now().await.status, harness::Queued);
    run.start().await.expect("started");
    worker.claims("build").await.completes(&[]).await;
    run.until(Success).await;
}
