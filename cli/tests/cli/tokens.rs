//! `wfg serve` with tokens, and the commands that make and show them.

use std::path::Path;

use crate::common::process::WorkerProcess;
use crate::common::{Done, Running, World, finish, in_order, wfg};
use tempfile::TempDir;

const PRODUCTION: &str = "name: deploy\njobs:\n  deploy: {run: echo, labels: production}\n";

/// A server on a file in a directory, and where it is.
async fn serve(dir: &Path) -> (Running, String) {
    let mut command = wfg(&["serve", "--auth", "--data", "wfg.db", "--listen", "127.0.0.1:0"]);
    command.current_dir(dir);
    let mut server = Running::start(command);
    let url = server.url().await;
    server.until("try: ").await;
    (server, url)
}

/// Ends it; all that it printed.
async fn stop(server: Running) -> String {
    server.signal("TERM").await;
    let (status, seen) = server.ends().await;
    assert!(status.success());
    seen
}

async fn with(url: &str, token: &str, dir: &Path, args: &[&str]) -> Done {
    let mut command = wfg(args);
    command.env("SERVER_URL", url).env("WFG_TOKEN", token).current_dir(dir);
    finish(command, "").await
}

fn good(done: Done) -> String {
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    done.out
}

#[tokio::test]
async fn a_server_that_asks_for_tokens_shows_the_first_once_and_takes_only_what_each_may_do() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("production.yml"), PRODUCTION).expect("written");
    let (mut server, url) = serve(dir.path()).await;
    let line = server.until("shown this once: ").await;
    let admin = line.rsplit(' ').next().expect("a token").to_owned();
    let run = async |token: &str, args: &[&str]| with(&url, token, dir.path(), args).await;

    let refused = run("", &["list"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("(401). Give a token that may do this with --token or WFG_TOKEN"), "{}", refused.err);

    let create = ["token", "create", "pipeline", "--scopes", "submit", "--labels", "staging", "--expires", "2h"];
    let made = run(&admin, &create).await;
    assert!(made.err.contains("this is the only time it is shown"), "{}", made.err);
    let pipeline = good(made).trim().to_owned();
    assert!(pipeline.starts_with("wfg_pipeline_"), "alone on standard output, for a script: {pipeline}");
    let refused = run(&pipeline, &["submit", "production.yml"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("the token doesn't allow label `production`; it allows staging"), "{}", refused.err);

    let listed = good(run(&admin, &["token", "list"]).await);
    in_order(&listed, &["TOKEN", "admin", "pipeline"]);
    assert!(listed.contains("staging") && listed.contains("in 1 h"), "{listed}");
    let audit = good(run(&admin, &["audit"]).await);
    in_order(&audit, &["AT", "refused", "`production`", "create_token"]);
    for secret in [&admin, &pipeline] {
        let secret = secret.rsplit('_').next().expect("a part");
        assert!(!listed.contains(secret) && !audit.contains(secret));
    }
    assert!(good(run(&admin, &["token", "revoke", "pipeline"]).await).contains("revoked"));
    assert_eq!(run(&pipeline, &["submit", "production.yml"]).await.code, Some(2));
    stop(server).await;

    let (server, url) = serve(dir.path()).await;
    assert_eq!(with(&url, &admin, dir.path(), &["list"]).await.code, Some(0), "tokens outlive the server");
    let seen = stop(server).await;
    assert!(!seen.contains("shown this once"), "{seen}");
}

#[tokio::test]
async fn who_has_the_file_makes_a_token_while_no_server_runs() {
    let dir = TempDir::new().expect("a directory");
    let create = ["token", "create", "ops", "--data", "wfg.db", "--scopes", "read,admin"];
    let token = good(with("http://127.0.0.1:1", "", dir.path(), &create).await).trim().to_owned();
    let (server, url) = serve(dir.path()).await;
    let in_use = with(&url, "", dir.path(), &["token", "create", "x", "--data", "wfg.db", "--scopes", "read"]).await;
    assert!(in_use.code == Some(2) && in_use.err.contains("in use"), "{}", in_use.err);
    let audit = good(with(&url, &token, dir.path(), &["audit", "--json"]).await);
    assert!(audit.contains("wfg token create --data"), "{audit}");
    stop(server).await;
}

/// A server, its address and a token that may only submit.
async fn with_submit_only(dir: &Path) -> (Running, String, String) {
    let (mut server, url) = serve(dir).await;
    let line = server.until("shown this once: ").await;
    let admin = line.rsplit(' ').next().expect("a token");
    let token = good(with(&url, admin, dir, &["token", "create", "ci", "--scopes", "submit"]).await).trim().to_owned();
    (server, url, token)
}

#[tokio::test]
async fn a_run_that_was_started_and_can_not_be_watched_is_named() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("flow.yml"), "jobs: {a: {run: 'true'}}\n").expect("written");
    let (server, url, token) = with_submit_only(dir.path()).await;
    let run = async |args: &[&str]| with(&url, &token, dir.path(), args).await;

    let submitted = run(&["submit", "flow.yml", "--watch"]).await;
    assert_eq!(submitted.code, Some(2), "{}", submitted.err);
    let heading = submitted.out.lines().next().unwrap_or_default();
    let (name, id) = heading.rsplit_once(' ').expect("a heading");
    assert_eq!(name, "flow: 1 job, workflow");
    let goes_on = format!("{id} was started, and goes on although it can't be watched. `wfg cancel {id}` cancels it");
    in_order(&submitted.err, &[&goes_on, "the token lacks the scope `read`"]);

    let waiting = good(run(&["submit", "flow.yml", "--no-run"]).await);
    let id = waiting.trim();
    let started = run(&["rerun", id, "--watch"]).await;
    assert_eq!(started.code, Some(2), "{}", started.err);
    in_order(
        &started.err,
        &[&format!("started {id}"), &format!("{id} was started, and goes on"), "the token lacks the scope `read`"],
    );
    stop(server).await;
}

