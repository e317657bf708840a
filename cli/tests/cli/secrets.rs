//! Secrets in a file: set, listed and removed, given to jobs, and hidden in what these write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::process::{WorkerProcess, until_written};
use crate::common::{Done, Running, finish, in_order, wfg};
use tempfile::TempDir;

const FLOW: &str = r#"
jobs:
  deploy:
    secrets: [KEY, PEM]
    run: |
      echo "with $KEY"
      printf %s "$KEY" | base64
      echo "$PEM" >&2
      [ "$KEY" = "it's hunter22" ] && [ "$(printf 'first\nsecond')" = "$PEM" ] && echo "::set-output right=yes"
"#;

fn place(flow: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("flow.yml"), flow).expect("written");
    dir
}

async fn wfg_in(dir: &Path, args: &[&str], input: &str) -> Done {
    let mut command = wfg(args);
    command.current_dir(dir);
    finish(command, input).await
}

/// Sets a secret in `keys.json`.
async fn set(dir: &Path, name: &str, value: &str) {
    let done = wfg_in(dir, &["secret", "set", name, "--file", "keys.json"], value).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!(done.out + &done.err).contains(value.trim()), "the value is not shown");
}

/// A server with the secrets of `keys.json`, a worker for it, and its URL.
async fn serve(dir: &Path) -> (Running, WorkerProcess, String) {
    let mut command = wfg(&["serve", "--listen", "127.0.0.1:0", "--secrets", "keys.json"]);
    command.current_dir(dir);
    let mut server = Running::start(command);
    let url = server.url().await;
    let worker = WorkerProcess::start_at(&url, dir, "w1", &[]);
    (server, worker, url)
}

/// Ends both, the worker first.
async fn stop(server: Running, worker: WorkerProcess) {
    worker.signal("TERM").await;
    worker.end().await;
    server.signal("TERM").await;
    assert!(server.end().await.0.success());
}

#[tokio::test]
async fn secrets_are_set_listed_by_name_and_removed_in_a_file_of_ones_own() {
    let dir = place(FLOW);
    let dir = dir.path();
    set(dir, "KEY", "hunter22\n").await;
    set(dir, "PEM", "first\r\nsecond\r\n").await;
    let file = dir.join("keys.json");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("JSON");
    assert_eq!(kept, serde_json::json!({"KEY": "hunter22", "PEM": "first\r\nsecond"}));
    let list = wfg_in(dir, &["secret", "list", "--file", "keys.json"], "").await;
    assert_eq!(list.out, "KEY\nPEM\n");
    let removed = wfg_in(dir, &["secret", "remove", "KEY", "--file", "keys.json"], "").await;
    assert_eq!(removed.code, Some(0), "{}", removed.err);
    let mut command = wfg(&["secret", "list"]);
    command.env("WFG_SECRETS_FILE", &file);
    assert_eq!(finish(command, "").await.out, "PEM\n");
    let again = wfg_in(dir, &["secret", "remove", "KEY", "--file", "keys.json"], "").await;
    assert!(again.code == Some(2) && again.err.contains("no secret `KEY` in keys.json"), "{}", again.err);
}

#[tokio::test]
async fn a_value_or_place_that_can_not_be_used_is_refused_and_nothing_is_written() {
    let dir = place(FLOW);
    let dir = dir.path();
    let long = "x".repeat(4097);
    for (args, input, word) in [
        (&["secret", "set", "KEY", "--file", "keys.json"] as &[&str], "", "empty"),
        (&["secret", "set", "KEY", "--file", "keys.json"], "\n", "empty"),
        (&["secret", "set", "KEY", "--file", "keys.json"], &long, "over 4096 bytes"),
        (&["secret", "set", "a-b", "--file", "keys.json"], "x", "a-b"),
        (&["secret", "set", "KEY"], "x", "--file or WFG_SECRETS_FILE"),
        (&["secret", "set", "PATH", "--file", "keys.json"], "x", "`PATH` is a variable that every job has already"),
        (&["secret", "set", "WORKFLOW_ID", "--file", "keys.json"], "x", "call the secret otherwise"),
        (&["secret", "list", "--file", "keys.json"], "", "keys.json can't be read"),
    ] {
        let done = wfg_in(dir, args, input).await;
        assert!(done.code == Some(2) && done.err.contains(word), "{args:?}: {}", done.err);
    }
    assert!(!dir.join("keys.json").exists());
}

#[tokio::test]
async fn a_file_that_others_can_read_is_refused_by_whoever_reads_it() {
    let dir = place(FLOW);
    let dir = dir.path();
    set(dir, "KEY", "hunter22").await;
    fs::set_permissions(dir.join("keys.json"), Permissions::from_mode(0o644)).expect("its own");
    for args in [
        &["serve", "--listen", "127.0.0.1:0", "--secrets", "keys.json"] as &[&str],
        &["run", "flow.yml", "--secrets", "keys.json"],
        &["secret", "set", "MORE", "--file", "keys.json"],
        &["secret", "list", "--file", "keys.json"],
    ] {
        let done = wfg_in(dir, args, "value").await;
        let says = done.err.contains("keys.json") && done.err.contains("644") && done.err.contains("chmod 600");
        assert!(done.code == Some(2) && says, "{args:?}: {}", done.err);
    }
}

