//! The specification's own example, character for character: its file, its two worker commands, the default port.
//!
//! Port 3000 is the one fixed port among all tests; nothing else may listen there.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::common::{Running, finish_within, in_order, wfg};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const WORKERS: [&str; 2] = [
    "WORKER_LABELS=staging    cargo run -p workflow-graph-worker-sdk",
    "WORKER_LABELS=production cargo run -p workflow-graph-worker-sdk",
];
/// The worker may have to be compiled.
const PATIENCE: Duration = Duration::from_mins(10);

/// The workers' directory: in the workspace, where `cargo run -p` finds the package, with a `deploy.sh`.
fn spec() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec")
}

/// As it would be typed; `cargo build` is a stub, for the job that calls it.
fn start_worker(command: &str, deployed: &Path) -> Child {
    let path = std::env::var("PATH").expect("a PATH");
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(spec()).process_group(0).kill_on_drop(true);
    shell.env("PATH", format!("{}:{path}", spec().join("stubs").display()));
    shell.env("REAL_CARGO", std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned()));
    // Of its own: the features of this run may be others, and other tests want the worker that was built with those.
    let target = Path::new(env!("CARGO_BIN_EXE_wfg")).ancestors().nth(2).expect("a target directory");
    shell.env("CARGO_TARGET_DIR", target.join("as-specified"));
    shell.env("DEPLOYED", deployed).env_remove("SERVER_URL").env_remove("WORKER_TOKEN");
    shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a shell")
}

/// Tells the worker, and whoever started it, to end; waits until it has.
async fn end(mut worker: Child) {
    let group = format!("-{}", worker.id().expect("it runs"));
    let told = Command::new("kill").args(["-TERM", "--", &group]).status().await.expect("kill");
    assert!(told.success());
    timeout(Duration::from_secs(30), worker.wait()).await.expect("the worker ends").expect("it ran");
}

#[tokio::test]
async fn the_specifications_file_and_commands_end_in_success() {
    let dir = TempDir::new().expect("a directory");
    let deployed = dir.path().join("deployed");
    let mut server = Running::start(wfg(&["serve"]));
    server.until("wfg serves http://127.0.0.1:3000").await;
    let workers = WORKERS.map(|command| start_worker(command, &deployed));
    let mut submit = wfg(&["submit", "--watch", "deploy.yml"]);
    submit.current_dir(spec());
    let done = finish_within(PATIENCE, submit, "").await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.out, done.err);
    in_order(&done.out, &["build          | Compiling artifact v1.2.3 (stub)", "build            succeeded"]);
    in_order(&done.out, &["JOB ", "build           success", "deploy-staging  success", "deploy-prod     success"]);
    let mut deployed: Vec<String> =
        std::fs::read_to_string(&deployed).expect("something was deployed").lines().map(str::to_owned).collect();
    deployed.sort();
    let outputs = r#"{"build":{"artifact_url":"s3://bucket/build.tar.gz","version":"1.2.3"}}"#;
    assert_eq!(deployed, [format!("production {outputs}"), format!("staging {outputs}")]);
    for worker in workers {
        end(worker).await;
    }
    server.signal("TERM").await;
    assert!(server.end().await.0.success());
}
