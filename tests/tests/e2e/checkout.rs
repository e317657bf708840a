//! Checkouts from end to end: a server in this process, the project's worker and the examples in Python and Node, and a private
//! repository behind `git http-backend`. The forge's part, a credential, is played by the test. The target is always one process.

#[allow(dead_code, reason = "its other users need more of it")]
#[path = "../../../shared/workflow/src/tests/git_server.rs"]
mod git_server;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::Engine;
use engine::forge::checkout::{CheckoutSource, Origin, Wanted};
use engine::forge::ports::{Credential, ForgeError};
use engine::ids::forge::ReportKey;
use engine::ports::Source;
use engine::submit::Submission;
use futures::future::BoxFuture;
use git_server::{GitServer, TOKEN, push};
use memory::Memory;
use protocol::requests::GivenInputs;
use protocol::wire::Workflow;
use protocol::{LabelSet, SecretValue, Status, WorkerId};
use server::Server;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use worker::{Worker, WorkerConfig};

const PATIENCE: Duration = Duration::from_mins(2);

/// Shows where the credential is when the script runs: nowhere.
const FILE: &str = r#"
on: push
jobs:
  test:
    checkout: true
    env: {GIT_TRACE_CURL: "1", GIT_TRACE_REDACT: "0"}
    shell: sh
    run: |
      unset GIT_TRACE_CURL
      echo "::set-output text=$(cat a)"
      echo "::set-output ref=$INPUT_REF"
      echo "::set-output folder=$(test "$PWD" -ef "$JOB_DIR/src" && echo src)"
      found=$(env | grep -c 'sek[r]et')$(grep -c 'sek[r]et' .git/config)$(tr '\0' '\n' </proc/$$/environ | grep -c 'sek[r]et') || true
      found=$found$(tr '\0' '\n' </proc/$PPID/environ 2>/dev/null | grep -c 'sek[r]et')$(tr '\0' '\n' </proc/$$/cmdline | grep -c 'sek[r]et') || true
      echo "::set-output found=$found"
"#;

/// A forge whose credential is not to be had at first.
struct Mint {
    url: String,
    failing: AtomicU32,
}

impl CheckoutSource for Mint {
    fn origin<'a>(&'a self, _: &'a Wanted) -> BoxFuture<'a, Result<Option<Origin>, ForgeError>> {
        let fails = self.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let token = SecretValue::new(TOKEN).expect("a value");
        let credential = Some(Credential { user: "x-access-token".to_owned(), token, expires_at: None });
        let origin = Ok(Some(Origin { url: self.url.clone(), credential }));
        let answer = if fails { Err(ForgeError::NoAnswer("502".to_owned())) } else { origin };
        Box::pin(async move { answer })
    }
}

/// A run of a forge at a commit of a private repository, in a server of its own.
async fn finished(start_worker: impl AsyncFnOnce(&str) -> Box<dyn Send>) -> (Workflow, String) {
    let git = GitServer::start();
    let work = git.repository("app");
    let commit = push(&work, "x$(id)", "of the commit");
    let mint = Mint { url: git.url("app"), failing: AtomicU32::new(1) };
    let engine = Engine::new(Memory::new()).with_checkouts(Arc::new(mint));
    let server = Server::start(([127, 0, 0, 1], 0).into(), engine).await.expect("a free port");
    let report = ReportKey::parse(&format!("acme#7#{commit}#push#ci"));
    let inputs: GivenInputs = [("ref".to_owned(), "x$(id)".into())].into();
    let source = Source { content_type: "application/yaml".into(), text: FILE.into() };
    let definition = source.read().expect("good");
    let submission = Submission { definition, source, inputs, run: true, key: None, report, started_by: None };
    let engine = server.engine();
    let id = engine.submissions().submit(submission).await.expect("memory answers").workflow;
    while let Some(event) = engine.ports().next_event() {
        engine.scheduling().on_change(&event).await.expect("memory answers");
    }
    let _worker = start_worker(&server.url()).await;
    let ended = timeout(PATIENCE, async {
        loop {
            let workflow = engine.queries().workflow(&id).await.expect("there");
            if workflow.status.is_final() {
                return workflow;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let workflow = ended.await.expect("it ends in time");
    let page = engine.queries().logs(&id, &workflow.jobs[0].id, None, None).await.expect("there");
    (workflow, page.chunks.into_iter().map(|chunk| chunk.data).collect())
}

fn check((workflow, log): (Workflow, String)) {
    assert_eq!(workflow.status, Status::Success, "{log}");
    let job = &workflow.jobs[0];
    let outputs = serde_json::to_value(&job.outputs).expect("JSON");
    let expected = serde_json::json!({
        "text": "of the commit", "ref": "x$(id)", "folder": "src", "found": "00000",
    });
    assert_eq!(outputs, expected, "{log}");
    assert_eq!(job.attempt, 0, "the failed minting used no try");
    assert!(log.contains("--- checkout of") && !log.contains("sekret") && !log.contains("http.c"), "{log}");
}

struct Program(#[expect(dead_code, reason = "dropping it kills it")] Child);

fn example(url: &str, program: &str, file: &str) -> Box<dyn Send> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/workers").join(file);
    let mut command = Command::new(program);
    command.arg(file).env("SERVER_URL", url).env("WORKER_POLL", "0.1").stdin(Stdio::null()).kill_on_drop(true);
    Box::new(Program(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))))
}

#[tokio::test]
async fn private_commit_is_checked_out_by_the_worker_and_the_script_finds_no_credential() {
    let done = finished(async |url| {
        let config = WorkerConfig {
            server_url: url.to_owned(),
            worker_id: WorkerId::new("w").expect("an id"),
            labels: LabelSet::default(),
            poll: Duration::from_millis(50),
            ..WorkerConfig::default()
        };
        let task = tokio::spawn(Worker::new(config).run());
        Box::new(Ends(task.abort_handle())) as Box<dyn Send>
    });
    check(done.await);
}

#[tokio::test]
async fn private_commit_is_checked_out_by_a_worker_in_python_and_the_script_finds_no_credential() {
    check(finished(async |url| example(url, "python3", "worker.py")).await);
}

#[tokio::test]
async fn private_commit_is_checked_out_by_a_worker_in_node_and_the_script_finds_no_credential() {
    check(finished(async |url| example(url, "node", "worker.mjs")).await);
}

/// Ends a task when it is dropped.
struct Ends(tokio::task::AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}
