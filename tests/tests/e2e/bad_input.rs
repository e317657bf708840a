//! Bad input gets the right status and an error that names what is wrong, and changes nothing.

use harness::{Cloud, Refused, graph};
use serde_json::{Value, json};

const YAML: &str = "application/yaml";
const JSON: &str = "application/json";

/// A definition with a problem in most of its lines.
const BROKEN: &str = "name: {label}
on: push
env: {LIST: [a]}
jobs:
  build:
    runs-on: ubuntu-latest
    run: make
    needs: tset
  test:
    needs: [build, build, test]
    run: make test
  empty: {}
  both:
    run: x
    steps: [{run: y}]
  late:
    run: x
    secrets: [a b]
    labels: [ok, 'a,b']
  one:
    run: x
    needs: [two]
  two:
    run: x
    needs: [one]
  build:
    run: again
";

fn places(refused: &Refused) -> Vec<(u64, u64, String)> {
    let problems = refused.details["problems"].as_array().unwrap_or_else(|| panic!("{refused:?}"));
    let number = |problem: &Value, name: &str| problem[name].as_u64().unwrap_or_default();
    let place = |problem: &Value| {
        assert!(problem["message"].as_str().is_some_and(|text| text.len() > 10), "{problem}");
        assert!(problem["path"].is_string(), "{problem}");
        (number(problem, "line"), number(problem, "column"), problem["code"].as_str().unwrap_or_default().to_owned())
    };
    problems.iter().map(place).collect()
}

/// Asserts that no workflow with this test's name exists.
async fn nothing_was_submitted(cloud: &Cloud) {
    let list = cloud.get("/api/workflows?limit=1000").await.json();
    let mut names = list.as_array().expect("a list").iter().map(|workflow| workflow["name"].clone());
    assert!(!names.any(|name| name == json!(cloud.label)));
}

#[tokio::test]
async fn every_problem_of_a_definition_is_listed_at_once_with_line_and_column() {
    let cloud = Cloud::connect();
    let refused = cloud.send("POST", "/api/workflows?run=true", YAML, cloud.fill(BROKEN)).await.error();
    assert!(refused.is(422, "invalid_definition") && refused.message.contains("more problems"), "{refused:?}");
    let expected = [
        (3, 13, "wrong_type"),
        (6, 5, "unknown_key"),
        (8, 12, "unknown_need"),
        (10, 20, "duplicate_need"),
        (10, 27, "self_need"),
        (12, 3, "missing_run"),
        (15, 5, "run_and_steps"),
        (18, 15, "bad_secret"),
        (19, 18, "bad_label"),
        (22, 13, "cycle"),
        (26, 3, "duplicate_key"),
    ];
    assert_eq!(places(&refused), expected.map(|(line, column, code)| (line, column, code.to_owned())));
    let text = refused.details.to_string();
    for part in ["did you mean `test`", "one -> two -> one", "`labels`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    nothing_was_submitted(&cloud).await;
}

#[tokio::test]
async fn a_cycle_is_refused_at_submission_with_its_path() {
    let cloud = Cloud::connect();
    let yaml = cloud.definition(graph(["start", "a: start d", "b: a", "c: b", "d: c"]));
    let list: Vec<Value> = [("a", "b"), ("b", "a")]
        .map(|(id, need)| json!({ "id": id, "name": id, "command": "x", "depends_on": [need] }))
        .to_vec();
    let json = json!({ "name": cloud.label, "trigger": "manual", "jobs": list }).to_string();
    for (kind, body, path, place) in
        [(YAML, yaml, "a -> d -> c -> b -> a", "jobs.a.needs[1]"), (JSON, json, "a -> b -> a", "jobs[0].depends_on")]
    {
        let refused = cloud.send("POST", "/api/workflows?run=true", kind, body).await.error();
        assert!(refused.is(422, "invalid_definition") && refused.message.contains(path), "{refused:?}");
        let problem = &refused.details["problems"][0];
        assert_eq!(problem["code"], "cycle");
        assert!(problem["path"].as_str().is_some_and(|path| path.starts_with(place)), "{problem}");
    }
    nothing_was_submitted(&cloud).await;
}

#[tokio::test]
async fn problems_of_a_list_of_jobs_are_listed_with_their_paths() {
    let cloud = Cloud::connect();
    let jobs = json!([
        { "id": "a b", "name": "x", "command": "x" },
        { "id": "b", "name": "x" },
        { "id": "c", "name": 5, "command": "x", "depends_on": ["nope"], "required_labels": ["", "ok"] },
        { "id": "c", "name": "x", "command": "x", "max_retries": 101 },
    ]);
    let body = json!({ "name": cloud.label, "trigger": "manual", "jobs": jobs });
    let refused = cloud.post("/api/workflows", body).await.error();
    assert!(refused.is(422, "invalid_definition"), "{refused:?}");
    let problems = refused.details["problems"].as_array().expect("problems");
    let mut found: Vec<(&str, &str)> =
        problems.iter().filter_map(|problem| Some((problem["path"].as_str()?, problem["code"].as_str()?))).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("jobs[0].id", "bad_id"),
            ("jobs[1].command", "missing_field"),
            ("jobs[2].depends_on[0]", "unknown_need"),
            ("jobs[2].name", "wrong_type"),
            ("jobs[2].required_labels[0]", "bad_label"),
            ("jobs[3].id", "duplicate_job"),
            ("jobs[3].max_retries", "out_of_range"),
        ]
    );
    nothing_was_submitted(&cloud).await;
}