#[tokio::test]
async fn a_token_that_may_only_submit_cancels() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("flow.yml"), "jobs: {a: {run: 'true'}}\n").expect("written");
    let (server, url, token) = with_submit_only(dir.path()).await;
    let id = good(with(&url, &token, dir.path(), &["submit", "flow.yml"]).await);
    let id = id.trim();
    let cancelled = with(&url, &token, dir.path(), &["cancel", id]).await;
    assert_eq!((cancelled.code, cancelled.out.as_str()), (Some(0), ""), "{}", cancelled.err);
    let expected = format!("the cancel of {id} was accepted: no more jobs start, and running jobs are stopped\n");
    assert_eq!(cancelled.err, expected);
    stop(server).await;
}

#[tokio::test]
async fn a_worker_without_a_good_token_names_the_setting() {
    let dir = TempDir::new().expect("a directory");
    let (server, url, token) = with_submit_only(dir.path()).await;
    for (id, args) in [("none", &[][..]), ("wrong", &["--token", "wfg_x_y"]), ("submits", &["--token", &token])] {
        let (status, said) = WorkerProcess::start_at(&url, dir.path(), id, args).end().await;
        assert_eq!(status.code(), Some(2), "{said}");
        in_order(&said, &["the server refused to register this worker: "]);
        assert!(said.contains("the scope `work`") && said.contains("--token or WORKER_TOKEN"), "{said}");
    }
    stop(server).await;
}

#[tokio::test]
async fn a_list_of_no_tokens_says_so() {
    let world = World::new().await;
    let listed = world.run(&["token", "list"]).await;
    assert_eq!((listed.code, listed.out.as_str()), (Some(0), ""), "{}", listed.err);
    assert_eq!(listed.err, "there are no tokens; `wfg token create` makes one\n");
    assert_eq!(world.good(&["token", "list", "--json"]).await, "[]\n");
}

#[tokio::test]
async fn a_time_for_which_no_token_may_be_valid_is_refused_by_the_name_of_its_option() {
    for time in ["1s", "59s", "3661d"] {
        let done = finish(wfg(&["token", "create", "x", "--scopes", "read", "--expires", time]), "").await;
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains("--expires") && done.err.contains("for 1m to 3660d"), "{}", done.err);
    }
}
