//! `wfg run`: a workflow without a server, to its end and without a trace.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::process::until_written;
use crate::common::{Done, Running, finish, in_order, wfg};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

const DEPLOY: &str = r#"
jobs:
  build:
    run: |
      echo compiling
      echo "::set-output version=1.2.3"
      touch built
  staging:
    needs: [build]
    labels: [staging]
    run: test -e built && cat "$UPSTREAM_OUTPUTS"
  production:
    needs: [build]
    labels: [Production, docker]
    run: echo "to $WORKFLOW_ID" | cut -c 1-6
"#;

/// A directory with a definition in it.
fn place(definition: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("flow.yml"), definition).expect("written");
    dir
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = wfg(args);
    command.current_dir(dir);
    command
}

async fn run(dir: &Path, args: &[&str]) -> Done {
    finish(command(dir, &[&["run", "flow.yml"], args].concat()), "").await
}

/// Waits until a process is gone. A killed process stays a zombie until its parent, or init, has waited for it.
async fn until_gone(pid: &str) {
    for _ in 0..3000 {
        if !is_alive(pid).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} is left")
}

async fn is_alive(pid: &str) -> bool {
    let kill = Command::new("kill").args(["-0", pid]).stderr(std::process::Stdio::null()).status().await;
    kill.expect("kill").success()
}

#[tokio::test]
async fn a_workflow_runs_here_on_workers_for_its_labels_and_exits_with_0() {
    let dir = place(DEPLOY);
    let done = run(dir.path(), &[]).await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    in_order(
        &done.out,
        &[
            "flow: 3 jobs, 3 workers: general, docker+production and staging",
            "build        started on general",
            "build      | compiling",
            "build        output version = 1.2.3",
            "build        succeeded after ",
            "JOB         STATUS",
            "build       success",
        ],
    );
    in_order(&done.out, &["staging    | {\"build\":{\"version\":\"1.2.3\"}}", "staging      succeeded"]);
    in_order(&done.out, &["production   started on docker+production", "production | to wf-", "flow succeeded after "]);
    in_order(&done.out, &["JOB ", "version=1.2.3"]);
    assert!(!done.out.contains('\x1b'), "no colours for a pipe: {:?}", done.out);
}

#[tokio::test]
async fn a_workflow_that_fails_exits_with_1_and_a_file_with_problems_starts_nothing() {
    let dir = place("jobs:\n  a: {run: 'echo broken >&2; exit 7'}\n  b: {needs: a, run: x}\n");
    let done = run(dir.path(), &[]).await;
    assert_eq!(done.code, Some(1), "{}\n{}", done.out, done.err);
    in_order(&done.out, &["a | broken", "a   failed after ", "b   skipped, as a failed", "flow failed after "]);
    std::fs::write(dir.path().join("flow.yml"), "jobs:\n  a: {run: 'touch ran', needs: b}\n").expect("written");
    let done = run(dir.path(), &[]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    assert!(done.err.ends_with("nothing was started\n"), "{}", done.err);
    let missing = finish(command(dir.path(), &["run", "none.yml"]), "").await;
    assert_eq!(missing.code, Some(2), "{}", missing.err);
}

#[tokio::test]
async fn programs_get_one_json_object_a_line() {
    let large = "x".repeat(6000);
    let dir = place(&format!("jobs:\n  a: {{run: 'echo hello; echo ::set-output large={large}'}}\n"));
    let done = run(dir.path(), &["--json", "--concurrency", "3"]).await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    let events: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["begin", "start", "log", "log", "finish", "end"]);
    assert_eq!(events[0]["workers"][0]["concurrency"], 3);
    assert_eq!((&events[2]["line"], &events[2]["stream"]), (&"hello".into(), &"stdout".into()));
    assert_eq!(events[5]["outputs"]["a"]["large"].as_str().map(str::len), Some(6000), "outputs are whole");
    assert_eq!(events[5]["status"], "success");
}

#[tokio::test]
async fn named_workers_take_what_their_labels_allow() {
    let dir = place(DEPLOY);
    let done = run(dir.path(), &["--worker", "staging", "--worker", "production,docker"]).await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    in_order(&done.out, &["flow: 3 jobs, 2 workers: staging and docker+production", "flow succeeded"]);
    in_order(&done.out, &["staging      started on staging"]);
}

