//! Repeated requests, messages and records have one effect, and requests get the first answer again.

use futures::future::join_all;
use harness::{Cloud, Failure, Success, done, graph, stream_event};
use serde_json::{Value, json};

#[tokio::test]
async fn a_submission_repeated_with_its_key_is_the_same_workflow() {
    let cloud = Cloud::connect();
    let body = cloud.definition(graph(["build"]));
    let key = format!("key-{}", cloud.label);
    let submit = |query: &'static str, body: String| {
        let (cloud, key) = (cloud.clone(), key.clone());
        async move {
            let headers = [("content-type", "application/yaml"), ("idempotency-key", key.as_str())];
            cloud.send_with("POST", &format!("/api/workflows{query}"), &headers, body).await
        }
    };
    let first = submit("?run=true", body.clone()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(first.header("location"), format!("/api/workflows/{id}"));
    for _ in 0..2 {
        let again = submit("?run=true", body.clone()).await;
        assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &json!(id)), "{again:?}");
    }
    for (query, body) in [("?run=true", body.replace("build", "other")), ("", body.clone())] {
        let refused = submit(query, body).await.error();
        assert!(refused.is(409, "idempotency_key_reused") && refused.message.contains(&key), "{refused:?}");
    }

    let worker = cloud.worker("w");
    worker.claims("build").await.completes(&[]).await;
    cloud.run(id.parse().expect("an id")).until(Success).await;
    worker.finds_nothing().await;
    let late = submit("?run=true", body).await;
    assert_eq!((late.status.as_u16(), &late.json()["status"]), (200, &json!("success")), "it shows how it is now");
}

#[tokio::test]
async fn of_concurrent_submissions_with_one_key_one_creates_a_workflow() {
    let cloud = Cloud::connect();
    let submissions = join_all((0..8).map(|_| cloud.submit_with(graph(["build"]), true, Some(&cloud.label)))).await;
    assert!(submissions.iter().all(|run| run.id == submissions[0].id));
    let worker = cloud.worker("w");
    worker.claims("build").await.completes(&[]).await;
    submissions[0].until(Success).await;
    worker.finds_nothing().await;
}

#[tokio::test]
async fn without_a_key_or_with_another_key_the_same_text_is_another_workflow() {
    let cloud = Cloud::connect();
    let keys = [None, None, Some(format!("{}-a", cloud.label)), Some(format!("{}-b", cloud.label))];
    let mut ids = Vec::new();
    for key in keys {
        ids.push(cloud.submit_with(graph(["build"]), false, key.as_deref()).await.id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_repeated_completion_gets_the_same_answer_and_one_with_other_outputs_is_refused() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "deploy: build"])).await;
    let worker = cloud.worker("w");
    let build = worker.claims("build").await;
    let large = "x".repeat(100_000);
    let outputs = [("version", "1"), ("large", large.as_str())];
    for _ in 0..3 {
        build.completes(&outputs).await;
    }
    for other in [&[("version", "2")][..], &[], &outputs[..1]] {
        let refused = build.complete(other).await.expect_err("the first stands");
        assert!(refused.is(409, "already_reported"), "{refused:?}");
    }
    let refused = build.fail("no, it failed", true).await.expect_err("the first stands");
    assert!(refused.is(409, "already_reported"), "{refused:?}");

    let deploy = worker.claims("deploy").await;
    worker.finds_nothing().await;
    assert!(deploy.received().await == json!({ "build": { "version": "1", "large": large } }));
    build.completes(&outputs).await;
    deploy.completes(&[]).await;
    let ended = done(run.until(Success).await);
    build.completes(&outputs).await;
    deploy.completes(&[]).await;
    assert_eq!(done(run.now().await), ended, "repeats after the end change nothing");
}

