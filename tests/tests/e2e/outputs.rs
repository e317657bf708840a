//! Outputs arrive downstream byte for byte, or are refused with name, size and limit.

use harness::{Cloud, Failure, Run, Skipped, Success, graph};
use protocol::JobId;
use serde_json::{Value, json};

/// Values that a careless encoding would change.
const AWKWARD: [(&str, &str); 16] = [
    ("percent", "100%, %25 %0A %s %n"),
    ("equals", "a=b==c="),
    ("quotes", r#"'single' "double" `back` \" \\ \n"#),
    ("lines", "one\ntwo\r\nthree\n\n"),
    ("emoji", "🦀 👩‍👩‍👧‍👦 e\u{301} ﷽ \u{202e}right"),
    ("empty", ""),
    ("spaces", "  \t both ends \t "),
    ("controls", "\u{0}\u{1}\u{7f}\u{85}\u{2028}"),
    ("marks", "\u{feff}bom \u{fffd}"),
    ("command", "::set-output other=1"),
    ("shell", "$HOME $(id) `id` ; rm -rf / && *"),
    ("json", r#"{"a": [null, 1.10, "\u0000"]}"#),
    ("looks_empty", "null"),
    ("number", "001.10"),
    ("A-z_0.9", "the name has every kind of character"),
    ("xml", "<a href='&amp;'>&lt;</a>"),
];

/// A text of this many bytes, with quotes, line ends and multi-byte characters.
fn long(bytes: usize) -> String {
    let mut text = "0123456789 \"quoted\" back\\slash é🦀\n".repeat(bytes / 30);
    text.truncate(text.floor_char_boundary(bytes));
    while text.len() < bytes {
        text.push('.');
    }
    text
}

async fn all_outputs(run: &Run, job: &str) -> Value {
    serde_json::to_value(run.outputs(job).await).expect("JSON")
}

#[tokio::test]
async fn awkward_values_come_back_byte_for_byte_downstream_and_in_the_status() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "deploy: build"])).await;
    let worker = cloud.worker("w");
    worker.claims("build").await.completes(&AWKWARD).await;

    let expected: Value = AWKWARD.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let deploy = worker.claims("deploy").await;
    assert_eq!(deploy.received().await, json!({ "build": expected }));
    assert_eq!(all_outputs(&run, "build").await, expected);
    assert_eq!(json!(run.job("build").await.outputs), expected);
    deploy.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn large_values_come_back_byte_for_byte() {
    let cloud = Cloud::connect();
    for size in [200 * 1024, 900 * 1024] {
        let run = cloud.submit(graph(["build", "deploy: build"])).await;
        let worker = cloud.worker("w");
        let value = long(size);
        worker.claims("build").await.completes(&[("big", &value), ("small", "1")]).await;

        let deploy = worker.claims("deploy").await;
        let received = deploy.received().await;
        assert!(received == json!({ "build": { "big": value, "small": "1" } }), "{size} bytes were changed");
        assert!(all_outputs(&run, "build").await == received["build"], "{size} bytes were changed");
        let shown = run.job("build").await;
        assert!(shown.outputs_truncated && shown.outputs.is_empty(), "a status isn't the place for {size} bytes");
        deploy.completes(&[]).await;
        run.until(Success).await;
    }
}

#[tokio::test]
async fn many_values_of_one_job_come_back_byte_for_byte() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "deploy: build"])).await;
    let worker = cloud.worker("w");
    let named: Vec<(String, String)> = (0..900).map(|n| (format!("name-{n}"), long(1024))).collect();
    let outputs: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    worker.claims("build").await.completes(&outputs).await;

    let expected: Value = named.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let deploy = worker.claims("deploy").await;
    assert!(deploy.received().await == json!({ "build": expected }), "something was changed");
    deploy.completes(&[]).await;
    run.until(Success).await;
}

/// Seven completed jobs with 900 KB of outputs each, and `join`, which needs them all.
async fn seven(cloud: &Cloud) -> (Run, Vec<String>) {
    let names: Vec<String> = (1..=7).map(|n| format!("part{n}")).collect();
    let run = cloud.submit(graph(names.iter().cloned().chain([format!("join: {}", names.join(" "))]))).await;
    let worker = cloud.worker("w");
    for _ in &names {
        let part = worker.claims_any().await;
        let value = format!("{}{}", part.job.job_id, long(900 * 1024 - 5));
        part.completes(&[("big", &value)]).await;
    }
    run.until_ready("join").await;
    (run, names)
}

#[tokio::test]
async fn seven_needs_of_900_kb_each_come_back_byte_for_byte() {
    let cloud = Cloud::connect();
    let (run, names) = seven(&cloud).await;
    let join = cloud.worker("able").registers(&["outputs_url", "others"]).await.claims("join").await;
    assert_eq!(join.job.upstream_outputs_url.is_some(), cloud.on_aws());
    let tail = long(900 * 1024 - 5);
    let expected: Value = names.iter().map(|name| (name.clone(), json!({ "big": format!("{name}{tail}") }))).collect();
    assert!(join.received().await == expected, "something was changed");
    join.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_worker_without_outputs_url_fails_the_job_with_the_sizes() {
    let cloud = Cloud::connect();
    let (run, _) = seven(&cloud).await;
    let unable = cloud.worker("unable").registers(&[]).await;
    if cloud.on_aws() {
        assert!(unable.claims_once().await.is_none());
        run.until(Failure).await;
        let error = run.job("join").await.error.expect("an error");
        // The size as JSON, as in the answer to a claim.
        for part in ["7130340", "4000000", "outputs_url", unable.id().as_str()] {
            assert!(error.contains(part), "{part}: {error}");
        }
    } else {
        // This target has no limit on the size of an answer.
        let join = unable.claims("join").await;
        assert_eq!(join.received().await.as_object().map(serde_json::Map::len), Some(7));
        join.completes(&[]).await;
        run.until(Success).await;
    }
}

#[tokio::test]
async fn outputs_over_1_mb_are_refused_with_name_size_and_limit_and_nothing_is_stored() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let (half, most) = (long(524_289), long(600_000));

    let refused = build.complete(&[("small", &half), ("largest", &most)]).await.expect_err("too large");
    assert!(refused.is(413, "outputs_too_large"), "{refused:?}");
    for part in ["`largest`", "600000", "1124289", "1048576"] {
        assert!(refused.message.contains(part), "{part}: {}", refused.message);
    }
    assert_eq!(run.jobs().await, "build=running", "the worker decides what becomes of the job");
    build.fail(&refused.message, false).await.expect("accepted");
    run.until(Failure).await;
    assert_eq!(all_outputs(&run, "build").await, json!({}));
    assert_eq!(run.job("build").await.error, Some(refused.message));
}