#[tokio::test]
async fn a_syntax_error_names_its_position() {
    let cloud = Cloud::connect();
    for (kind, body, status, code) in [
        (YAML, "jobs:\n  a:\n    run: x\n\tneeds: b\n", 400, "syntax"),
        (YAML, "jobs: {a: {run: 'x}}\n", 400, "syntax"),
        (JSON, "{\"jobs\": [}", 400, "syntax"),
        (JSON, "name: x", 400, "syntax"),
        (YAML, "", 422, "empty"),
        (YAML, "# only a comment", 422, "empty"),
        (YAML, "jobs: {}", 422, "no_jobs"),
        (YAML, "- a", 422, "wrong_type"),
        (JSON, "{}", 422, "no_jobs"),
        (JSON, "[]", 422, "wrong_type"),
    ] {
        let refused = cloud.send("POST", "/api/workflows", kind, body).await.error();
        assert!(refused.is(status, "invalid_definition"), "{body:?}: {refused:?}");
        let [(line, _, ref found)] = places(&refused)[..] else { panic!("{body:?}: {refused:?}") };
        assert_eq!((found.as_str(), line > 0 || code == "no_jobs"), (code, true), "{body:?}: {refused:?}");
    }
}

#[tokio::test]
async fn keys_of_github_actions_are_refused_with_what_to_write_instead() {
    let cloud = Cloud::connect();
    let body = "jobs: {a: {run: x, runs-on: u, uses: u, if: i, strategy: s, timeout-minutes: 5, permissions: p}}";
    let refused = cloud.send("POST", "/api/workflows", YAML, body).await.error();
    let codes: Vec<String> = places(&refused).into_iter().map(|(_, _, code)| code).collect();
    let [key, value] = ["unknown_key", "unknown_value"];
    assert_eq!(codes, [key, key, value, key, key, key], "`if` is a key, and `i` no value of it");
}

#[tokio::test]
async fn a_name_over_the_limit_is_refused_with_size_and_limit() {
    let cloud = Cloud::connect();
    let long = "n".repeat(1001);
    let body = format!("name: {long}\njobs: {{a: {{run: x, name: {long}}}}}");
    let refused = cloud.send("POST", "/api/workflows", YAML, body).await.error();
    assert_eq!(refused.status, 422, "{refused:?}");
    let problems: Vec<(u64, String)> = places(&refused).into_iter().map(|(line, _, code)| (line, code)).collect();
    assert_eq!(problems, [(1, "too_long".into()), (2, "too_long".into())]);
    assert!(refused.message.contains("1001") && refused.message.contains("1000"), "{refused:?}");
}

#[tokio::test]
async fn a_definition_over_1_mb_and_a_body_over_the_limit_are_refused_with_size_and_limit() {
    let cloud = Cloud::connect();
    let long = format!("jobs: {{a: {{run: \"{}\"}}}}", "x".repeat(1024 * 1024));
    let refused = cloud.send("POST", "/api/workflows", YAML, long.clone()).await.error();
    assert!(refused.is(413, "invalid_definition"), "{refused:?}");
    assert!(refused.message.contains(&long.len().to_string()) && refused.message.contains("1048576"), "{refused:?}");

    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let path = format!("/api/jobs/{}/complete", build.lease.lease_id.0);
    let refused = cloud.post(&path, json!({ "outputs": { "big": "x".repeat(4_500_000) } })).await.error();
    assert!(refused.status == 413 && refused.message.contains("4500000"), "{refused:?}");
    assert_eq!(run.jobs().await, "build=running");
    build.completes(&[]).await;
}

