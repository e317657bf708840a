//! The language of workflow files: what a job is given, and what its command does, on every target.

use harness::{Cloud, Failure, RealWorker, Run, Success};
use serde_json::{Value, json};

/// A workflow with inputs, defaults, a matrix and shells.
const RELEASE: &str = r#"
inputs:
  version: {required: true}
  region: {choices: [eu, us], default: eu}
  dry-run: {type: boolean, default: false}
defaults: {labels: '{label}', before: set -u, retry: {max: 0}}
jobs:
  build:
    matrix: {py: [3.9, 3.10]}
    env: {TAG: {input: version}, PYTHON: {matrix: py}}
    run: |
      echo "::set-output got=$TAG/$INPUT_VERSION/$INPUT_REGION/$INPUT_DRY_RUN/$PYTHON/$MATRIX_PY"
  all:
    needs: build
    env: {V: {from: 'build@3.10.got'}}
    shell: sh
    steps:
      - {run: 'echo "::set-output v=$V"'}
      - {run: 'import os; print("::set-output input=" + os.environ["INPUT_VERSION"])', shell: [python3, -u]}
"#;

async fn submit(cloud: &Cloud, inputs: Value) -> (u16, Value) {
    let body = json!({ "definition": cloud.definition(RELEASE), "inputs": inputs });
    let answer = cloud.send("POST", "/api/workflows?run=true", "application/json", body.to_string()).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn inputs_and_values_of_a_matrix_reach_every_job_as_given() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let version = "1.2; $(id) \"é\" \\";
    let (status, workflow) = submit(&cloud, json!({ "version": version, "region": "us" })).await;
    assert_eq!(status, 201, "{workflow}");
    let run = cloud.run(workflow["id"].as_str().expect("an id").parse().expect("an id"));
    run.until(Success).await;
    let shown = cloud.get(&format!("/api/workflows/{}", run.id)).await.json();
    assert_eq!(shown["inputs"], json!({ "version": version, "region": "us", "dry-run": "false" }));
    let outputs = |id: &str| {
        let job = shown["jobs"].as_array().expect("jobs").iter().find(|job| job["id"] == id);
        job.unwrap_or_else(|| panic!("no job {id}"))["outputs"].clone()
    };
    let got = |py: &str| format!("{version}/{version}/us/false/{py}/{py}");
    assert_eq!(outputs("build@3.9"), json!({ "got": got("3.9") }));
    assert_eq!(outputs("build@3.10"), json!({ "got": got("3.10") }));
    assert_eq!(outputs("all"), json!({ "v": got("3.10"), "input": version }));
    assert_eq!(shown["jobs"][1]["matrix"], json!({ "py": "3.10" }));
}

/// Runs one job, which fails, on a running worker. Returns its attempts' exit codes.
async fn exit_codes(cloud: &Cloud, job: &str) -> Vec<Option<i32>> {
    let run = cloud
        .submit(format!("jobs: {{a: {{labels: '{{label}}', retry: {{timeout: 2, exit: {{75: 3, 137: 1}}}}, {job}}}}}"))
        .await;
    run.until(Failure).await;
    run.job("a").await.attempts.iter().map(|attempt| attempt.exit_code).collect()
}

#[tokio::test]
async fn an_exit_code_has_tries_of_its_own_and_a_signal_is_128_and_its_number() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    assert_eq!(exit_codes(&cloud, "run: exit 75").await, [Some(75); 4]);
    assert_eq!(exit_codes(&cloud, "run: exit 1").await, [Some(1)]);
    assert_eq!(exit_codes(&cloud, "run: kill -KILL $$").await, [Some(137); 2]);
    assert_eq!(exit_codes(&cloud, "run: sleep 60, timeout: 1").await.len(), 3);
}

#[tokio::test]
async fn legs_on_one_worker_have_folders_of_their_own_that_are_removed() {
    let cloud = Cloud::connect();
    let worker = RealWorker::starts(&cloud, "{label}");
    let run = cloud.submit(LEGS).await;
    run.until(Success).await;
    let outputs = run.now().await.jobs.into_iter().map(|job| job.outputs);
    let places: Vec<String> = outputs.map(|outputs| outputs.into_values().next().expect("a place")).collect();
    assert!(places[0] != places[1] && places.iter().all(|place| place.ends_with("/src")), "{places:?}");
    assert!(places.iter().all(|place| !std::fs::exists(place).expect("a path")), "{places:?}");
    drop(worker);
}

const LEGS: &str = r#"
defaults: {labels: '{label}', workdir: src}
jobs:
  build: {matrix: {arch: [a, b]}, run: 'touch x; test "$(ls)" = x; echo "::set-output at=$PWD"'}
"#;

/// `examples/release.yml`, with labels and groups of the test's own.
fn release(cloud: &Cloud) -> String {
    let own = [
        ("defaults: {", "defaults: {labels: '{label}', "),
        ("linux", "'{label}'"),
        ("labels: production", "labels: '{label}-p'"),
    ];
    let own = own.into_iter().chain([("group: release", "group: '{label}-r'"), ("smoke-account", "'{label}-s'")]);
    let example = include_str!("../../../examples/release.yml");
    let from_name = &example[example.find("name: ").expect("the example has a name")..];
    let text = own.fold(from_name.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from}");
        text.replace(from, to)
    });
    cloud.definition(text)
}

