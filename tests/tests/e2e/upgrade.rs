//! Functions whose records another version has written.

use harness::{Answer, Cloud, Success, eventually, graph};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// The schema's item as another version would write it: this version's numbers and these additions.
fn written_by_another(own: &Value, schema: u64, min_reader: u64, min_writer: u64) -> Value {
    let base: u64 = own["schema"]["N"].as_str().and_then(|number| number.parse().ok()).expect("a number");
    let mut item = own.clone();
    for (name, added) in [("schema", schema), ("min_reader", min_reader), ("min_writer", min_writer)] {
        item[name] = json!({ "N": (base + added).to_string() });
    }
    item["written_by"] = json!({ "S": "9.1.0" });
    item
}

/// Waits until all functions run with the new configuration and one of them answers like this.
async fn until(cloud: &Cloud, method: &str, status: StatusCode) -> Answer {
    eventually(&format!("{method} is answered {status}"), async || {
        let answer = cloud.send(method, "/api/workflows", "application/yaml", "jobs: {a: {run: 'true'}}").await;
        (answer.status == status).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn next_version_works_beside_this_one_and_a_version_that_cannot_is_refused_by_name() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let http = &cloud.http;
    cloud.submit_with(cloud.definition(graph(["before"])), false, None).await;
    let own = emulator.schema(http).await;
    let worker = cloud.worker("w");

    // The next version has written records that this one reads and changes.
    emulator.put_schema(http, &written_by_another(&own, 1, 0, 0)).await;
    until(&cloud, "GET", StatusCode::OK).await;
    let run = cloud.submit(graph(["build", "test: build"])).await;
    for _ in 0..2 {
        worker.claims_any().await.completes(&[]).await;
    }
    run.until(Success).await;
    assert_eq!(emulator.schema(http).await["written_by"]["S"], "9.1.0", "the item isn't lowered");

    // One that reads them, and may not change them.
    emulator.put_schema(http, &written_by_another(&own, 1, 0, 1)).await;
    let refusal = until(&cloud, "POST", StatusCode::SERVICE_UNAVAILABLE).await.error();
    assert!(refusal.is(503, "version"), "{refusal:?}");
    until(&cloud, "GET", StatusCode::OK).await;

    // One that can't read them.
    emulator.put_schema(http, &written_by_another(&own, 2, 1, 1)).await;
    let refusal = until(&cloud, "GET", StatusCode::SERVICE_UNAVAILABLE).await.error();
    assert!(refusal.is(503, "version"), "{refusal:?}");
    for text in ["written by workflow-graph 9.1.0", "deploy version 9.1.0 or a newer one"] {
        assert!(refusal.message.contains(text), "{refusal:?}");
    }

    emulator.put_schema(http, &own).await;
    until(&cloud, "GET", StatusCode::OK).await;
    let run = cloud.submit(graph(["after"])).await;
    worker.claims_any().await.completes(&[]).await;
    run.until(Success).await;
}
