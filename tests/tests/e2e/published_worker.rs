//! The unmodified worker from crates.io, `workflow-graph-worker-sdk` 1.2.11, against the target.
//!
//! It reads no settings but `SERVER_URL` and `WORKER_LABELS`. Its lease is 30 s; it sends a heartbeat every 10 s, and
//! asks for a job, or whether its job is cancelled, every 2 s. It reports neither outputs nor exit codes.

use harness::{
    Cancelled, Cloud, Exchange, Failure, Program, Queued, RecordingProxy, Skipped, Success, eventually, gone,
    has_its_secret_hidden,
};
use protocol::wire::WaitReason;
use serde_json::json;

const INSTALL: &str = "`cargo xtask test` installs the published worker, and names it in WFG_TEST_PUBLISHED_WORKER.";

/// Starts it behind a recording proxy.
async fn starts(cloud: &Cloud, labels: &str) -> (Program, RecordingProxy) {
    let worker = std::env::var("WFG_TEST_PUBLISHED_WORKER").unwrap_or_else(|_| panic!("{INSTALL}"));
    let proxy = RecordingProxy::start(cloud, None).await;
    // A token is the password of the address.
    let url = cloud.url_through(&proxy.url);
    (Program::starts_for(cloud, &url, &[&worker], labels, INSTALL), proxy)
}

/// The worker ignores refusals silently.
fn nothing_is_refused(proxy: &RecordingProxy) {
    let seen = proxy.seen();
    assert!(seen.iter().all(|one| one.status == 200), "{seen:#?}");
    assert!(seen.iter().all(|one| one.head.contains("authorization: basic ")), "{seen:#?}");
}

#[tokio::test]
async fn it_takes_only_jobs_whose_labels_it_covers_and_they_receive_outputs_in_their_environment() {
    let cloud = Cloud::connect_with_open_workers().await;
    let (general, proxy) = starts(&cloud, "{label}").await;
    let run = cloud
        .submit(
            r#"jobs:
  build: {labels: ['{label}', '{label}-build'], run: 'true'}
  plain:
    labels: '{label}'
    needs: build
    env: {TEXT: {from: build.text}}
    run: printf '%s\n' "$TEXT"; echo > plain
  special: {labels: ['{label}', '{label}-special'], needs: build, run: 'echo "::set-output a=1"; echo > special'}
  last: {labels: ['{label}', '{label}-build'], needs: special, run: 'true'}
"#,
        )
        .await;
    let scripted = cloud.worker("scripted").labelled("{label}, {label}-build");
    let text = "100% \"two\" 'three' = 🦀\n\n$HOME `id` \\n";
    scripted.claims("build").await.completes(&[("text", text)]).await;
    run.until_job("plain", Success).await;
    general.wrote("plain").await;
    assert_eq!(run.log("plain", "stdout").await, format!("{text}\n"));
    // A function knows the workers as they were some seconds ago.
    eventually("the missing label is named", async || {
        let waiting = run.job("special").await.waiting_for?;
        let missing = json!([cloud.fill("{label}-special")]);
        (waiting.reason == WaitReason::MissingLabels && json!(waiting.missing) == missing).then_some(())
    })
    .await;
    assert_eq!(run.job("special").await.status, Queued);

    let (special, between_special) = starts(&cloud, "{label}, {label}-special").await;
    special.wrote("special").await;
    let last = scripted.claims("last").await;
    assert_eq!(last.received().await, json!({ "special": {} }));
    last.completes(&[]).await;
    run.until(Success).await;
    nothing_is_refused(&proxy);
    nothing_is_refused(&between_special);
}

