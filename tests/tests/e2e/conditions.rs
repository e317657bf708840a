//! Conditions: jobs that start by how others ended, on every target.

use harness::{Cancelled, Cloud, Failure, RealWorker, Run, Skipped, Success};
use protocol::JobId;
use protocol::wire::SkippedBecause;
use serde_json::{Value, json};

fn because(job: &str) -> SkippedBecause {
    SkippedBecause::Job(JobId::new(job).expect("an id"))
}

/// Starts a worker with the test's label, and submits a definition.
async fn on_a_worker(definition: &str) -> (RealWorker, Run) {
    let cloud = Cloud::connect();
    let worker = RealWorker::starts(&cloud, "{label}");
    let run = cloud.submit(definition).await;
    (worker, run)
}

async fn output(run: &Run, job: &str, name: &str) -> Value {
    json!(run.outputs(job).await)[name].clone()
}

#[tokio::test]
async fn job_that_always_runs_follows_a_skipped_job_and_the_run_still_fails() {
    let (_worker, run) = on_a_worker(
        "
defaults: {labels: '{label}'}
jobs:
  a: {run: exit 1}
  b: {needs: a, run: 'true'}
  c: {needs: b, if: always, run: 'echo \"::set-output b=$NEEDS_B\"'}
  d: {needs: c, run: 'true'}
",
    )
    .await;
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "a=failure b=skipped c=success d=success");
    assert_eq!(run.job("b").await.skipped_because, Some(because("a")));
    assert_eq!(output(&run, "c", "b").await, "skipped");
}

#[tokio::test]
async fn job_for_failures_is_skipped_after_success_and_so_is_what_needs_it() {
    let (_worker, run) = on_a_worker(
        "
defaults: {labels: '{label}'}
jobs:
  build: {run: 'true'}
  alert: {needs: build, if: failure, run: 'true'}
  after: {needs: alert, run: 'true'}
on_failure: {run: 'true'}
",
    )
    .await;
    run.until(Success).await;
    assert_eq!(run.jobs().await, "build=success alert=skipped after=skipped on_failure=skipped");
    for job in ["alert", "after", "on_failure"] {
        assert_eq!(run.job(job).await.skipped_because, Some(SkippedBecause::Condition), "{job}");
    }
}

