//! All faults at once, on the real functions: their calls to AWS fail, they are killed, messages are deleted, and
//! workers are killed and paused. `WFG_CHAOS_WORKFLOWS` sets the number of workflows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use futures::future::join_all;
use harness::{Cancelled, Chaos, Cloud, Program, Run, Success, between};
use protocol::wire::{Cause, Workflow};
use serde_json::json;
use tokio::time::sleep;

const INSTALL: &str = "`cargo xtask test` names the worker in WFG_TEST_WORKER.";
const WORKERS: usize = 4;
/// Concurrent workflows.
const AT_ONCE: usize = 4;
/// A worker's lease is 3 s. A worker that is paused longer than that loses its job.
const PAUSE: Duration = Duration::from_secs(5);
/// The number of rows, and of jobs in each.
const ROWS: usize = 4;
const WIDE: usize = 4;
/// The longest time in which no job of a workflow changes. The sweep runs every minute and finds what a lost message left
/// behind. The whole workflow has no time limit: on a machine where a heartbeat takes longer than the 3 s of a lease, many
/// attempts are lost.
const STANDSTILL: Duration = Duration::from_mins(3);

/// The number of workflows.
fn workflows() -> usize {
    std::env::var("WFG_CHAOS_WORKFLOWS").map_or(4, |text| text.parse().expect("WFG_CHAOS_WORKFLOWS is a number"))
}

fn name(row: usize, place: usize) -> String {
    format!("j{row}-{place}")
}

/// Rows of jobs. Each job needs all jobs of the row before, and outputs the sum of their outputs plus one.
fn definition() -> String {
    let mut text = String::from("jobs:\n");
    for row in 0..ROWS {
        for place in 0..WIDE {
            let before = if row == 0 { 0 } else { WIDE };
            let needs: Vec<String> = (0..before).map(|place| name(row - 1, place)).collect();
            let of = |need: &String| format!("{}: {{from: {need}.sum}}", need.replace('-', "_").to_uppercase());
            let env = needs.iter().map(of).collect::<Vec<_>>().join(", ");
            let sum = needs.iter().map(|need| need.replace('-', "_").to_uppercase()).collect::<Vec<_>>().join(" + ");
            let sum = if sum.is_empty() { "0" } else { &sum };
            let run = format!(
                "sleep 0.{place}; echo \"::set-output sum=$(({sum} + 1))\"; echo \"::set-output try=$JOB_ATTEMPT\""
            );
            let _ = writeln!(
                text,
                "  {}: {{labels: '{{label}}', needs: [{}], env: {{{env}}}, retry: {{lost: 100}}, run: '{run}'}}",
                name(row, place),
                needs.join(", ")
            );
        }
    }
    text
}

fn sum(row: usize) -> usize {
    if row == 0 { 1 } else { WIDE * sum(row - 1) + 1 }
}

