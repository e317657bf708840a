//! One job on a worker: its lease, its timeout, its log and its report.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Answer, Fake, LONG, job, lease, log_text, numbered, once, refuse, run_once, until_written};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use workflow_graph_worker_sdk::{Context, Executor, Failure, Job, Outputs, Stream, Token, Worker, WorkerConfig};

#[tokio::test]
async fn a_cancelled_job_is_stopped_and_nothing_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let grant = once(&job("echo $$ > pid; sleep 600; true"), 1);
    let pid = dir.path().join("pid");
    let seen = pid.clone();
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/heartbeat" if seen.exists() => {
            Some(Answer::Json(200, json!({"lease": lease(1), "cancelled": true})))
        }
        _ => grant(request),
    })
    .await;
    run_once(&server, WorkerConfig { workdir: dir.path().into(), ..server.config() }).await;
    assert!(!Path::new(&format!("/proc/{}", until_written(&pid).await.trim())).exists());
    assert!(server.seen("/complete").is_empty() && server.seen("/fail").is_empty());
}

#[tokio::test]
async fn a_job_whose_lease_is_lost_is_stopped_and_nothing_is_reported() {
    let grant = once(&job("sleep 600; true"), 1);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/heartbeat" => refuse(409),
        _ => grant(request),
    })
    .await;
    run_once(&server, server.config()).await;
    assert_eq!(server.seen("/L1/heartbeat").len(), 1);
    assert!(server.seen("/complete").is_empty() && server.seen("/fail").is_empty());
}

#[tokio::test]
async fn a_job_is_stopped_when_no_heartbeat_gets_through_before_the_lease_ends() {
    let grant = once(&job("sleep 600; true"), 1);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/heartbeat" => Some(Answer::Drop),
        _ => grant(request),
    })
    .await;
    run_once(&server, server.config()).await;
    assert!(!server.seen("/L1/heartbeat").is_empty());
    assert!(server.seen("/complete").is_empty() && server.seen("/fail").is_empty());
}

#[tokio::test]
async fn a_job_is_stopped_at_its_timeout_with_its_grace_and_nothing_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut limited = job("trap 'echo x > told; exit 0' TERM; echo $$ > pid; while :; do sleep 0.02; done");
    limited["timeout_secs"] = json!(1);
    let server = Fake::start(once(&limited, 30)).await;
    let began = Instant::now();
    run_once(&server, WorkerConfig { workdir: dir.path().into(), ..server.config() }).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    until_written(&dir.path().join("told")).await;
    let pid = until_written(&dir.path().join("pid")).await;
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
    assert!(server.seen("/complete").is_empty() && server.seen("/fail").is_empty());
}

#[tokio::test]
async fn a_job_that_ends_before_its_timeout_is_reported() {
    let mut limited = job("true");
    limited["timeout_secs"] = json!(60);
    let server = Fake::start(once(&limited, 30)).await;
    run_once(&server, server.config()).await;
    assert_eq!(server.seen("/complete").len(), 1);
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_repeated_unchanged() {
    let grant = once(&job("echo '::set-output a=1'"), 6);
    let heartbeat_came = AtomicUsize::new(0);
    let server = Fake::start(move |request| match request.path.as_str() {
        // The report was accepted, so the lease has ended.
        "/api/jobs/L1/heartbeat" => {
            heartbeat_came.fetch_add(1, Ordering::SeqCst);
            refuse(409)
        }
        "/api/jobs/L1/complete" if heartbeat_came.load(Ordering::SeqCst) == 0 => Some(Answer::Drop),
        _ => grant(request),
    })
    .await;
    run_once(&server, server.config()).await;
    let reports = server.seen("/complete");
    assert!(reports.len() >= 2 && reports.iter().all(|report| report.body == reports[0].body));
    assert!(server.seen("/fail").is_empty());
}

#[tokio::test]
async fn logs_are_sent_again_until_they_arrive_and_before_the_report() {
    let grant = once(&job("echo one; echo two >&2"), 30);
    let refusals = AtomicUsize::new(3);
    let server =
        Fake::start(move |request| match request.path.as_str() {
            "/api/jobs/L1/logs" if refusals.load(Ordering::SeqCst) > 0 => {
                if refusals.fetch_sub(1, Ordering::SeqCst) == 2 { Some(Answer::Drop) } else { refuse(503) }
            }
            _ => grant(request),
        })
        .await;
    run_once(&server, server.config()).await;
    let logs = server.seen("/logs");
    assert!(logs.len() >= 4 && logs[..4].iter().all(|request| request.body == logs[0].body));
    let calls: Vec<_> = server.all().iter().map(|request| request.path.clone()).collect();
    assert!(
        calls.iter().rposition(|path| path.ends_with("/logs")) < calls.iter().position(|p| p.ends_with("/complete"))
    );
}

/// A server whose answers to log pushes say whether somebody reads the log: nobody does in the first `alone` ones.
async fn server_with_reader_after(alone: usize, job: &Value) -> Fake {
    let (grant, pushes) = (once(job, 30), AtomicUsize::new(0));
    Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/logs" => {
            let followed = pushes.fetch_add(1, Ordering::SeqCst) >= alone;
            Some(Answer::Json(200, json!({"followed": followed})))
        }
        _ => grant(request),
    })
    .await
}

