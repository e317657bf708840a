//! The program itself: its environment, its signals, its exit code.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use crate::common::{Answer, Fake, job, lease, once};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

fn worker(server: &str, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workflow-graph-worker"));
    command
        .env("SERVER_URL", server)
        .env("WORKER_LABELS", "staging, docker")
        .env("WORKER_POLL", "20ms")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn signal(child: &Child, signal: Signal) {
    let id = child.id().expect("it runs").try_into().expect("a pid");
    kill(Pid::from_raw(id), signal).expect("sent");
}

async fn end(child: Child) -> (ExitStatus, String) {
    let output = timeout(Duration::from_secs(30), child.wait_with_output()).await.expect("ends").expect("waited for");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn the_environment_configures_it_and_its_token_is_not_inherited() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("env; tr '\\0' '\\n' < /proc/self/environ"), 30)).await;
    let url = server.url.replace("http://", "http://w:hidden-1@");
    let mut command = worker(&url, dir.path());
    command.args(["--once"]).env("WORKER_TOKEN", "hidden-2").env("WFG_TOKEN", "hidden-3").env("KEPT", "yes");
    let (status, stderr) = end(command.spawn().expect("starts")).await;
    assert!(status.success(), "{stderr}");
    let register = server.seen("/register")[0].clone();
    assert_eq!(register.json()["labels"], json!(["docker", "staging"]));
    assert!(register.head.contains("authorization: Bearer hidden-2"));
    let logs: String = server.seen("/logs").iter().map(|request| request.body.clone()).collect();
    assert!(logs.contains("KEPT=yes") && logs.contains(&format!("SERVER_URL={}", server.url)), "{logs}");
    assert!(!logs.contains("hidden") && !stderr.contains("hidden"), "{logs} {stderr}");
}

#[tokio::test]
async fn the_first_sigterm_lets_the_job_finish_and_the_exit_code_is_0() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("echo begun; until [ -e go ]; do sleep 0.02; done"), 30)).await;
    let child = worker(&server.url, dir.path()).spawn().expect("starts");
    server.until("/logs", 1).await;
    signal(&child, Signal::SIGTERM);
    std::fs::write(dir.path().join("go"), "").expect("written");
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    let calls = |end| server.seen(end).len();
    assert_eq!((calls("/complete"), calls("/claim")), (1, 1));
    assert!(server.all().last().is_some_and(|request| request.method == "DELETE"));
}

#[tokio::test]
async fn the_second_signal_stops_the_job_and_reports_it_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let server =
        Fake::start(once(&job("trap 'echo bye; exit 9' TERM; echo begun; while :; do sleep 0.02; done"), 30)).await;
    let child = worker(&server.url, dir.path()).spawn().expect("starts");
    server.until("/logs", 1).await;
    signal(&child, Signal::SIGINT);
    signal(&child, Signal::SIGTERM);
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    let fail = server.seen("/fail")[0].json();
    assert!(fail["error"].as_str().is_some_and(|error| error.starts_with("lost: ")) && fail["retryable"] == true);
    assert!(server.seen("/logs").iter().any(|request| request.body.contains("bye")));
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_completes_nothing_once_it_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let grant = once(&job("echo begun; sleep 600; true"), 1);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/heartbeat" => Some(Answer::Json(200, json!({"lease": lease(1), "cancelled": false}))),
        _ => grant(request),
    })
    .await;
    let mut command = worker(&server.url, dir.path());
    let child = command.args(["--once", "--lease-ttl", "1s", "--grace", "1s"]).spawn().expect("starts");
    server.until("/L1/heartbeat", 1).await;
    signal(&child, Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    signal(&child, Signal::SIGCONT);
    let (status, stderr) = end(child).await;
    assert!(status.success() && stderr.contains("no heartbeat got through"), "{stderr}");
    assert!(server.seen("/complete").is_empty() && server.seen("/fail").is_empty());
}

#[tokio::test]
async fn an_unusable_setting_is_named_and_nothing_is_sent() {
    let server = Fake::start(|_| None).await;
    let here = Path::new(".");
    for (arguments, said) in [
        (["--lease-ttl", "0"], "lease ttl"),
        (["--workdir", "/nowhere/at/all"], "not a directory"),
        (["--concurrency", "0"], "at least 1"),
        (["--poll", "soon"], "not a time"),
        (["--labels", "a b"], "a b"),
    ] {
        let child = worker(&server.url, here).args(arguments).spawn().expect("starts");
        let (status, stderr) = end(child).await;
        assert!(!status.success() && stderr.contains(said), "{stderr}");
    }
    assert!(server.all().is_empty());
}
