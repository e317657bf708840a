//! A job's secrets in a real worker: environment, logs and errors.

use crate::common::{Fake, Request, job, once};
use serde_json::{Value, json};
use workflow_graph_worker_sdk::{Context, Executor, Failure, Job, Outputs, Stream, Worker, WorkerConfig};

fn with_secrets(command: &str, secrets: Value) -> Value {
    let mut job = job(command);
    job["secrets"] = secrets;
    job
}

/// The log of a stream, as it arrived.
fn log(server: &Fake, stream: &str) -> String {
    let chunks = |request: Request| request.json()["chunks"].as_array().expect("a list").clone();
    let all = server.seen("/logs").into_iter().flat_map(chunks).filter(|chunk| chunk["stream"] == stream);
    all.map(|chunk| chunk["data"].as_str().expect("a text").to_owned()).collect()
}

async fn run(worker: Worker) {
    worker.run().await.expect("it works");
}

async fn run_shell(job: &Value) -> Fake {
    let server = Fake::start(once(job, 30)).await;
    run(Worker::new(WorkerConfig { once: true, ..server.config() })).await;
    server
}

#[tokio::test]
async fn a_job_has_its_secrets_in_its_environment_and_not_in_the_command_line() {
    let secrets = json!({"KEY": "it's hunter22", "PEM": "one1\ntwo2"});
    let command = r#"[ "$KEY" = "it's hunter22" ] && [ "$PEM" = "$(printf 'one1\ntwo2')" ] && echo right"#;
    let server = run_shell(&with_secrets(command, secrets.clone())).await;
    assert_eq!(log(&server, "stdout"), "right\n");
    let command =
        "tr '\\0' ' ' < /proc/$$/cmdline | grep -c 'hunte[r]'; tr '\\0' ' ' < /proc/$$/environ | grep -c 'hunte[r]'";
    let server = run_shell(&with_secrets(command, secrets)).await;
    assert_eq!(log(&server, "stdout"), "0\n1\n");
}

#[tokio::test]
async fn a_secret_does_not_leave_the_worker_in_a_log() {
    let command = r#"echo "a ${KEY}b"; echo "$PEM" >&2; printf %s "$KEY" | base64
        printf 'hunt'; sleep 0.2; echo 'er22.'; printf 'hun'"#;
    let server = run_shell(&with_secrets(command, json!({"KEY": "hunter22", "PEM": "first\n}\nlast"}))).await;
    assert_eq!(log(&server, "stdout"), "a ***b\n***I=\n***.\nhun\n");
    assert_eq!(log(&server, "stderr"), "***\n");
}

#[tokio::test]
async fn a_line_that_may_begin_a_secret_is_shown_without_the_next_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let job = with_secrets("echo begin-it; until [ -e go ]; do sleep 0.02; done", json!({"PEM": "begin-it\nlast"}));
    let server = Fake::start(once(&job, 30)).await;
    let config = WorkerConfig { once: true, workdir: dir.path().into(), ..server.config() };
    let running = tokio::spawn(run(Worker::new(config)));
    server.until("/logs", 1).await;
    assert_eq!(log(&server, "stdout"), "***\n");
    std::fs::write(dir.path().join("go"), "").expect("written");
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_secret_in_a_very_long_line_is_masked_wherever_the_line_is_split() {
    let long = "s3cr3t-".repeat(500);
    // A piece has 64 KB, so that some secret is split between two pieces.
    let command =
        r#"for i in 1 2 3 4 5 6 7 8 9 10; do for j in 1 2 3 4 5 6; do printf '%s|' "$LONG"; done; printf "$i"; done"#;
    let server = run_shell(&with_secrets(command, json!({"LONG": long}))).await;
    let expected: String = (1..=10).map(|i| "***|".repeat(6) + &i.to_string()).collect();
    assert_eq!(log(&server, "stdout"), expected + "\n");
}

#[tokio::test]
async fn a_secret_does_not_leave_the_worker_in_an_error() {
    let command = r#"printf '%*s%s\n' 496 '' "-$KEY" | tr ' ' x >&2; exit 3"#;
    let server = run_shell(&with_secrets(command, json!({"KEY": "hunter22"}))).await;
    let error = server.seen("/fail")[0].json()["error"].as_str().expect("a text").to_owned();
    assert!(error.starts_with("exit code 3: xxx") && !error.contains("hun"), "{error}");
}

#[tokio::test]
async fn a_secret_is_masked_before_an_error_is_cut() {
    for begin in ["printf '::set-output '", "printf '::set-output a=\\377'"] {
        for length in [60, 90, 95, 180, 190, 195, 4000] {
            let command = format!("{begin}; printf '%*s%s\n' {length} '' \"-$KEY\" | tr ' ' x");
            let server = run_shell(&with_secrets(&command, json!({"KEY": "hunter22"}))).await;
            let error = server.seen("/fail")[0].json()["error"].as_str().expect("a text").to_owned();
            assert!(error.contains("line 1") && !error.contains("hun"), "{error}");
        }
    }
}

/// Writes its secret to the log and to its error.
struct Careless;

impl Executor for Careless {
    async fn execute(&self, job: Job, context: Context) -> Result<Outputs, Failure> {
        let secret = job.secrets.values().next().expect("a secret").reveal();
        context.log.line(Stream::Stdout, &format!("it is {secret}")).await;
        Err(Failure::permanent(format!("no good: {secret}")))
    }
}

#[tokio::test]
async fn the_log_and_error_of_another_executor_are_masked_too() {
    let server = Fake::start(once(&with_secrets("x", json!({"KEY": "hunter22"})), 30)).await;
    run(Worker::new(WorkerConfig { once: true, ..server.config() }).with_executor(Careless)).await;
    assert_eq!(log(&server, "stdout"), "it is ***\n");
    assert_eq!(server.seen("/fail")[0].json()["error"], "no good: ***");
}

#[tokio::test]
async fn the_log_of_a_job_without_secrets_is_unchanged() {
    let server = run_shell(&job("printf 'hunter22'; sleep 0.1; echo ' ***'")).await;
    assert_eq!(log(&server, "stdout"), "hunter22 ***\n");
}
