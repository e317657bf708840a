//! The real worker with real commands against the target.

use harness::{
    Cancelled, Cloud, Exchange, Failure, RealWorker, RecordingProxy, Success, eventually, tries_one_job_again_and_fails,
};
use protocol::limits;
use serde_json::{Value, json};
use worker::WorkerConfig;

#[tokio::test]
async fn the_example_runs_each_job_on_a_worker_with_its_labels_and_the_outputs_of_its_needs() {
    let cloud = Cloud::connect();
    let _builder = RealWorker::starts(&cloud, "{label}");
    let _staging = RealWorker::starts(&cloud, "{label}-staging");
    let _production = RealWorker::starts(&cloud, "{label}-production");
    let run = cloud
        .submit(
            r#"jobs:
  build:
    labels: '{label}'
    run: |
      echo building
      echo "::set-output artifact_url=s3://bucket/build.tar.gz"
      echo "::set-output version=1.2.3"
  deploy-staging:
    needs: [build]
    labels: ['{label}-staging']
    env: {VERSION: {from: build.version}}
    run: echo "staging $VERSION of $WORKFLOW_ID"; cat "$UPSTREAM_OUTPUTS"
  deploy-production:
    needs: [build]
    labels: ['{label}-production']
    run: test -s "$UPSTREAM_OUTPUTS" && echo "::set-output name=done::yes"
"#,
        )
        .await;
    let done = run.until(Success).await;
    let by = |job: usize| done.jobs[job].worker_id.as_ref().expect("it ran").to_string();
    assert_eq!([by(0), by(1), by(2)], ["", "-staging", "-production"].map(|own| format!("{0}-{0}{own}", cloud.label)));
    let outputs = json!({ "artifact_url": "s3://bucket/build.tar.gz", "version": "1.2.3" });
    assert_eq!(json!(run.outputs("build").await), outputs);
    assert_eq!(json!(run.outputs("deploy-production").await), json!({ "done": "yes" }));

    assert!(run.log("build", "stdout").await.starts_with("building\n"));
    let log = run.log("deploy-staging", "stdout").await;
    let (first, rest) = log.split_once('\n').expect("a line");
    assert_eq!(first, format!("staging 1.2.3 of {}", run.id));
    assert_eq!(serde_json::from_str::<serde_json::Value>(rest).expect("JSON"), json!({ "build": outputs }));
}

#[tokio::test]
async fn a_worker_claims_with_the_recommended_lease_and_its_own_setting_wins() {
    let cloud = Cloud::connect();
    let proxy = RecordingProxy::start(&cloud, None).await;
    let recommended = if cloud.on_aws() { limits::LEASE_ON_AWS_SECS } else { limits::LEASE_SECS };
    for (label, own, expected) in [("{label}", None, recommended), ("{label}-own", Some(20), 20)] {
        let _worker = RealWorker::starts_like(&cloud, label, |config| WorkerConfig {
            server_url: cloud.url_through(&proxy.url),
            lease_ttl_secs: own,
            ..config
        });
        cloud.submit(&format!("jobs: {{a: {{labels: '{label}', run: 'true'}}}}")).await.until(Success).await;
        let labels = cloud.fill(label);
        let claims = proxy.seen().into_iter().filter(|exchange| exchange.path == "/api/jobs/claim");
        let claims: Vec<Value> = claims.map(|exchange| serde_json::from_str(&exchange.body).expect("JSON")).collect();
        let claim = claims.iter().rfind(|claim| claim["labels"] == json!([labels])).expect("a claim");
        assert_eq!(claim["lease_ttl_secs"], expected, "own setting: {own:?}");
    }
}

#[tokio::test]
async fn lines_come_fast_while_somebody_reads_the_log_and_all_of_them_come_with_the_end() {
    let cloud = Cloud::connect();
    let proxy = RecordingProxy::start(&cloud, None).await;
    let worker = RealWorker::starts_like(&cloud, "{label}", |config| WorkerConfig {
        server_url: cloud.url_through(&proxy.url),
        log_flush: std::time::Duration::from_millis(500),
        ..config
    });
    let text =
        "jobs: {a: {labels: '{label}', run: 'i=0; while [ ! -e stop ]; do echo $i; i=$((i + 1)); sleep 0.1; done'}}";
    let run = cloud.submit(text).await;
    let pushes = |seen: &[Exchange]| seen.iter().filter(|one| one.path.ends_with("/logs")).count();
    let alone = proxy.until("two pushes that nobody waits for", |seen| pushes(seen) >= 2).await;
    let said = |exchange: &Exchange| serde_json::from_str::<Value>(&exchange.answer).expect("JSON")["followed"].clone();
    assert!(alone.iter().filter(|one| one.path.ends_with("/logs")).all(|push| said(push) == false), "{alone:#?}");

    // While nobody reads, pauses grow to 10 s: so many pushes would take minutes.
    let before = pushes(&alone);
    let logs = run.path("/jobs/a/logs");
    eventually("fast pushes", async || {
        cloud.get(&logs).await;
        (pushes(&proxy.seen()) >= before + 15).then_some(())
    })
    .await;
    std::fs::write(worker.dir().join("stop"), "").expect("written");
    run.until(Success).await;
    let lines: Vec<usize> = run.log("a", "stdout").await.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>());
}