#[tokio::test]
async fn a_repeated_failure_uses_one_retry() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 2}}").await;
    let worker = cloud.worker("w");
    let first = worker.claims("build").await;
    for _ in 0..3 {
        first.fails("once").await;
    }
    assert_eq!(run.job("build").await.attempt, 1);
    let second = worker.claims("build").await;
    assert_eq!(second.job.attempt, 1);
    first.fails("once").await;
    assert_eq!(run.jobs().await, "build=running", "the repeat doesn't touch the attempt that runs");
    let refused = first.fail("otherwise", true).await.expect_err("the first stands");
    assert_eq!(refused.status, 409, "{refused:?}");

    second.fails("twice").await;
    let third = worker.claims("build").await;
    assert_eq!(third.job.attempt, 2);
    third.fails("thrice").await;
    third.fails("thrice").await;
    run.until(Failure).await;
    assert_eq!(run.job("build").await.error.as_deref(), Some("thrice"));
    worker.finds_nothing().await;
}

#[tokio::test]
async fn two_concurrent_completions_count_once() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build", "deploy: build"])).await;
    let worker = cloud.worker("w");
    let build = worker.claims("build").await;
    let values = ["one", "two", "three", "four"];
    let said = values.map(|value| [("value", value)]);
    let answers = join_all(said.iter().map(|outputs| build.complete(outputs))).await;
    let accepted: Vec<&str> =
        values.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(v, _)| v).collect();
    let [value] = accepted[..] else { panic!("{answers:?}") };
    let deploy = worker.claims("deploy").await;
    assert_eq!(deploy.received().await, json!({ "build": { "value": value } }));
    worker.finds_nothing().await;
    deploy.completes(&[]).await;
    run.until(Success).await;
}

/// On functions: a record image that this project didn't write. It is skipped with an error in the log.
#[tokio::test]
async fn an_unreadable_stream_record_does_not_block_the_records_behind_it() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let run = cloud.submit(graph(["a", "b: a"])).await;
    let worker = cloud.worker("w");
    worker.claims("a").await.completes(&[]).await;
    let items = emulator.items(&cloud.http, run.id.as_str()).await;
    let ended: Vec<Value> = items.into_iter().filter(is_final).collect();
    let mut event = stream_event(&[ended.as_slice(), &ended].concat());
    event["Records"][0]["dynamodb"]["NewImage"]["attempt"] = json!({ "S": "not a number" });
    let answer = emulator.stream(&cloud.http, &event).await;
    assert!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
    worker.claims("b").await.completes(&[]).await;
    run.until(Success).await;
}

/// The stream delivers at least once. The store in memory has no stream; there the engine's own tests repeat change events.
#[tokio::test]
async fn a_stream_batch_delivered_again_in_whole_or_in_part_changes_nothing() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let run = cloud.submit(graph(["top", "left: top", "right: top", "end: left right"])).await;
    let tell_again = async || {
        let items = emulator.items(&cloud.http, run.id.as_str()).await;
        let published: Vec<Value> =
            items.into_iter().filter(|item| item["sk"]["S"] == "CTL" || is_final(item)).collect();
        let (batch, half) = (stream_event(&published), stream_event(&published[published.len() / 2..]));
        for event in [&batch, &half, &batch] {
            let answer = emulator.stream(&cloud.http, event).await;
            assert!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
        }
    };
    let worker = cloud.worker("w");
    worker.claims("top").await.completes(&[]).await;
    let left = worker.claims_any().await;
    tell_again().await;
    let right = worker.claims_any().await;
    assert_ne!(left.job.job_id, right.job.job_id);
    tell_again().await;
    worker.finds_nothing().await;
    left.completes(&[]).await;
    tell_again().await;
    worker.finds_nothing().await;
    right.completes(&[]).await;
    let end = worker.claims("end").await;
    tell_again().await;
    worker.finds_nothing().await;
    end.completes(&[]).await;
    let ended = done(run.until(Success).await);
    tell_again().await;
    assert_eq!(done(run.now().await), ended);
}

fn is_final(item: &Value) -> bool {
    item["status"]["S"] == "ended"
}