#[tokio::test]
async fn exactly_1_mb_of_outputs_is_stored() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let half = "x".repeat(524_288);
    cloud.worker("w").claims("build").await.completes(&[("one", &half), ("two", &half)]).await;
    run.until(Success).await;
    assert!(all_outputs(&run, "build").await == json!({ "one": half, "two": half }));
}

#[tokio::test]
async fn a_job_receives_the_outputs_of_its_direct_needs_only() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["far", "left: far", "right: far", "aside", "join: left right"])).await;
    let worker = cloud.worker("w");
    while run.job("right").await.status != Success || run.job("left").await.status != Success {
        let hold = worker.claims_any().await;
        hold.completes(&[("name", hold.job.job_id.as_str()), ("same", "in each")]).await;
    }
    let mut join = worker.claims_any().await;
    if join.job.job_id.as_str() == "aside" {
        join.completes(&[]).await;
        join = worker.claims("join").await;
    }
    // Without the outputs of `far`, which is only an indirect need.
    let expected =
        json!({ "left": { "name": "left", "same": "in each" }, "right": { "name": "right", "same": "in each" } });
    assert_eq!(join.received().await, expected);
    run.cancel().await;
}

#[tokio::test]
async fn a_need_without_outputs_appears_empty_and_a_root_receives_nothing() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["silent", "next: silent"])).await;
    let worker = cloud.worker("w");
    let silent = worker.claims("silent").await;
    assert_eq!(silent.received().await, json!({}));
    // Without a body.
    let answer = cloud.send("POST", &format!("/api/jobs/{}/complete", silent.lease.lease_id.0), "", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "next": null })));

    let next = worker.claims("next").await;
    assert_eq!(next.received().await, json!({ "silent": {} }));
    next.completes(&[]).await;
    run.until(Success).await;
    assert_eq!(all_outputs(&run, "silent").await, json!({}));
}

#[tokio::test]
async fn the_outputs_of_a_job_that_has_not_run_are_empty() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "deploy: build"])).await;
    assert_eq!(all_outputs(&run, "deploy").await, json!({}));
    cloud.worker("w").claims("build").await.fails("for good").await;
    run.until(Failure).await;
    assert_eq!(run.job("deploy").await.status, Skipped);
    assert_eq!(all_outputs(&run, "deploy").await, json!({}));
    assert_eq!(all_outputs(&run, "build").await, json!({}));
}

#[tokio::test]
async fn a_job_receives_the_outputs_of_the_successful_attempt() {
    let cloud = Cloud::connect();
    let text = graph(["build", "deploy: build"]).replace("needs: []", "needs: [], retries: 1");
    let run = cloud.submit(text).await;
    let worker = cloud.worker("w");
    worker.claims("build").await.fails("first").await;
    worker.claims("build").await.completes(&[("attempt", "second")]).await;
    let deploy = worker.claims("deploy").await;
    assert_eq!(deploy.received().await, json!({ "build": { "attempt": "second" } }));
    deploy.completes(&[]).await;
    run.until(Success).await;

    let of = |attempt: &str| run.path(&format!("/jobs/build/outputs?attempt={attempt}"));
    assert_eq!(cloud.get(&of("0")).await.json(), json!({}));
    assert_eq!(cloud.get(&of("1")).await.json(), json!({ "attempt": "second" }));
}

#[tokio::test]
async fn outputs_of_a_job_id_with_unusual_characters_are_found_everywhere() {
    let cloud = Cloud::connect();
    let id = "straße:1.2_é@%25+&=🦀";
    let run = cloud
        .submit(format!(
            "jobs:\n  '{id}': {{run: x, labels: '{{label}}'}}\n  next: {{run: x, labels: '{{label}}', needs: '{id}'}}"
        ))
        .await;
    let worker = cloud.worker("w");
    worker.claims(id).await.completes(&[("a", "1")]).await;
    let next = worker.claims("next").await;
    assert_eq!(next.received().await, json!({ id: { "a": "1" } }));
    assert_eq!(all_outputs(&run, id).await, json!({ "a": "1" }));
    assert!(!cloud.client.cancelled(&run.id, &JobId::new(id).expect("an id")).await.expect("an answer"));
    run.cancel().await;
}

#[tokio::test]
async fn an_invalid_output_name_is_refused_and_the_job_can_still_be_completed() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let long = "x".repeat(129);
    for bad in ["", "a b", "a=b", "a:b", "é", "a\n", long.as_str()] {
        let refused = build.complete(&[("good", "1"), (bad, "2")]).await.expect_err(bad);
        assert_eq!((refused.status, refused.message.contains("output name")), (422, true), "{bad:?}: {refused:?}");
    }
    build.completes(&[(&long[1..], "1")]).await;
    run.until(Success).await;
}
