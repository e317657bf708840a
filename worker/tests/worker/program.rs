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
        (["--lease-ttl", "0"], "WORKER_LEASE_TTL"),
        (["--workdir", "/nowhere/at/all"], "not a directory"),
        (["--concurrency", "0"], "at least 1"),
        (["--poll", "soon"], "not a time"),
        (["--labels", "a b"], "a b"),
    ] {
        let child = worker(&server.url, here).args(arguments).spawn().expect("starts");
        let (status, stderr) = end(child).await;
        assert!(status.code() == Some(2) && stderr.contains(said), "{stderr}");
    }
    for (variable, value) in [
        ("WORKER_ONCE", "maybe"),
        ("WORKER_EXCLUSIVE", "si"),
        ("WORKER_CONCURRENCY", "many"),
        ("WORKER_LABELS", "a b"),
        ("WORKER_TRANSPORT", "pigeon"),
        ("WORKER_POLL", "soon"),
        ("WORKER_ID", "a/b"),
        ("RUST_LOG", "info=debug=trace"),
    ] {
        let child = worker(&server.url, here).env(variable, value).spawn().expect("starts");
        let (status, stderr) = end(child).await;
        assert!(status.code() == Some(2) && stderr.contains(variable), "{variable}={value}: {stderr}");
    }
    assert!(server.all().is_empty());
}

#[tokio::test]
async fn an_empty_variable_or_option_counts_as_absent() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("echo $JOB_DIR; pwd"), 30)).await;
    let mut command = worker(&server.url, dir.path());
    for variable in ["ID", "EXCLUSIVE", "TRANSPORT", "CONCURRENCY", "LEASE_TTL", "WAIT", "POLL", "LOG_FLUSH", "GRACE"] {
        command.env(format!("WORKER_{variable}"), "");
    }
    for variable in
        ["WORKER_ONCE", "WORKER_DRAIN", "WORKER_WORKDIR", "WORKER_IDLE_EXIT", "WORKER_TOKEN", "RUST_LOG", "TMPDIR"]
    {
        command.env(variable, " ".repeat(usize::from(variable == "WORKER_ONCE")));
    }
    let child = command.args(["--recheck=", "--grace-on-shutdown", "", "--once"]).spawn().expect("starts");
    let (status, stderr) = end(child).await;
    assert!(status.success() && stderr.contains("deploy of wf1"), "{stderr}");
    assert!(!server.seen("/register")[0].head.contains("authorization"));
    assert_eq!(server.seen("/claim")[0].json()["lease_ttl_secs"], 30);
    let log = server.seen("/logs").iter().map(|request| request.body.clone()).collect::<String>();
    assert!(log.contains("/tmp/workflow-graph-") && !server.seen("/complete").is_empty(), "{log}");
}

#[tokio::test]
async fn a_worker_whose_standard_error_has_no_reader_completes_its_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("echo begun"), 30)).await;
    let mut command = worker(&server.url, dir.path());
    let mut child = command.arg("--once").env("RUST_LOG", "trace").spawn().expect("starts");
    drop(child.stderr.take());
    let status = timeout(Duration::from_secs(30), child.wait()).await.expect("ends").expect("waited for");
    assert!(status.success() && server.seen("/complete").len() == 1, "{status}");
}

#[tokio::test]
async fn every_signal_that_would_end_the_worker_ends_its_job_first() {
    let end_by = async |number: Signal| {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Fake::start(once(&job("echo $$ > pid; echo begun; sleep 600; true"), 30)).await;
        let child = worker(&server.url, dir.path()).spawn().expect("starts");
        server.until("/logs", 1).await;
        signal(&child, number);
        let (status, stderr) = end(child).await;
        assert!(status.success() && stderr.contains("stopping running jobs"), "{number}: {status} {stderr}");
        let error = server.seen("/fail")[0].json()["error"].to_string();
        assert!(error.contains("lost: "), "{number}: {error}");
        let job = std::fs::read_to_string(dir.path().join("pid")).expect("written");
        let job = Pid::from_raw(job.trim().parse().expect("a number"));
        assert_eq!(nix::sys::signal::killpg(job, None), Err(nix::errno::Errno::ESRCH), "{number}");
    };
    tokio::join!(
        end_by(Signal::SIGHUP),
        end_by(Signal::SIGQUIT),
        end_by(Signal::SIGUSR1),
        end_by(Signal::SIGALRM),
        end_by(Signal::SIGXCPU),
        end_by(Signal::SIGXFSZ),
    );
}