async fn release_of(cloud: &Cloud, version: &str) -> Run {
    let body = json!({ "definition": release(cloud), "inputs": { "version": version } });
    let answer = cloud.send("POST", "/api/workflows?run=true", "application/json", body.to_string()).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.body);
    cloud.run(answer.json()["id"].as_str().expect("an id").parse().expect("an id"))
}

#[tokio::test]
async fn example_of_a_release_deploys_or_rolls_back_and_tells_what_failed() {
    let cloud = Cloud::connect();
    let _builder = RealWorker::starts(&cloud, "{label},amd64,arm64");
    let _production = RealWorker::starts(&cloud, "{label}-p");
    let built =
        "build@amd64,release=success build@amd64,debug=success build@arm64,release=success lint=failure deploy=success";
    let [good, bad] = [release_of(&cloud, "1.2").await, release_of(&cloud, "broken").await];
    good.until(Success).await;
    assert_eq!(good.jobs().await, format!("{built} smoke=success rollback=skipped on_failure=skipped"));
    assert_eq!(json!(good.outputs("deploy").await), json!({ "package": "app-1.2-amd64-release" }));
    bad.until(Failure).await;
    assert_eq!(bad.jobs().await, format!("{built} smoke=failure rollback=success on_failure=success"));
    assert_eq!(json!(bad.outputs("rollback").await), json!({ "smoke": "failure" }));
    assert_eq!(json!(bad.outputs("on_failure").await), json!({ "failed": "{\"smoke\":\"failure\"}" }));
    let (first, second) = (good.now().await, bad.now().await);
    assert!(
        first.finished_at_ms <= second.jobs.iter().filter_map(|job| job.started_at).min(),
        "one run of the group at a time"
    );
}

#[tokio::test]
async fn bad_inputs_are_refused_and_nothing_is_written() {
    let cloud = Cloud::connect();
    for (inputs, code) in [
        (json!({}), "missing_input"),
        (json!({ "version": "1", "regoin": "eu" }), "unknown_input"),
        (json!({ "version": "1", "region": "asia" }), "bad_input"),
        (json!({ "version": "1", "dry-run": "False" }), "bad_input"),
    ] {
        let (status, error) = submit(&cloud, inputs.clone()).await;
        assert_eq!((status, error["error"]["code"].as_str()), (422, Some(code)), "{inputs}: {error}");
        assert!(
            error["error"]["details"]["problems"][0]["path"].as_str().is_some_and(|path| path.starts_with("inputs."))
        );
    }
    let (status, _) = submit(&cloud, json!({ "version": { "a": 1 } })).await;
    assert_eq!(status, 422);
    let list = cloud.get("/api/workflows?limit=500").await.body;
    assert!(!list.contains(&format!("\"{}\"", cloud.label)), "one was written");
}

#[tokio::test]
async fn a_rerun_keeps_the_inputs_or_takes_others() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let (status, workflow) = submit(&cloud, json!({ "version": "1" })).await;
    assert_eq!(status, 201, "{workflow}");
    let run = cloud.run(workflow["id"].as_str().expect("an id").parse().expect("an id"));
    run.until(Success).await;
    let path = format!("/api/workflows/{}/run", run.id);
    let again = |body: Value| cloud.send("POST", &path, "application/json", body.to_string());
    let version = async || cloud.get(&format!("/api/workflows/{}", run.id)).await.json()["inputs"]["version"].clone();

    let refused = again(json!({ "inputs": { "version": "2" }, "only": "failed" })).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["code"].as_str()), (422, Some("inputs_fixed")));
    let refused = again(json!({ "inputs": { "region": "eu" } })).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["code"].as_str()), (422, Some("missing_input")));
    assert_eq!(again(json!({})).await.status, 202);
    run.until(Success).await;
    assert_eq!(version().await, "1");
    assert_eq!(again(json!({ "inputs": { "version": "2" } })).await.status, 202);
    run.until(Success).await;
    assert_eq!(version().await, "2");
    let job = cloud.get(&format!("/api/workflows/{}", run.id)).await.json()["jobs"][0]["outputs"]["got"].clone();
    assert_eq!(job, "2/2/eu/false/3.9/3.9");
}

#[tokio::test]
async fn a_job_fails_at_its_first_line_or_pipe_that_fails() {
    let cloud = Cloud::connect();
    let _worker = RealWorker::starts(&cloud, "{label}");
    let run = cloud
        .submit(
            "
defaults: {labels: '{label}'}
jobs:
  line: {run: \"false\\necho on\"}
  step: {steps: [{run: \"false\\necho on\"}]}
  pipe: {run: exit 3 | tee out}
  head: {run: 'yes | head -n 1'}
  none: {run: x, shell: [no-such-program], retries: 5}
",
        )
        .await;
    run.until(Failure).await;
    let shown = cloud.get(&format!("/api/workflows/{}", run.id)).await.json();
    let job =
        |id: &str| shown["jobs"].as_array().expect("jobs").iter().find(|job| job["id"] == id).expect("a job").clone();
    for (id, code) in [("line", 1), ("step", 1), ("pipe", 3), ("head", 141)] {
        assert_eq!(job(id)["exit_code"], code, "{id}");
    }
    assert!(job("head")["error"].as_str().is_some_and(|error| error.contains("| head")), "{}", job("head")["error"]);
    let none = job("none");
    assert!(none["error"].as_str().is_some_and(|error| error.contains("`no-such-program`")), "{}", none["error"]);
    assert_eq!(none["attempt"], 0, "another try would fail too");
    assert!(!run.log("line", "stdout").await.contains("on"));
}
