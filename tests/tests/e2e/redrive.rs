//! `wfg redrive` on targets that have dead-letter queues.

use harness::{Cloud, Emulator, Run, Said, Success, eventually, graph, stream_event};
use serde_json::{Value, json};

/// Runs `wfg redrive`.
async fn redrive(emulator: &Emulator, stack: &str, args: &[&str]) -> Said {
    emulator.wfg(&[&["redrive", "--stack", stack], args].concat()).await
}

/// Makes a run whose only job is ready but in no ready list, so no claim finds it. Returns the item of its control record.
async fn forgotten(cloud: &Cloud, emulator: &Emulator, job: &str) -> (Run, Value) {
    let run = cloud.submit(graph([job])).await;
    run.until_ready(job).await;
    let items = emulator.items(&cloud.http, run.id.as_str()).await;
    let [control, job] = &items[..] else { panic!("{items:?}") };
    emulator.forget_job(&cloud.http, job).await;
    (run, control.clone())
}

/// A batch as Lambda writes it to the bucket after its last attempt.
fn given_up(records: &Value) -> Value {
    json!({
        "requestContext": { "requestId": "316aa6d0", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 6 },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "DDBStreamBatchInfo": { "shardId": "shardId-1", "batchSize": 1 },
        "payload": records.to_string()
    })
}

#[tokio::test]
async fn a_redriven_message_is_processed_and_an_unreadable_one_stays() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let (http, stack) = (&cloud.http, emulator.stack());
    let batches = emulator.queue(http, &format!("{stack}-batches-dead")).await;
    let stream = emulator.queue(http, &format!("{stack}-stream-dead")).await;
    let (lost_batch, control) = forgotten(&cloud, emulator, "batch").await;
    let (lost_change, record) = forgotten(&cloud, emulator, "change").await;
    let worker = cloud.worker("w");
    worker.finds_nothing().await;

    let run = control["pk"]["S"].as_str().and_then(|pk| pk.strip_prefix("R#")).expect("a run's key");
    let roots = json!({ "batch_task": { "run": run, "kind": "roots", "from": 0 } });
    emulator.send(http, &batches, &roots.to_string()).await;
    let key = format!("aws/lambda/{}/shardId-1/2026/01/01/batch", cloud.label);
    emulator.put_object(http, &key, &given_up(&stream_event(&[record]))).await;
    let arrived = async || (emulator.messages(http, &stream).await == 1).then_some(());
    eventually("the batch arrives in the queue", arrived).await;

    let looked = redrive(emulator, stack, &["--dry-run"]).await;
    assert_eq!((looked.code, looked.err.as_str()), (Some(0), ""), "{}", looked.out);
    let would = "would be put back";
    let expected = format!(
        "{stack}-batches-dead: 1 message {would} in {stack}-batches\n\
         {stack}-stream-dead: 1 batch {would}: 1 reconcile in {stack}-batches\n"
    );
    assert_eq!(looked.out, expected);
    assert_eq!(emulator.messages(http, &batches).await, 1);
    worker.finds_nothing().await;

    emulator.send(http, &batches, "nobody's").await;
    let done = redrive(emulator, stack, &[]).await;
    assert_eq!(done.out, expected.replace(would, "put back"));
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains(" stays: it isn't a message of this project: "), "{}", done.err);
    for _ in [&lost_batch, &lost_change] {
        worker.claims_any().await.completes(&[]).await;
    }
    for run in [&lost_batch, &lost_change] {
        run.until(Success).await;
    }
    assert_eq!(emulator.messages(http, &stream).await, 0);
    assert_eq!(emulator.receive(http, &batches).await.as_deref(), Some("nobody's"));
    let empty = redrive(emulator, stack, &[]).await;
    assert_eq!(empty.out, format!("{stack}-batches-dead: empty\n{stack}-stream-dead: empty\n"));
    assert_eq!((empty.code, empty.err.as_str()), (Some(0), ""));
    emulator.delete_object(http, &key).await;
}

/// Lambda stops a chain of requests after 16 invocations of one function, unless the template allows more.
#[tokio::test]
async fn long_chain_of_timers_and_batch_tasks_is_not_stopped() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let (run, control) = forgotten(&cloud, emulator, "build").await;
    let worker = cloud.worker("w");
    worker.finds_nothing().await;
    let key = control["pk"]["S"].as_str().and_then(|pk| pk.strip_prefix("R#")).expect("a run's key");
    let roots = json!({ "batch_task": { "run": key, "kind": "roots", "from": 0 } });
    emulator.send_in_chain(&cloud.http, &roots.to_string(), 16).await;
    worker.claims_any().await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn an_unknown_stack_is_refused_with_its_queue_and_region() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let said = redrive(emulator, "nowhere", &[]).await;
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
    let expected =
        "error: there is no queue nowhere-batches in us-east-1; check the stack's name, the region and the account\n";
    assert_eq!(said.err, expected);
}