/// A submission that is repeated until it is answered. Its key makes the repeats one workflow.
async fn submit(cloud: &Cloud, key: &str) -> Run {
    let text = cloud.definition(definition());
    let began = Instant::now();
    loop {
        match cloud.client.submit_yaml(&text, true, Some(key)).await {
            Ok(workflow) => return cloud.run(workflow.id),
            Err(error) => assert!(error.is_transient() && began.elapsed() < STANDSTILL, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn cancel(cloud: &Cloud, run: &Run) {
    while let Err(error) = cloud.client.cancel(&run.id).await {
        assert!(error.is_transient(), "{error}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn ended(cloud: &Cloud, run: &Run) -> Workflow {
    let mut last = Vec::new();
    let mut changed_at = Instant::now();
    loop {
        match cloud.client.workflow(&run.id).await {
            Ok(workflow) if workflow.status.is_final() => return workflow,
            Ok(workflow) => {
                let progress: Vec<_> = workflow.jobs.iter().map(|job| (job.status, job.attempt)).collect();
                if progress != last {
                    (last, changed_at) = (progress, Instant::now());
                }
                assert!(changed_at.elapsed() < STANDSTILL, "nothing changes any more: {workflow:#?}");
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Asserts that each job counted once: its outputs are the expected ones, of its latest attempt, and all other attempts were lost.
fn assert_all_done(workflow: &Workflow) {
    assert_eq!(workflow.status, Success, "{workflow:#?}");
    for row in 0..ROWS {
        for place in 0..WIDE {
            let id = name(row, place);
            let job = workflow.jobs.iter().find(|job| job.id.as_str() == id).expect("it was submitted");
            let given = BTreeMap::from([("sum", sum(row).to_string()), ("try", job.attempt.to_string())]);
            assert_eq!(json!(job.outputs), json!(given), "{job:#?}");
            assert!(job.attempts.iter().all(|attempt| attempt.cause == Cause::Lost), "{job:#?}");
            assert_eq!(job.attempts.len(), usize::try_from(job.attempt).expect("few").min(16), "{job:#?}");
        }
    }
}

/// Submits workflows one after the other. Every third one is cancelled at some time.
async fn lane(cloud: &Cloud, lane: usize) -> Vec<Workflow> {
    let mut all = Vec::new();
    for number in (lane..workflows()).step_by(AT_ONCE) {
        let run = submit(cloud, &format!("{}-{number}", cloud.label)).await;
        if number % 3 == 2 {
            sleep(Duration::from_millis(between(0, 3000))).await;
            cancel(cloud, &run).await;
            let workflow = ended(cloud, &run).await;
            assert!([Cancelled, Success].contains(&workflow.status), "{workflow:#?}");
            all.push(workflow);
        } else {
            let workflow = ended(cloud, &run).await;
            assert_all_done(&workflow);
            all.push(workflow);
        }
    }
    all
}

/// A worker that is killed and paused until this is dropped. Counts the kills and pauses.
async fn live_dangerously(cloud: &Cloud, number: usize, [killed, paused]: &mut [usize; 2]) {
    let command = std::env::var("WFG_TEST_WORKER").unwrap_or_else(|_| panic!("{INSTALL}"));
    let start = || {
        Program::starts(
            cloud,
            &[&command, "--poll", "100ms", "--lease-ttl", "3s"],
            &format!("{{label}}, {{label}}-{number}"),
            INSTALL,
        )
    };
    let mut worker = start();
    loop {
        sleep(Duration::from_millis(between(1000, 8000))).await;
        if between(0, 1) == 0 {
            worker.signal("KILL").await;
            worker = start();
            *killed += 1;
        } else {
            worker.signal("STOP").await;
            sleep(PAUSE).await;
            worker.signal("CONT").await;
            *paused += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_chaos_each_run_ends_and_each_job_counts_once() {
    let cloud = Cloud::connect_with_open_workers().await;
    // For one process see `cli/tests/killed.rs`.
    let Some(emulator) = cloud.emulator() else { return };
    let began = Instant::now();
    let mut chaos = Chaos::begin(&cloud, emulator).await;
    let mut dangers = [[0; 2]; WORKERS];
    let workers = join_all(dangers.iter_mut().enumerate().map(|(n, danger)| live_dangerously(&cloud, n, danger)));
    // The functions must be restored even after a panic.
    let own = cloud.clone();
    let lanes = tokio::spawn(async move { join_all((0..AT_ONCE).map(|n| lane(&own, n))).await });
    let done = tokio::select! {
        done = lanes => done,
        () = chaos.go_on() => unreachable!("it goes on"),
        _ = workers => unreachable!("they go on"),
    };
    let [functions, messages, calls] = chaos.counts();
    let summary = chaos.end().await;
    let done = done.expect("every promise held").concat();
    let [killed, paused] = dangers.iter().fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
    let lost: usize = done.iter().flat_map(|workflow| &workflow.jobs).map(|job| job.attempts.len()).sum();
    println!(
        "{} workflows in {:.0} s: {killed} workers killed, {paused} paused, {lost} attempts lost; {summary}",
        done.len(),
        began.elapsed().as_secs_f32()
    );
    assert_eq!(done.len(), workflows());
    assert!(functions > 0 && calls > 0, "no fault happened, so nothing was tested: {summary}");
    assert!(messages > 0 || workflows() < 10, "no message was deleted: {summary}");
}