#[tokio::test]
async fn a_job_that_no_named_worker_may_take_is_explained_and_nothing_starts() {
    let dir = place(DEPLOY);
    let done = run(dir.path(), &["--worker", "staging", "--worker", "docker"]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    in_order(
        &done.err,
        &[
            "no worker of this run may take production, which requires docker, production:",
            "  docker (docker) lacks production",
            "nothing was started; add --worker docker,production",
        ],
    );
    assert!(!dir.path().join("built").exists(), "build has not run");
}

#[tokio::test]
async fn a_wide_workflow_keeps_all_slots_busy_and_ends() {
    let jobs: Vec<String> = (0..60).map(|n| format!("  j{n}: {{needs: root, run: 'true'}}\n")).collect();
    let dir = place(&format!("jobs:\n  root: {{run: 'true'}}\n{}", jobs.concat()));
    let done = run(dir.path(), &["--json", "--concurrency", "8"]).await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    assert_eq!(done.out.matches("\"event\":\"finish\"").count(), 61);
}

#[tokio::test]
async fn ctrl_c_cancels_what_runs_and_lets_it_clean_up() {
    let dir = place(
        "jobs:\n  a:\n    run: |\n      trap 'echo cleaned > cleaned; exit 1' TERM\n      echo $$ > pid\n      \
         while :; do sleep 0.05; done\n  b: {needs: a, run: 'touch never'}\n",
    );
    let mut running = Running::start(command(dir.path(), &["run", "flow.yml"]));
    running.until("a   started on general").await;
    let pid = until_written(&dir.path().join("pid")).await;
    running.interrupt().await;
    running.until("flow was cancelled").await;
    let (status, said) = running.end().await;
    assert_eq!(
        (status.code(), said.as_str()),
        (Some(130), "cancelling: running jobs are stopped; once more kills them\n")
    );
    assert_eq!(until_written(&dir.path().join("cleaned")).await, "cleaned");
    until_gone(&pid).await;
    assert!(!dir.path().join("never").exists());
}

#[tokio::test]
async fn a_second_ctrl_c_kills_what_does_not_stop() {
    let dir =
        place("jobs:\n  a:\n    run: |\n      trap '' TERM\n      echo $$ > pid\n      while :; do sleep 0.05; done\n");
    let mut running = Running::start(command(dir.path(), &["run", "flow.yml"]));
    running.until("a   started on general").await;
    let pid = until_written(&dir.path().join("pid")).await;
    running.interrupt().await;
    running.until("flow was cancelled").await;
    assert!(is_alive(&pid).await, "it does not listen");
    running.interrupt().await;
    let (status, said) = running.end().await;
    assert_eq!(status.code(), Some(130), "{said}");
    until_gone(&pid).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_terminal_the_view_is_drawn_in_place_and_the_cursor_comes_back() {
    let dir = place("jobs:\n  a: {run: 'echo working hard; sleep 3; exit 3'}\n  b: {needs: a, run: x}\n");
    let mut script = Command::new("script");
    let inner = format!("stty rows 12 cols 60; {} run flow.yml", env!("CARGO_BIN_EXE_wfg"));
    script.args(["-qec", &inner, "/dev/null"]).current_dir(dir.path()).env("TERM", "xterm").env_remove("NO_COLOR");
    script.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    let done = finish(script, "").await;
    assert_eq!(done.code, Some(1), "{}", done.out);
    let (drawn, closing) = done.out.split_once("\x1b[?7h\x1b[?25h").expect("the cursor comes back");
    assert!(drawn.starts_with("\x1b[?25l\x1b[?7l"), "{drawn:?}");
    assert!(drawn.contains("working hard") && drawn.contains("\x1b[3A"), "it is drawn over: {drawn:?}");
    in_order(closing, &["a failed: exit code 3", "  working hard", "JOB", "failed after "]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_terminal_too_ctrl_c_says_how_to_end_a_job_that_does_not_stop() {
    let dir =
        place("jobs:\n  a:\n    run: |\n      trap '' TERM\n      echo $$ > pid\n      while :; do sleep 0.05; done\n");
    let mut script = Command::new("script");
    let inner = format!("stty rows 12 cols 60; echo $$ > wfg; exec {} run flow.yml", env!("CARGO_BIN_EXE_wfg"));
    script.args(["-qec", &inner, "/dev/null"]).current_dir(dir.path()).kill_on_drop(true);
    script.env("TERM", "xterm").env("NO_COLOR", "1");
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(script);
    let job = until_written(&dir.path().join("pid")).await;
    let program = until_written(&dir.path().join("wfg")).await;
    let interrupt = || Command::new("kill").args(["-s", "INT", &program]).status();
    assert!(interrupt().await.expect("kill").success());
    running.until("flow was cancelled").await;
    running.until("cancelling: running jobs are stopped; once more kills them").await;
    assert!(interrupt().await.expect("kill").success());
    assert_eq!(running.ends().await.0.code(), Some(130));
    until_gone(&job).await;
}

#[tokio::test]
async fn tries_of_an_exit_codes_own_budget_are_counted_without_a_total() {
    let dir = place("jobs:\n  a: {run: 'test $JOB_ATTEMPT = 2 || exit 75', retry: {max: 0, exit: {75: 2}}}\n");
    let done = run(dir.path(), &[]).await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    in_order(
        &done.out,
        &["a   try 1 failed: exit code 75", "a   try 2 failed", "a   started on general, try 3", "TRY"],
    );
    assert!(!done.out.contains(" of 1"), "{}", done.out);
    let row = done.out.lines().find(|line| line.starts_with("a    success")).expect("a row");
    assert_eq!(row.split_whitespace().nth(2), Some("3"), "{row}");
}

#[tokio::test]
async fn a_job_whose_only_worker_is_paused_waits_with_the_pause_as_the_reason() {
    let dir = place("jobs: {a: {run: 'true'}}\n");
    let mut command = command(dir.path(), &["run", "flow.yml"]);
    command.env("TMPDIR", dir.path().join("missing"));
    let mut running = Running::start(command);
    running.until("a   waits: general is paused: the worker can't make the job's files").await;
    running.interrupt().await;
    let (status, said) = running.end().await;
    assert_eq!(status.code(), Some(130), "{said}");
}

#[tokio::test]
async fn no_certificates_are_needed_without_https() {
    let dir = place("jobs: {a: {run: 'true'}}\n");
    let without = |args: &[&str]| {
        let mut command = command(dir.path(), args);
        command.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", dir.path());
        command
    };
    let done = finish(without(&["run", "flow.yml"]), "").await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let done = finish(without(&["list", "--server", "https://localhost:1"]), "").await;
    assert!(done.err.contains("CA certificates"), "the variables leave no certificates: {}", done.err);
}

#[tokio::test]
async fn a_number_of_jobs_at_a_time_that_is_none_is_refused_with_the_range() {
    for number in ["0", "-1", "many"] {
        let done = finish(wfg(&["run", "flow.yml", &format!("--concurrency={number}")]), "").await;
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains("--concurrency") && done.err.contains("a whole number from 1"), "{}", done.err);
    }
}
