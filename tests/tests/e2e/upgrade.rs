//! Functions whose records another version has written.

use std::path::PathBuf;
use std::{env, fs};

use harness::{Answer, Cloud, Emulator, Failure, Queued, Success, eventually, graph};
use protocol::WorkflowId;
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

/// The run that is stored: it has a job that passed with an output, one that failed and is ready again, one whose worker is gone, and jobs that
/// wait, one of them for a failure. Its labels are its own.
const STORED: &str = "name: stored
jobs:
  build: {run: 'true', labels: stored-run}
  slow: {run: 'true', labels: stored-slow, retries: 1}
  test: {run: 'true', labels: stored-run, needs: build, retries: 2}
  deploy: {run: 'true', labels: stored-run, needs: [slow, test]}
  rollback: {run: 'true', labels: stored-run, needs: deploy, if: failure}
";

fn stored_records(schema: u64) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/e2e/stored/schema-{schema}.json"))
}

/// Runs the jobs up to the state that is stored, and writes the records. The file isn't written anew while its schema number is in use: it must
/// be what an earlier version wrote.
async fn store(cloud: &Cloud, emulator: &Emulator, file: &PathBuf) {
    let run = cloud.submit(STORED).await;
    cloud.worker("slow").labelled("stored-slow").ttl(5).claims("slow").await;
    let worker = cloud.worker("w").labelled("stored-run");
    worker.claims("build").await.completes(&[("version", "1.2.3")]).await;
    worker.claims("test").await.fails("no network").await;
    run.until_ready("test").await;
    let records = emulator.records(&cloud.http, run.id.as_str()).await;
    fs::write(file, serde_json::to_string_pretty(&records).expect("JSON") + "\n").expect("the folder is there");
    run.cancel().await;
}

#[tokio::test]
async fn run_that_an_earlier_build_stored_in_the_middle_goes_on_and_ends() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    // This makes the pools known, which are listed for an hour only.
    cloud.submit_with(STORED, false, None).await.delete().await.expect("deleted");
    let own = emulator.schema(&cloud.http).await["schema"]["N"].as_str().and_then(|text| text.parse().ok());
    let file = stored_records(own.expect("a number"));
    if env::var_os("BLESS").is_some() {
        store(&cloud, emulator, &file).await;
        return;
    }
    let text = fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}. A raised schema number needs a file of its own, which BLESS=1 writes", file.display())
    });
    let records: Vec<Value> = serde_json::from_str(&text).expect("records");
    emulator.put_records(&cloud.http, &records).await;
    let id = records.iter().find_map(|item| item["pk"]["S"].as_str()?.strip_prefix("WF#")).expect("a workflow");
    let run = cloud.run(WorkflowId::new(id).expect("an id"));

    assert_eq!(run.outputs("build").await.get("version").map(String::as_str), Some("1.2.3"));
    let again = run.job("test").await;
    assert_eq!((again.status, again.attempt, again.attempts.len()), (Queued, 1, 1), "{again:?}");
    // The lease of `slow` ended long ago.
    cloud.sweep().await;
    cloud.worker("slow").labelled("stored-slow").claims("slow").await.completes(&[]).await;
    let worker = cloud.worker("w").labelled("stored-run");
    let held = worker.claims("test").await;
    assert_eq!(held.received().await["build"]["version"], "1.2.3");
    held.completes(&[]).await;
    worker.claims("deploy").await.fails("no space left").await;
    worker.claims("rollback").await.completes(&[]).await;
    run.until(Failure).await;
    assert_eq!(run.jobs().await, "build=success slow=success test=success deploy=failure rollback=success");
    run.delete().await.expect("deleted");
}
