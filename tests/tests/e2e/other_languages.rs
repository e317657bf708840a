//! The examples in `examples/workers`: workers in other languages, with real commands, against the target.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::{
    Cancelled, Cloud, Exchange, Failure, Program, RecordingProxy, Success, gone, has_its_secret_hidden,
    tries_one_job_again_and_fails,
};
use protocol::access::Scope;
use serde_json::{Value, json};

/// A language's interpreter and its example.
#[derive(Clone, Copy)]
struct Language {
    program: &'static str,
    example: &'static str,
    install: &'static str,
}

const PYTHON: Language = Language {
    program: "python3",
    example: "worker.py",
    install: "Install Python 3.9 or newer (on Debian and Ubuntu: apt-get install python3).",
};
const HANDLER: Language = Language { example: "handler_example.py", ..PYTHON };
const NODE: Language = Language {
    program: "node",
    example: "worker.mjs",
    install: "Install Node 18 or newer (on Debian and Ubuntu: apt-get install nodejs), or run `cargo xtask test`.",
};

impl Language {
    fn starts(self, cloud: &Cloud, labels: &str) -> Program {
        self.starts_for(cloud, cloud.url(), labels)
    }

    fn starts_for(self, cloud: &Cloud, url: &str, labels: &str) -> Program {
        let script = format!("{}/../examples/workers/{}", env!("CARGO_MANIFEST_DIR"), self.example);
        Program::starts_for(cloud, url, &[self.program, &script], labels, self.install)
    }
}