#[tokio::test]
async fn a_body_with_a_wrong_field_names_the_field() {
    let cloud = Cloud::connect();
    let register = "/api/workers/register";
    for (path, body, status, part) in [
        ("/api/jobs/claim", "", 400, "JSON"),
        ("/api/jobs/claim", "{", 400, "JSON"),
        ("/api/jobs/claim", "{} {}", 422, "worker_id"),
        ("/api/jobs/claim", "[]", 422, "body"),
        ("/api/jobs/claim", "{}", 422, "worker_id"),
        ("/api/jobs/claim", r#"{"worker_id": ""}"#, 422, "worker_id"),
        ("/api/jobs/claim", r#"{"worker_id": "a b"}"#, 422, "white space"),
        ("/api/jobs/claim", r#"{"worker_id": "w", "labels": "x"}"#, 422, "labels"),
        ("/api/jobs/claim", r#"{"worker_id": "w", "labels": ["ok", "a b"]}"#, 422, "labels[1]"),
        ("/api/jobs/claim", r#"{"worker_id": "w", "labels": ["ok", 5]}"#, 422, "labels[1]"),
        ("/api/jobs/claim", r#"{"worker_id": "w", "exclusive": "yes"}"#, 422, "exclusive"),
        (register, r#"{"labels": []}"#, 422, "worker_id"),
        (register, r#"{"worker_id": "w", "transport": "pigeon"}"#, 422, "transport"),
        (register, r#"{"worker_id": "w", "labels": ["a,b"]}"#, 422, "labels[0]"),
        ("/api/jobs/x/complete", r#"{"outputs": []}"#, 422, "outputs"),
        ("/api/jobs/x/complete", r#"{"outputs": {"a": 1}}"#, 422, "outputs.a"),
        ("/api/jobs/x/fail", r#"{"error": "e", "retryable": 1}"#, 422, "retryable"),
        ("/api/jobs/x/logs", "{}", 422, "chunks"),
        ("/api/jobs/x/logs", r#"{"chunks": [{"sequence": -1, "data": "x"}]}"#, 422, "chunks[0].sequence"),
        ("/api/workflows/x/run", r#"{"only": "some"}"#, 422, "only"),
    ] {
        let refused = cloud.send("POST", path, JSON, body).await.error();
        assert_eq!((refused.status, refused.message.contains(part)), (status, true), "{path} {body}: {refused:?}");
    }
    // Not UTF-8. A gateway may replace bytes, but the result isn't JSON either.
    let refused = cloud.send("POST", "/api/jobs/claim", JSON, b"\xff{\"worker_id\": \"w\"}".to_vec()).await.error();
    assert_eq!(refused.status, 400, "{refused:?}");
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    run.until_ready("build").await;
    let claim =
        json!({ "worker_id": cloud.label, "labels": [cloud.label], "exclusive": true, "mood": { "good": [1] } });
    let lease = harness::eventually("the job", async || {
        cloud.post("/api/jobs/claim", claim.clone()).await.json()["lease"]["lease_id"].as_str().map(str::to_owned)
    })
    .await;
    let answer = cloud.post(&format!("/api/jobs/{lease}/complete"), json!({ "outputs": {}, "mood": "fine" })).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "next": null })));
    run.until(harness::Success).await;
}

#[tokio::test]
async fn an_invalid_id_and_an_unknown_id_get_different_errors() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build"]), false, None).await;
    let known = run.id.as_str();
    for (method, path, status, code) in [
        ("GET", "/api/workflows/nope".to_owned(), 404, "no_such_workflow"),
        ("GET", "/api/workflows/nope/status".to_owned(), 404, "no_such_workflow"),
        ("POST", "/api/workflows/nope/run".to_owned(), 404, "no_such_workflow"),
        ("POST", "/api/workflows/nope/cancel".to_owned(), 404, "no_such_workflow"),
        ("DELETE", "/api/workflows/nope".to_owned(), 404, "no_such_workflow"),
        ("GET", format!("/api/workflows/{known}/jobs/nope/logs"), 404, "no_such_job"),
        ("GET", format!("/api/workflows/{known}/jobs/nope/logs/stream"), 404, "no_such_job"),
        ("GET", format!("/api/workflows/{known}/jobs/nope/outputs"), 404, "no_such_job"),
        ("GET", format!("/api/jobs/{known}/nope/cancelled"), 404, "no_such_job"),
        ("GET", "/api/jobs/nope/nope/cancelled".to_owned(), 404, "no_such_workflow"),
        ("POST", "/api/workers/nope/heartbeat".to_owned(), 404, "no_such_worker"),
        ("GET", format!("/api/workflows/{}", "x".repeat(101)), 400, "invalid_path"),
        ("GET", "/api/workflows/a%20b".to_owned(), 400, "invalid_path"),
        ("GET", "/api/nothing".to_owned(), 404, "no_such_route"),
        ("GET", format!("/api/workflows/{known}/jobs"), 404, "no_such_route"),
    ] {
        let refused = cloud.send(method, &path, "", "").await.error();
        assert!(refused.is(status, code) && refused.message.len() > 10, "{method} {path}: {refused:?}");
    }
    run.delete().await.expect("it never ran");
}

#[tokio::test]
async fn a_wrong_method_is_refused_with_the_allowed_ones() {
    let cloud = Cloud::connect();
    for (method, path, allowed) in [
        ("PUT", "/api/workflows", "POST, GET, HEAD"),
        ("DELETE", "/api/workflows", "POST, GET, HEAD"),
        ("PATCH", "/api/workflows/x", "GET, HEAD, DELETE"),
        ("GET", "/api/workflows/x/run", "POST"),
        ("POST", "/api/workers", "GET, HEAD"),
        ("POST", "/api/health", "GET, HEAD"),
    ] {
        let answer = cloud.send(method, path, "", "").await;
        let refused = answer.error();
        assert!(
            refused.is(405, "method_not_allowed") && refused.message.contains(allowed),
            "{method} {path}: {refused:?}"
        );
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_content_type_is_refused_with_the_supported_ones() {
    let cloud = Cloud::connect();
    let claim = json!({ "worker_id": cloud.label }).to_string();
    for (path, kind, body) in [
        ("/api/workflows", "text/html", "<jobs>"),
        ("/api/workflows", "application/json; charset=latin1", "{}"),
        ("/api/jobs/claim", YAML, claim.as_str()),
        ("/api/jobs/claim", "image/png", claim.as_str()),
    ] {
        let refused = cloud.send("POST", path, kind, body).await.error();
        assert!(refused.status == 415 && refused.code.starts_with("unsupported_"), "{path} {kind}: {refused:?}");
    }
    let yaml = cloud.definition(graph(["build"]));
    for kind in [YAML, "text/yaml", "application/x-yaml", "Application/YAML; charset=\"UTF-8\""] {
        let answer = cloud.send("POST", "/api/workflows", kind, yaml.clone()).await;
        assert_eq!(answer.status, 201, "{kind}: {answer:?}");
    }
}

#[tokio::test]
async fn invalid_query_values_and_headers_are_named() {
    let cloud = Cloud::connect();
    let run = cloud.submit_with(graph(["build"]), false, None).await;
    let logs = run.path("/jobs/build/logs");
    for (path, name) in [
        ("/api/workflows?limit=0".to_owned(), "limit"),
        ("/api/workflows?limit=1001".to_owned(), "limit"),
        ("/api/workflows?limit=many".to_owned(), "limit"),
        ("/api/workflows?offset=1001".to_owned(), "offset"),
        ("/api/workflows?status=done".to_owned(), "status"),
        ("/api/workflows?cursor=here".to_owned(), "cursor"),
        (format!("{logs}?after=x"), "after"),
        (format!("{logs}?attempt=-1"), "attempt"),
    ] {
        let refused = cloud.get(&path).await.error();
        assert!(refused.is(400, "invalid_query") && refused.message.contains(name), "{path}: {refused:?}");
    }
    let yaml = cloud.definition(graph(["build"]));
    let refused = cloud.send("POST", "/api/workflows?run=maybe", YAML, yaml.clone()).await.error();
    assert!(refused.is(400, "invalid_query") && refused.message.contains("run"), "{refused:?}");
    let key = "k".repeat(256);
    let headers = [("content-type", YAML), ("idempotency-key", key.as_str())];
    let refused = cloud.send_with("POST", "/api/workflows", &headers, yaml).await.error();
    assert!(refused.is(400, "invalid_header") && refused.message.contains("Idempotency-Key"), "{refused:?}");
    let refused = cloud.send_with("GET", &format!("{logs}/stream"), &[("last-event-id", "x")], "").await.error();
    assert!(refused.is(400, "invalid_header") && refused.message.contains("Last-Event-ID"), "{refused:?}");
    run.delete().await.expect("it never ran");
}

#[tokio::test]
async fn a_value_over_a_limit_is_refused_with_its_name_value_and_the_limit() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let job = |rest: &str| format!("/api/jobs/{}/{rest}", build.lease.lease_id.0);
    let outputs: serde_json::Map<String, Value> = (0..10_001).map(|n| (format!("o{n}"), json!(""))).collect();
    let register = |features: Value| json!({ "worker_id": cloud.label, "features": features });
    let many: Vec<String> = (0..65).map(|n| format!("f{n}")).collect();
    let piece = |data: String| json!({ "chunks": [{ "sequence": 3, "data": data }] });
    let pieces: Vec<Value> = (0..50_001).map(|n| json!({ "sequence": n, "data": "" })).collect();
    for (path, body, status, parts) in [
        (job("complete"), json!({ "outputs": outputs }), 413, ["outputs", "10001", "10000"]),
        (job("logs"), piece("x".repeat(1024 * 1024 + 1)), 422, ["sequence 3", "1048577", "1048576"]),
        (job("logs"), json!({ "chunks": pieces }), 422, ["`chunks`", "50001", "50000"]),
        ("/api/workers/register".to_owned(), register(json!(many)), 422, ["`features`", "65", "64"]),
        ("/api/workers/register".to_owned(), register(json!(["f".repeat(65)])), 422, ["features[0]", "65", "64"]),
    ] {
        let refused = cloud.post(&path, body).await.error();
        let named = parts.iter().all(|part| refused.message.contains(part));
        assert!(refused.status == status && named, "{path}: {refused:?}");
    }
    assert_eq!(run.jobs().await, "build=running");
    let log = cloud.get(&run.path("/jobs/build/logs")).await.json();
    assert_eq!(log, json!([]), "nothing of what was refused is kept");
    build.completes(&[]).await;
}

#[tokio::test]
async fn a_job_over_a_limit_is_refused_with_position_value_and_limit() {
    let cloud = Cloud::connect();
    let items = |count: usize, item: fn(usize) -> String| (0..count).map(item).collect::<String>();
    let steps = items(1001, |_| "{run: x},".to_owned());
    let env = items(1001, |n| format!("V{n}: x,"));
    let [value, metadata] = [128 * 1024 + 1, 256 * 1024].map(|size| "x".repeat(size));
    for (job, place, parts) in [
        (format!("steps: [{steps}]"), "jobs.a.steps", ["1001 steps", "1000"]),
        (format!("run: x, env: {{{env}}}"), "jobs.a.env", ["1001 variables", "1000"]),
        (format!("run: x, env: {{A: {value}}}"), "jobs.a.env.A", ["131073 bytes", "131072"]),
        (format!("run: x, metadata: {metadata}"), "jobs.a.metadata", ["262146 bytes", "262144"]),
    ] {
        let body = format!("name: {}\njobs: {{a: {{{job}}}}}", cloud.label);
        let refused = cloud.send("POST", "/api/workflows", YAML, body).await.error();
        assert!(refused.is(422, "invalid_definition"), "{place}: {refused:?}");
        assert_eq!(refused.details["problems"][0]["path"], place);
        assert!(parts.iter().all(|part| refused.message.contains(part)), "{refused:?}");
    }
    nothing_was_submitted(&cloud).await;
}

#[tokio::test]
async fn an_error_that_quotes_the_request_stays_short() {
    let cloud = Cloud::connect();
    let long = "x".repeat(2_000_000);
    for body in [
        json!({ "worker_id": "w", "exclusive": long }),
        json!({ "worker_id": "w", "labels": [format!("{long},")] }),
        json!({ "worker_id": format!("{long} "), "labels": [] }),
    ] {
        let answer = cloud.post("/api/jobs/claim", body).await;
        assert!(answer.error().is(422, "invalid_field"), "{:?}", answer.error());
        assert!(answer.error().message.len() < 5000, "{} bytes", answer.error().message.len());
    }
}