#[tokio::test]
async fn failure_above_the_needs_starts_no_rollback_and_the_handler_of_the_run_reads_what_failed() {
    let (_worker, run) = on_a_worker(
        "
defaults: {labels: '{label}'}
on_failure: {run: 'echo \"::set-output failed=$(cat \"$UPSTREAM_STATUS\")\"'}
jobs:
  build: {run: exit 1}
  lint: {run: exit 1, allow_failure: true}
  deploy: {needs: build, run: 'true'}
  undo: {needs: deploy, if: failure, run: 'true'}
",
    )
    .await;
    let done = run.until(Failure).await;
    assert_eq!(run.jobs().await, "build=failure lint=failure deploy=skipped undo=skipped on_failure=success");
    assert_eq!(run.job("deploy").await.skipped_because, Some(because("build")));
    assert_eq!(run.job("undo").await.skipped_because, Some(SkippedBecause::Condition));
    assert_eq!(output(&run, "on_failure", "failed").await, r#"{"build":"failure"}"#);
    let (handler, others) = done.jobs.split_last().expect("jobs");
    let last = others.iter().filter_map(|job| job.finished_at_ms).max();
    assert!(handler.started_at >= last, "it ran before another job had ended");
}

#[tokio::test]
async fn job_for_failures_starts_after_all_its_needs_in_every_order() {
    let cloud = Cloud::connect();
    let definition = "
jobs:
  x: {labels: '{label}', run: 'true'}
  y: {labels: '{label}', run: 'true'}
  undo: {labels: '{label}', needs: [x, y], if: failure, run: 'true'}
";
    for order in [["x", "y"], ["y", "x"]] {
        for failed in ["x", "y"] {
            let run = cloud.submit(definition).await;
            let worker = cloud.worker("w");
            let mut held = [worker.claims_any().await, worker.claims_any().await];
            held.sort_by_key(|lease| order[1] == lease.job.job_id.as_str());
            for (position, lease) in held.iter().enumerate() {
                if lease.job.job_id.as_str() == failed {
                    lease.fail("it broke", false).await.expect("accepted");
                } else {
                    lease.completes(&[]).await;
                }
                if position == 0 {
                    worker.finds_nothing().await;
                }
            }
            let undo = worker.claims("undo").await;
            let status = |job| if job == failed { "failure" } else { "success" };
            let statuses = json!({ "x": status("x"), "y": status("y") });
            assert_eq!(json!(undo.job.upstream_status), statuses, "{failed} failed, in the order {order:?}");
            assert_eq!((&*undo.job.env["NEEDS_X"], &*undo.job.env["NEEDS_Y"]), (status("x"), status("y")));
            let export = format!("export NEEDS_X='{}'", status("x"));
            assert!(undo.job.command.contains(&export), "for workers that read nothing else: {}", undo.job.command);
            undo.completes(&[]).await;
            run.until(Failure).await;
        }
    }
}

#[tokio::test]
async fn cancel_ends_a_job_that_always_runs_whether_it_waits_or_runs() {
    let cloud = Cloud::connect();
    let definition = "
jobs:
  a: {labels: '{label}', run: 'true'}
  report: {labels: '{label}', needs: a, if: always, run: sleep 60}
on_failure: {labels: '{label}', run: 'true'}
";
    let waits = cloud.submit(definition).await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    waits.cancel().await;
    waits.until(Cancelled).await;
    assert!(a.complete(&[]).await.is_err(), "its run was cancelled");
    assert_eq!(waits.jobs().await, "a=cancelled report=cancelled on_failure=cancelled");

    let runs = cloud.submit(definition).await;
    worker.claims("a").await.completes(&[]).await;
    let report = worker.claims("report").await;
    runs.cancel().await;
    assert!(report.heartbeat().await.expect("answered").cancelled);
    runs.until(Cancelled).await;
    assert_eq!(runs.jobs().await, "a=success report=cancelled on_failure=cancelled");
    worker.finds_nothing().await;
}

#[tokio::test]
async fn allowed_failure_passes_and_the_next_job_reads_it() {
    let (_worker, run) = on_a_worker(
        "
defaults: {labels: '{label}'}
jobs:
  lint: {run: exit 1, allow_failure: true}
  next:
    needs: lint
    env: {REPORT: {from: lint.report}}
    run: 'echo \"::set-output lint=$(cat \"$UPSTREAM_STATUS\")[$REPORT]\"'
",
    )
    .await;
    run.until(Success).await;
    assert_eq!(run.jobs().await, "lint=failure next=success");
    assert!(run.job("lint").await.allow_failure);
    assert_eq!(output(&run, "next", "lint").await, r#"{"lint":"failure"}[]"#);
}

#[tokio::test]
async fn rerun_of_what_failed_keeps_no_rollback_and_no_handler() {
    let (worker, run) = on_a_worker(
        "
defaults: {labels: '{label}'}
on_failure: {run: 'true'}
jobs:
  build: {run: 'echo x >>builds'}
  lint: {run: 'echo x >>lints; exit 1', allow_failure: true}
  deploy: {needs: [build, lint], run: 'test -e again || { touch again; exit 1; }'}
  rollback: {needs: deploy, if: failure, run: 'true'}
  report: {needs: rollback, if: always, run: 'true'}
",
    )
    .await;
    run.until(Failure).await;
    let first = "build=success lint=failure deploy=failure rollback=success report=success on_failure=success";
    assert_eq!(run.jobs().await, first);
    run.start_failed().await.expect("accepted");
    run.until(Success).await;
    let second = "build=success lint=failure deploy=success rollback=skipped report=success on_failure=skipped";
    assert_eq!(run.jobs().await, second);
    for file in ["builds", "lints"] {
        let ran = std::fs::read_to_string(worker.dir().join(file)).expect("it ran");
        assert_eq!(ran, "x\n", "{file}: it was kept");
    }
}

#[tokio::test]
async fn exit_code_ends_a_job_as_skipped_and_its_dependents_with_it() {
    let (_worker, run) = on_a_worker(
        "
defaults: {labels: '{label}', retries: 2, skip_exit: 78}
jobs:
  applies: {run: exit 78}
  next: {needs: applies, run: 'true'}
  any: {needs: applies, if: always, run: 'echo \"::set-output was=$NEEDS_APPLIES\"'}
  legs: {matrix: {n: [1, 2]}, run: 'exit $((MATRIX_N - 1))', retries: 0}
  after: {needs: legs, if: always, run: 'echo \"::set-output worst=$NEEDS_LEGS\"'}
",
    )
    .await;
    run.until(Failure).await;
    let jobs = "applies=skipped next=skipped any=success legs@1=success legs@2=failure after=success";
    assert_eq!(run.jobs().await, jobs);
    let applies = run.job("applies").await;
    assert_eq!((applies.skipped_because, applies.exit_code), (Some(SkippedBecause::Exit), Some(78)));
    assert_eq!(applies.attempt, 0, "it isn't tried again");
    assert_eq!(run.job("next").await.skipped_because, Some(SkippedBecause::Exit));
    assert_eq!(output(&run, "any", "was").await, "skipped");
    assert_eq!(output(&run, "after", "worst").await, "failure");
}

/// Over 200 needs are stored in shards.
#[tokio::test]
async fn failure_among_many_needs_is_known_when_the_last_has_ended() {
    let cloud = Cloud::connect();
    let many = 205;
    let mut text = String::from("defaults: {labels: '{label}'}\njobs:\n");
    let ids: Vec<String> = (0..many).map(|n| format!("n{n}")).collect();
    text.extend(ids.iter().map(|id| format!("  {id}: {{run: 'true'}}\n")));
    text += &format!("  undo: {{needs: [{}], if: failure, run: 'true'}}\n", ids.join(", "));
    let run = cloud.submit(&text).await;
    let worker = cloud.worker("w");
    for n in 0..many {
        let lease = worker.claims_any().await;
        if n == 3 {
            lease.fail("it broke", false).await.expect("accepted");
        } else {
            lease.completes(&[]).await;
        }
    }
    let undo = worker.claims("undo").await;
    assert_eq!(undo.job.upstream_status.len(), many);
    assert!(!undo.job.env.contains_key("NEEDS_N0"), "over 100 variables");
    undo.completes(&[]).await;
    run.until(Failure).await;
    assert_ne!(run.job("undo").await.status, Skipped);
}