#[tokio::test]
async fn a_workflow_that_runs_here_is_given_its_secrets_and_shows_none() {
    let dir = place(FLOW);
    let dir = dir.path();
    set(dir, "KEY", "it's hunter22").await;
    set(dir, "PEM", "first\nsecond\n").await;
    for json in [&[] as &[&str], &["--json"]] {
        let done = wfg_in(dir, &[&["run", "flow.yml", "--secrets", "keys.json"], json].concat(), "").await;
        let shown = done.out + &done.err;
        assert_eq!(done.code, Some(0), "{shown}");
        assert!(shown.contains("right"), "{shown}");
        assert!(!shown.contains("hunter") && !shown.contains("second"), "{shown}");
    }
    let done = wfg_in(dir, &["run", "flow.yml"], "").await;
    let shown = done.out + &done.err;
    assert!(done.code == Some(1) && shown.contains("secrets `KEY`, `PEM`"), "{shown}");
}

#[tokio::test]
async fn a_run_without_the_secrets_of_its_jobs_says_how_to_give_them() {
    let dir = place(FLOW);
    let dir = dir.path();
    let done = wfg_in(dir, &["run", "flow.yml"], "").await;
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert_eq!(
        done.err,
        "note: there is no file of secrets, and jobs that name `KEY` and `PEM` fail; name a file with --secrets or \
         WFG_SECRETS_FILE; `wfg secret set KEY --file FILE` makes one\n"
    );
    set(dir, "KEY", "hunter22").await;
    let done = wfg_in(dir, &["run", "flow.yml", "--secrets", "keys.json"], "").await;
    assert_eq!(
        done.err,
        "note: keys.json lacks `PEM`, and jobs that name a missing secret fail; `wfg secret set PEM --file keys.json` \
         adds it\n"
    );
}

#[tokio::test]
async fn a_secret_of_a_forges_link_may_be_set_although_no_job_may_have_it() {
    let dir = place(FLOW);
    set(dir.path(), "FORGE_TOKEN_ACME", "hunter22").await;
}

#[tokio::test]
async fn a_server_gives_out_a_replaced_value_without_a_restart() {
    let dir = place("jobs: {a: {run: 'printf \"%s\\n\" \"$KEY\" > \"got-$(date +%N)\"', secrets: KEY}}");
    let dir = dir.path();
    set(dir, "KEY", "old value").await;
    let (server, worker, url) = serve(dir).await;
    let got = async |args: &[&str]| {
        let done = wfg_in(dir, &[args, &["--server", &url]].concat(), "").await;
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
        let mut files = entries.filter(|path| path.to_string_lossy().contains("got-"));
        let file = files.next().expect("the job has written it");
        let value = until_written(&file).await;
        fs::remove_file(file).expect("removed");
        (done.out, value)
    };
    let (out, value) = got(&["submit", "flow.yml", "--watch"]).await;
    assert_eq!(value, "old value");
    let id = out.split_whitespace().find(|word| word.starts_with("wf-")).expect("its id").to_owned();
    set(dir, "KEY", "new value").await;
    assert_eq!(got(&["rerun", &id, "--watch"]).await.1, "new value");
    stop(server, worker).await;
}

#[tokio::test]
async fn an_output_with_a_secret_is_masked_where_people_read_it() {
    let flow = "jobs: {a: {secrets: KEY, run: 'echo \"::set-output v=<$KEY>\"'}, b: {run: 'echo ::set-output w=seen'}}";
    let dir = place(flow);
    let dir = dir.path();
    set(dir, "KEY", "hunter22").await;
    let run = wfg_in(dir, &["run", "flow.yml", "--secrets", "keys.json"], "").await;
    assert_eq!(run.code, Some(0), "{}", run.err);
    in_order(&run.out, &["output v = <***>"]);
    in_order(&run.out, &["v=<***>"]);
    assert!(run.out.contains("w=seen") && !(run.out + &run.err).contains("hunter"));

    let (server, worker, url) = serve(dir).await;
    let shown = async |args: &[&str]| {
        let done = wfg_in(dir, &[args, &["--server", &url]].concat(), "").await;
        assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
        done.out + &done.err
    };
    // This program doesn't know the values: nothing of a job that was given any is shown.
    for text in [shown(&["submit", "flow.yml", "--watch"]).await, shown(&["status", "last"]).await] {
        assert!(text.contains("v=***") && text.contains("w=seen") && !text.contains("hunter"), "{text}");
    }
    assert_eq!(shown(&["outputs", "last", "a"]).await, "v = <hunter22>\n");
    stop(server, worker).await;
}