#[tokio::test]
async fn pushes_slow_down_while_nobody_reads_and_the_end_sends_the_rest_at_once() {
    let job = job("i=0; while [ $i -lt 40 ]; do echo $i; i=$((i + 1)); sleep 0.05; done");
    let server = server_with_reader_after(usize::MAX, &job).await;
    let began = Instant::now();
    run_once(&server, server.config()).await;
    // The pauses are 20, 40, 80, ... ms: each push needs as long as all before it. The last one is the end's.
    let most = began.elapsed().as_millis().div_ceil(20).ilog2() + 2;
    let pushes = server.seen("/logs").len();
    assert!(pushes <= usize::try_from(most).expect("few"), "{pushes} pushes in {:?}", began.elapsed());
    assert_eq!(log_text(&server), numbered("", 0..40));
}

#[tokio::test]
async fn pushes_are_fast_again_when_somebody_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let job = job("while [ ! -e stop ]; do echo line; sleep 0.02; done");
    // After eight slow pushes the next pause is 5 s: forty more would take minutes.
    let server = server_with_reader_after(8, &job).await;
    let config = WorkerConfig { once: true, workdir: dir.path().to_owned(), ..server.config() };
    let running = tokio::spawn(Worker::new(config).run());
    server.until("/logs", 48).await;
    std::fs::write(dir.path().join("stop"), "").expect("written");
    timeout(LONG, running).await.expect("ends").expect("no panic").expect("worked");
}

#[tokio::test]
async fn outputs_that_the_server_finds_too_large_fail_the_job_with_its_words() {
    let grant = once(&job("echo '::set-output a=1'"), 30);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/complete" => refuse(413),
        _ => grant(request),
    })
    .await;
    run_once(&server, server.config()).await;
    let fail = server.seen("/fail")[0].json();
    assert!(fail["error"].as_str().expect("a text").contains("refused with 413"), "{fail}");
    assert_eq!(fail["retryable"], false);
}

#[tokio::test]
async fn a_failure_is_reported_with_its_exit_code_and_may_be_retried() {
    let server = Fake::start(once(&job("echo no bucket >&2; exit 3"), 30)).await;
    run_once(&server, server.config()).await;
    let expected = json!({"error": "exit code 3: no bucket", "retryable": true, "exit_code": 3});
    assert_eq!(server.seen("/fail")[0].json(), expected);
}

#[tokio::test]
async fn large_upstream_outputs_are_fetched_without_the_token() {
    let store = Fake::start(|_| Some(Answer::Json(200, json!({"build": {"artifact_url": "far away"}})))).await;
    let mut large = job("cat $UPSTREAM_OUTPUTS");
    large["upstream_outputs"] = json!({});
    large["upstream_outputs_url"] = json!(format!("{}/o?signature=x", store.url));
    let server = Fake::start(once(&large, 30)).await;
    run_once(&server, WorkerConfig { token: Some(Token::from("secret")), ..server.config() }).await;
    assert_eq!(log_text(&server), "{\"build\":{\"artifact_url\":\"far away\"}}\n");
    assert!(!store.all()[0].head.contains("secret") && store.all()[0].method == "GET");
    assert!(server.all().iter().all(|request| request.head.contains("authorization: Bearer secret")));
}

struct Deploy;

impl Executor for Deploy {
    async fn execute(&self, job: Job, context: Context) -> Result<Outputs, Failure> {
        let url = job.upstream_outputs.get("build").and_then(|o| o.get("artifact_url")).expect("build gives it");
        context.log.line(Stream::Stdout, &format!("deploying {url}")).await;
        assert!(job.command.is_empty(), "the command is {}", job.command);
        Ok(Outputs::new())
    }
}

#[tokio::test]
async fn an_executor_in_rust_gets_the_upstream_outputs_and_its_panic_fails_the_job() {
    let server = Fake::start(once(&job(""), 30)).await;
    let config = WorkerConfig { once: true, ..server.config() };
    Worker::new(config.clone()).with_executor(Deploy).run().await.expect("worked");
    assert_eq!(log_text(&server), "deploying s3://bucket/a b\n");
    assert_eq!(server.seen("/complete").len(), 1);

    let server = Fake::start(once(&job("boom"), 30)).await;
    let config = WorkerConfig { server_url: server.url.clone(), ..config };
    Worker::new(config).with_executor(Deploy).run().await.expect("worked");
    let fail = server.seen("/fail")[0].json();
    assert!(fail["error"].as_str().expect("a text").contains("the command is boom"), "{fail}");
}