#[tokio::test]
async fn lines_quotes_and_emoji_in_the_output_file_arrive_unchanged() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let run = cloud
        .submit(
            r#"jobs:
  give:
    labels: '{label}'
    run: |
      {
        echo 'percent=100%25'
        echo 'text<<END'
        echo 'one "two" '"'three'"' = 🦀'
        echo
        printf '%s\n' '$HOME `id` \n'
        echo 'END'
        echo 'empty='
      } >> "$WORKFLOW_OUTPUT"
  take:
    needs: give
    labels: '{label}'
    env: {TEXT: {from: give.text}}
    run: |
      printf 'again<<END\n%s\nEND\n' "$TEXT" > "$WORKFLOW_OUTPUT"
"#,
        )
        .await;
    run.until(Success).await;
    let text = "one \"two\" 'three' = 🦀\n\n$HOME `id` \\n";
    assert_eq!(json!(run.outputs("give").await), json!({ "percent": "100%25", "text": text, "empty": "" }));
    assert_eq!(json!(run.outputs("take").await), json!({ "again": text }));
}

#[tokio::test]
async fn a_failed_command_is_retried_and_its_exit_code_is_shown() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let (unsteady, broken) = tries_one_job_again_and_fails(&cloud).await;
    assert_eq!((unsteady.exit_code, broken.exit_code), (Some(0), Some(7)));
}

#[tokio::test]
async fn outputs_over_the_limit_fail_the_job_at_once_with_name_size_and_limit() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let text = r#"jobs:
  build:
    labels: '{label}'
    retries: 5
    run: (printf 'huge='; head -c 1100000 /dev/zero | tr '\0' x; echo) > "$WORKFLOW_OUTPUT"
"#;
    let run = cloud.submit(text).await;
    run.until(Failure).await;
    let build = run.job("build").await;
    let error = build.error.expect("an error");
    assert!(["huge", "1100000", "1048576"].iter().all(|part| error.contains(part)), "{error}");
    assert_eq!(build.attempt, 0, "trying again can't help");
}

#[tokio::test]
async fn a_cancelled_command_is_ended_with_all_its_children() {
    let cloud = Cloud::connect();
    let worker = RealWorker::starts(&cloud, "{label}");
    let text = "jobs: {build: {labels: '{label}', run: 'sleep 600 & echo $! > child; echo $$ > parent; wait'}}";
    let run = cloud.submit(text).await;
    let pid = async |name: &str| {
        let file = worker.dir().join(name);
        eventually("the command has begun", async || {
            std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_owned())
        })
        .await
    };
    let processes = [pid("child").await, pid("parent").await];
    run.cancel().await;
    run.until(Cancelled).await;
    for process in processes {
        // A child whose parent is gone may remain as a zombie, which does nothing.
        eventually("the process has ended", async || {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
            stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
        })
        .await;
    }
    cloud.submit("jobs: {next: {labels: '{label}', run: 'true'}}").await.until(Success).await;
}

#[tokio::test]
async fn jobs_of_a_worker_without_its_directory_run_elsewhere_and_lose_no_try() {
    let cloud = Cloud::connect();
    let sick = RealWorker::starts(&cloud, "{label}");
    let id = format!("{0}-{0}", cloud.label);
    let worker = async || {
        let workers: Vec<Value> = serde_json::from_str(&cloud.get("/api/workers").await.body).expect("a list");
        workers.into_iter().find(|worker| worker["worker_id"] == id)
    };
    eventually("the worker is registered", &worker).await;
    std::fs::remove_dir_all(sick.dir()).expect("removed");
    let jobs: String = (0..12).map(|n| format!("  job{n}: {{labels: '{{label}}', run: 'sleep 0.05'}}\n")).collect();
    let run = cloud.submit(&format!("jobs:\n{jobs}")).await;
    let paused = eventually("the worker pauses", async || worker().await?["paused"].as_str().map(str::to_owned)).await;
    assert!(paused.contains(&sick.dir().display().to_string()), "{paused}");
    let _healthy = RealWorker::starts(&cloud, "{label},{label}-healthy");
    // No job has a retry.
    let done = run.until(Success).await;
    let healthy = format!("{0}-{0}+{0}-healthy", cloud.label);
    assert!(done.jobs.iter().all(|job| job.worker_id.as_ref().is_some_and(|id| id.as_str() == healthy)));
}