macro_rules! in_every_language {
    ($($test:ident),* $(,)?) => {
        mod python {
            $(#[tokio::test] async fn $test() { super::$test(super::PYTHON).await; })*
        }
        mod node {
            $(#[tokio::test] async fn $test() { super::$test(super::NODE).await; })*
        }
    };
}

in_every_language!(
    each_job_runs_where_its_labels_are_and_outputs_arrive_as_they_are,
    outputs_from_stdout_are_not_read_when_the_job_says_so,
    a_failed_command_is_retried_and_its_exit_code_is_shown,
    outputs_that_are_refused_fail_the_job_at_once_with_the_reason,
    a_cancelled_command_is_ended_with_all_its_children_and_nothing_is_reported,
    sigterm_lets_the_job_finish_and_the_exit_code_is_0,
    all_of_a_long_log_arrives,
    a_job_receives_its_secret_and_its_log_is_masked,
    a_token_in_the_url_is_sent_and_a_report_without_an_answer_is_repeated,
    a_job_keeps_its_lease_while_log_requests_fail_and_the_log_arrives_afterwards,
    a_job_has_a_directory_and_may_remove_its_output_file,
);

async fn each_job_runs_where_its_labels_are_and_outputs_arrive_as_they_are(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _general = language.starts(&cloud, "{label}");
    let _special = language.starts(&cloud, "{label}, {label}-special");
    let run = cloud
        .submit(
            r#"jobs:
  give:
    labels: ['{label}', '{label}-special']
    run: |
      echo "::set-output stdout=100%25 \"two\" 'three' = 🦀 "
      echo '::set-output name=older::a=b::c'
      {
        echo 'percent=50%0A'
        echo 'text<<END'
        echo 'one "two" '"'three'"' = 🦀'
        echo
        printf '%s\n' '$HOME `id` \n'
        echo 'END'
        echo 'empty='
      } >> "$WORKFLOW_OUTPUT"
      printf '::set-output last=without a line end'
  aside: {labels: '{label}', run: 'echo other'}
  take:
    needs: give
    labels: ['{label}', '{label}-special']
    env: {TEXT: {from: give.text}}
    run: |
      printf 'text<<END\n%s\nEND\n' "$TEXT" > "$WORKFLOW_OUTPUT"
      echo "::set-output ids=$WORKFLOW_ID $JOB_ID $JOB_ATTEMPT"
      cat "$UPSTREAM_OUTPUTS"
      echo careful >&2
"#,
        )
        .await;
    let done = run.until(Success).await;
    for job in [0, 2] {
        let worker = done.jobs[job].worker_id.as_ref().expect("it ran").to_string();
        assert!(worker.ends_with("-special"), "{worker} has not all labels");
    }
    let text = "one \"two\" 'three' = 🦀\n\n$HOME `id` \\n";
    let given = json!({
        "stdout": "100%25 \"two\" 'three' = 🦀 ",
        "older": "a=b::c",
        "percent": "50%0A",
        "text": text,
        "empty": "",
        "last": "without a line end",
    });
    assert_eq!(json!(run.outputs("give").await), given);
    let ids = format!("{} take 0", run.id);
    assert_eq!(json!(run.outputs("take").await), json!({ "text": text, "ids": ids }));

    assert_eq!(run.log("take", "stderr").await, "careful\n");
    let log = run.log("take", "stdout").await;
    let (first, rest) = log.split_once('\n').expect("a line");
    assert_eq!(first, format!("::set-output ids={ids}"));
    assert_eq!(serde_json::from_str::<Value>(rest).expect("JSON"), json!({ "give": given }));
}

async fn outputs_from_stdout_are_not_read_when_the_job_says_so(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _worker = language.starts(&cloud, "{label}");
    let run = cloud
        .submit(
            r#"jobs:
  file: {labels: '{label}', outputs_from: file, run: 'echo "::set-output a=1"; echo b=2 > "$WORKFLOW_OUTPUT"'}
  stdout: {labels: '{label}', outputs_from: stdout, run: 'echo "::set-output a=1"; echo b=2 > "$WORKFLOW_OUTPUT"'}
"#,
        )
        .await;
    run.until(Success).await;
    assert_eq!(json!(run.outputs("file").await), json!({ "b": "2" }));
    assert_eq!(json!(run.outputs("stdout").await), json!({ "a": "1" }));
}

async fn a_failed_command_is_retried_and_its_exit_code_is_shown(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _worker = language.starts(&cloud, "{label}");
    let (_, broken) = tries_one_job_again_and_fails(&cloud).await;
    assert_eq!(broken.exit_code, Some(7));
    let killed = cloud.submit("jobs: {killed: {labels: '{label}', shell: sh, run: kill -KILL $$}}").await;
    killed.until(Failure).await;
    assert_eq!(killed.job("killed").await.exit_code, Some(137), "128 and the number of the signal");
}

async fn outputs_that_are_refused_fail_the_job_at_once_with_the_reason(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _worker = language.starts(&cloud, "{label}");
    let run = cloud
        .submit(
            r#"jobs:
  huge:
    labels: '{label}'
    retries: 5
    run: (printf 'huge='; head -c 1100000 /dev/zero | tr '\0' x; echo) > "$WORKFLOW_OUTPUT"
  malformed: {labels: '{label}', retries: 5, run: 'echo "::set-output what"'}
"#,
        )
        .await;
    run.until(Failure).await;
    for (name, parts) in [("huge", &["huge", "1100000", "1048576"][..]), ("malformed", &["what", "name=value"])] {
        let job = run.job(name).await;
        let error = job.error.expect("an error");
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!((job.status, job.attempt), (Failure, 0), "trying again can't help");
    }
}

async fn a_cancelled_command_is_ended_with_all_its_children_and_nothing_is_reported(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let worker = language.starts(&cloud, "{label}");
    // One ends after SIGTERM, the other needs SIGKILL.
    let text = r#"jobs:
  build:
    labels: '{label}'
    retries: 3
    run: |
      sh -c 'trap "" TERM; echo $$ > stubborn; for n in $(seq 6000); do sleep 0.1; done' &
      sleep 600 & echo $! > child
      echo $$ > parent
      wait
"#;
    let run = cloud.submit(text).await;
    let processes = [worker.wrote("stubborn").await, worker.wrote("child").await, worker.wrote("parent").await];
    run.cancel().await;
    run.until(Cancelled).await;
    for process in &processes {
        gone(process).await;
    }
    let build = run.job("build").await;
    assert_eq!((build.status, build.attempt, build.exit_code), (Cancelled, 0, None));
    cloud.submit("jobs: {next: {labels: '{label}', run: 'true'}}").await.until(Success).await;
}

async fn sigterm_lets_the_job_finish_and_the_exit_code_is_0(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let mut worker = language.starts(&cloud, "{label}");
    let text = r#"jobs:
  long: {labels: '{label}', run: 'echo > begun; while [ -e begun ] && [ ! -e go ]; do sleep 0.02; done; echo "::set-output a=1"'}
  next: {labels: '{label}', needs: long, run: 'true'}
"#;
    let run = cloud.submit(text).await;
    worker.wrote("begun").await;
    worker.terminate().await;
    std::fs::write(worker.dir().join("go"), "").expect("written");
    assert_eq!(worker.ended().await.code(), Some(0));
    let long = run.job("long").await;
    assert_eq!((long.status, long.attempt), (Success, 0));
    assert_eq!(json!(run.outputs("long").await), json!({ "a": "1" }));
    assert_eq!(run.job("next").await.worker_id, None, "it takes nothing new");
    run.cancel().await;
}

async fn all_of_a_long_log_arrives(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _worker = language.starts(&cloud, "{label}");
    let text = r#"jobs:
  build: {labels: '{label}', run: 'seq 5000; printf "%50000s🦀" x; printf "\\377\\000\\n"; seq 100 >&2'}
"#;
    let run = cloud.submit(text).await;
    run.until(Success).await;
    let numbers = |to: u32| (1..=to).fold(String::new(), |text, n| text + &format!("{n}\n"));
    let expected = format!("{}{:>50000}🦀\u{fffd}\0\n", numbers(5000), "x");
    let log = run.log("build", "stdout").await;
    assert!(log == expected, "{} bytes came of {}", log.len(), expected.len());
    assert_eq!(run.log("build", "stderr").await, numbers(100));
}

async fn a_token_in_the_url_is_sent_and_a_report_without_an_answer_is_repeated(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let proxy = RecordingProxy::start(&cloud, Some("/complete")).await;
    let token = cloud.token("worker", &[Scope::Work], "{label}").await;
    // A URL may contain escapes: `%5F` is `_`.
    let url = proxy.url.replace("http://", &format!("http://w:{}@", token.replace('_', "%5F")));
    let _worker = language.starts_for(&cloud, &url, "{label}");
    let text = r#"jobs: {build: {labels: '{label}', run: 'echo "::set-output url=$SERVER_URL"'}}"#;
    let run = cloud.submit(text).await;
    let twice = |seen: &[Exchange]| seen.iter().filter(|one| one.path.ends_with("/complete")).count() == 2;
    let seen = proxy.until("the report is repeated", twice).await;
    run.until(Success).await;
    let sent = format!("authorization: basic {}\r\n", STANDARD.encode(format!("w:{token}"))).to_lowercase();
    assert!(seen.iter().all(|one| one.head.contains(&sent)), "{seen:?}");
    assert_eq!(json!(run.outputs("build").await), json!({ "url": proxy.url }), "no token for the job");
    assert_eq!(run.job("build").await.attempt, 0);
}

async fn a_job_receives_its_secret_and_its_log_is_masked(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let worker = language.starts(&cloud, "{label}");
    has_its_secret_hidden(&cloud, worker.dir()).await;
}

async fn a_job_keeps_its_lease_while_log_requests_fail_and_the_log_arrives_afterwards(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let proxy = RecordingProxy::start(&cloud, None).await;
    proxy.refuses(Some("/logs"));
    let worker = language.starts_for(&cloud, &proxy.url, "{label}");
    let text = "jobs: {build: {labels: '{label}', run: 'echo first; until [ -e go ]; do sleep 0.1; done; echo last'}}";
    let run = cloud.submit(text).await;
    // Longer than one lease.
    let beats = |seen: &[Exchange]| seen.iter().filter(|one| one.path.ends_with("/heartbeat")).count() >= 4;
    proxy.until("four heartbeats", beats).await;
    proxy.refuses(None);
    std::fs::write(worker.dir().join("go"), "").expect("written");
    run.until(Success).await;
    assert_eq!(run.job("build").await.attempt, 0);
    assert_eq!(run.log("build", "stdout").await, "first\nlast\n");
}

async fn a_job_has_a_directory_and_may_remove_its_output_file(language: Language) {
    let cloud = Cloud::connect_with_open_workers().await;
    let _worker = language.starts(&cloud, "{label}");
    let text = r#"jobs:
  build:
    labels: '{label}'
    run: 'cd "$JOB_DIR" && rm "$WORKFLOW_OUTPUT" && echo "::set-output found=$(ls)$WORKER_SLOT"'
  broken: {labels: '{label}', retries: 3, run: 'printf "a=\377\n" > "$WORKFLOW_OUTPUT"'}
"#;
    let run = cloud.submit(text).await;
    run.until(Failure).await;
    assert_eq!(json!(run.outputs("build").await), json!({ "found": "0" }));
    let broken = run.job("broken").await;
    assert_eq!((broken.status, broken.attempt), (Failure, 0), "{broken:?}");
}

#[tokio::test]
async fn a_python_function_runs_a_job_with_the_outputs_of_its_needs() {
    let cloud = Cloud::connect_with_open_workers().await;
    let _shell = PYTHON.starts(&cloud, "{label}");
    let _handler = HANDLER.starts(&cloud, "{label}-function");
    let run = cloud
        .submit(
            r#"jobs:
  build: {labels: '{label}', run: 'echo "::set-output artifact_url=s3://bucket/build.tar.gz"'}
  deploy: {labels: '{label}-function', needs: build, run: 'exit 1'}
"#,
        )
        .await;
    run.until(Success).await;
    assert_eq!(json!(run.outputs("deploy").await), json!({ "deployed": "s3://bucket/build.tar.gz" }));
    assert_eq!(run.log("deploy", "stdout").await, "deploying s3://bucket/build.tar.gz\n");
}