#[tokio::test]
async fn its_logs_arrive_while_the_job_runs_and_its_heartbeats_are_accepted() {
    let cloud = Cloud::connect_with_open_workers().await;
    let (worker, proxy) = starts(&cloud, "{label}").await;
    let run = cloud
        .submit(
            r"jobs:
  build:
    labels: '{label}'
    run: |
      echo > begun
      echo careful 🦀 >&2
      seq 3000
      while [ -e begun ] && [ ! -e go ]; do sleep 0.02; done
      echo end
",
        )
        .await;
    let numbers = (1..=3000).fold(String::new(), |text, n| text + &format!("{n}\n"));
    eventually("the log of what runs is there", async || {
        let logs = (run.log("build", "stderr").await, run.log("build", "stdout").await);
        (logs == ("careful 🦀\n".to_owned(), numbers.clone())).then_some(())
    })
    .await;
    let beats = |seen: &[Exchange]| seen.iter().any(|one| one.path.ends_with("/heartbeat"));
    proxy.until("it sends a heartbeat", beats).await;
    std::fs::write(worker.dir().join("go"), "").expect("written");
    run.until(Success).await;
    assert_eq!(run.log("build", "stdout").await, format!("{numbers}end\n"));
    assert_eq!(run.job("build").await.attempt, 0);
    nothing_is_refused(&proxy);
}

#[tokio::test]
async fn a_failed_command_of_its_is_retried_as_the_job_allows() {
    let cloud = Cloud::connect_with_open_workers().await;
    let (_worker, proxy) = starts(&cloud, "{label}").await;
    let run = cloud
        .submit(
            r"jobs:
  unsteady: {labels: '{label}', retries: 2, run: 'if [ -e tried ]; then echo again; else echo > tried; exit 3; fi'}
  broken: {labels: '{label}', needs: unsteady, retries: 1, run: 'echo oh; exit 7'}
  after: {labels: '{label}', needs: broken, run: 'true'}
",
        )
        .await;
    run.until(Failure).await;
    let (unsteady, broken) = (run.job("unsteady").await, run.job("broken").await);
    assert_eq!((unsteady.status, unsteady.attempt), (Success, 1));
    assert_eq!((broken.status, broken.attempt), (Failure, 1));
    assert_eq!(broken.error.as_deref(), Some("exit code 7: oh\n"));
    assert_eq!(run.job("after").await.status, Skipped);
    assert_eq!(run.log("unsteady", "stdout").await, "again\n");
    nothing_is_refused(&proxy);
}

#[tokio::test]
async fn a_cancel_ends_its_command_and_its_late_failure_report_changes_nothing() {
    let cloud = Cloud::connect_with_open_workers().await;
    let (worker, proxy) = starts(&cloud, "{label}").await;
    let text = r"jobs:
  build: {labels: '{label}', retries: 3, run: 'echo $$ > shell; while [ -e shell ]; do sleep 0.1; done'}
  after: {labels: '{label}', needs: build, run: 'true'}
";
    let run = cloud.submit(text).await;
    let shell = worker.wrote("shell").await;
    run.cancel().await;
    let reports = |seen: &[Exchange]| seen.iter().any(|one| one.path.ends_with("/fail"));
    let seen = proxy.until("it reports a failure", reports).await;
    gone(&shell).await;
    let refused: Vec<_> = seen.iter().filter(|one| one.status != 200).collect();
    assert!(refused.len() == 1 && refused[0].path.ends_with("/fail") && refused[0].status == 409, "{seen:#?}");

    run.until(Cancelled).await;
    let build = run.job("build").await;
    assert_eq!((build.status, build.attempt, build.error), (Cancelled, 0, None));
    assert_eq!(run.job("after").await.status, Cancelled);
    cloud.submit("jobs: {next: {labels: '{label}', run: 'true'}}").await.until(Success).await;
}

/// The worker doesn't mask secrets. The server masks them on arrival.
#[tokio::test]
async fn its_job_receives_its_secret_and_its_log_is_masked() {
    let cloud = Cloud::connect_with_open_workers().await;
    let (worker, proxy) = starts(&cloud, "{label}").await;
    has_its_secret_hidden(&cloud, worker.dir()).await;
    nothing_is_refused(&proxy);
}