#[tokio::test]
async fn a_worker_started_by_nohup_outlives_its_terminal() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("echo begun; until [ -e go ]; do sleep 0.02; done"), 30)).await;
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" --once", env!("CARGO_BIN_EXE_workflow-graph-worker")]);
    command.env("SERVER_URL", &server.url).env("WORKER_LOG_FLUSH", "20ms").current_dir(dir.path());
    let child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("starts");
    server.until("/logs", 1).await;
    signal(&child, Signal::SIGHUP);
    std::fs::write(dir.path().join("go"), "").expect("written");
    let (status, stderr) = end(child).await;
    assert!(status.success() && server.seen("/complete").len() == 1, "{stderr}");
}

#[tokio::test]
async fn a_job_finds_the_programs_beside_the_worker() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Fake::start(once(&job("echo \"$PATH\""), 30)).await;
    let child = worker(&server.url, dir.path()).arg("--once").spawn().expect("starts");
    let (_, stderr) = end(child).await;
    let program = Path::new(env!("CARGO_BIN_EXE_workflow-graph-worker"));
    let last = format!(":{}\n", program.parent().expect("a directory").display());
    let log = server.seen("/logs").first().map(|request| request.json()["chunks"][0]["data"].clone());
    assert!(log.is_some_and(|log| log.as_str().is_some_and(|log| log.ends_with(&last))), "{stderr}");
}

#[tokio::test]
async fn a_worker_whose_current_directory_was_removed_returns_its_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let (workdir, grant) = (dir.path().join("work"), once(&job("true"), 30));
    std::fs::create_dir(&workdir).expect("made");
    let lost = workdir.clone();
    let server = Fake::start(move |request| {
        if request.is("/claim") {
            let _ = std::fs::remove_dir(&lost);
        }
        grant(request)
    })
    .await;
    let child = worker(&server.url, &workdir).arg("--once").spawn().expect("starts");
    let (status, stderr) = end(child).await;
    assert!(status.success(), "{stderr}");
    assert_eq!(server.seen("/fail")[0].json()["cause"], "worker", "{stderr}");
}

/// Needs the right to make a PID namespace; without it the test passes.
#[tokio::test]
async fn as_the_first_process_of_a_container_it_reaps_orphans() {
    let isolated = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", program]).kill_on_drop(true);
        command
    };
    if !isolated("true").stderr(Stdio::null()).status().await.is_ok_and(|status| status.success()) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // The orphan has a session of its own, so that it isn't ended with the job, and ends when the job has seen it.
    let command = "(setsid sh -c 'echo $$ > orphan; until [ -e seen ]; do sleep 0.02; done' &)
        until [ -s orphan ]; do sleep 0.02; done
        grep '^PPid:.1$' /proc/$(cat orphan)/status && touch seen
        while [ -e /proc/$(cat orphan) ]; do sleep 0.02; done; echo reaped";
    let server = Fake::start(once(&job(command), 30)).await;
    let mut command = isolated(env!("CARGO_BIN_EXE_workflow-graph-worker"));
    command.arg("--once").env("SERVER_URL", &server.url).current_dir(dir.path()).stderr(Stdio::piped());
    let (status, stderr) = end(command.spawn().expect("starts")).await;
    let log = server.seen("/logs").iter().map(|request| request.body.clone()).collect::<String>();
    assert!(status.success() && log.contains("reaped"), "{log} {stderr}");
}
