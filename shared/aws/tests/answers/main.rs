//! How the ports take what AWS answers, from a stub that says it.

mod calls;
mod spread;
mod stub;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws::{Access, SchemaGuard};
use engine::ids::{JobKey, ReportHash, RunKey};
use engine::job::{Change, JobUpdate, Precondition};
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, JobStore, NewItem, Pool, RunStore, SecretStore, Source, StoreError,
    Stored, Updated, WorkerRegistry,
};
use engine::run::{Control, RunState, Timer, WorkflowRecord};
use protocol::{LabelSet, Millis, SecretName, WorkflowId};
use serde_json::{Value, json};

use stub::{Stub, TABLE};

/// Waits between tries are drawn from a time that begins with twice this and doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// What a batch left over is sent again so often.
const BATCH_TRIES: usize = 8;

fn error(name: &str, more: &[(&str, Value)]) -> (u16, Value) {
    let mut body = json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "no" });
    for (key, value) in more {
        body[key] = value.clone();
    }
    (400, body)
}

fn cancelled(codes: &'static [&'static str]) -> Stub {
    let reasons: Vec<Value> = codes.iter().map(|code| json!({ "Code": code })).collect();
    Stub::new(move |_| error("TransactionCanceledException", &[("CancellationReasons", json!(reasons))]))
}

fn run() -> RunKey {
    RunKey::new([7; 16])
}

fn workflow() -> WorkflowRecord {
    WorkflowRecord {
        id: WorkflowId::new("wf-1").expect("an id"),
        name: "name".to_owned(),
        trigger: "manual".to_owned(),
        created_at: Millis(1),
        run: run(),
        number: 1,
        ended: None,
        source: None,
    }
}

fn commit() -> Commit {
    let control = Control {
        run: run(),
        workflow: workflow().id,
        number: 1,
        jobs: 1,
        state: RunState::New,
        done_below: 0,
        failed: false,
        cancelled: false,
        opened_at: None,
        group: None,
        blocked_at: None,
        opener: None,
        report: None,
        superseded: false,
        timer: Timer::Off,
    };
    let idempotency = Idempotency {
        key: "key".to_owned(),
        body: ReportHash::of(["body"]),
        workflow: workflow().id,
        expires: Millis(1000),
    };
    Commit { workflow: workflow(), replaces: None, control, idempotency: Some(idempotency) }
}

fn is_unavailable<T>(answer: &Stored<T>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn every_reason_of_a_cancelled_transaction_is_read_and_only_a_condition_refuses() {
    const NO: &str = "ConditionalCheckFailed";
    let table: [(&'static [&'static str], Option<Committed>); 8] = [
        (&[NO, "None", "None"], Some(Committed::Superseded)),
        (&["None", NO, "None"], Some(Committed::Superseded)),
        (&["None", "None", NO], Some(Committed::KeyTaken)),
        (&["TransactionConflict", "None", NO], Some(Committed::KeyTaken)),
        (&[NO, "TransactionConflict", "None"], Some(Committed::Superseded)),
        (&["TransactionConflict", "None", "None"], None),
        (&["None", "None", "TransactionConflict"], None),
        (&["None", "ThrottlingError", "ProvisionedThroughputExceeded"], None),
    ];
    for (codes, expected) in table {
        let answer = cancelled(codes).ports().await.commit(commit()).await;
        match expected {
            Some(expected) => assert_eq!(answer.ok(), Some(expected), "{codes:?}"),
            None => assert!(is_unavailable(&answer), "{codes:?}: {answer:?}"),
        }
    }
    let refused = cancelled(&["None", NO]).ports().await.delete_workflow(&workflow()).await;
    assert_eq!(refused.ok(), Some(false));
    let met = cancelled(&["None", "TransactionConflict"]).ports().await.delete_workflow(&workflow()).await;
    assert!(is_unavailable(&met), "{met:?}");
}

#[tokio::test]
async fn an_update_that_met_a_transaction_or_was_throttled_is_not_taken_for_refused() {
    let tries = [
        ("TransactionConflictException", 4),
        ("ProvisionedThroughputExceededException", 5),
        ("RequestLimitExceeded", 5),
    ];
    for (name, tries) in tries {
        let stub = Stub::new(move |_| error(name, &[]));
        let ports = stub.ports().await;
        tokio::time::pause();
        let update =
            JobUpdate { expect: Precondition::Waiting, change: Change::RemoveNeed { member: 0, failed: false } };
        let answer = ports.update(&JobKey::new(&run(), 1), update).await;
        tokio::time::resume();
        assert!(is_unavailable(&answer), "{name}: {answer:?}");
        assert_eq!(stub.bodies().len(), tries, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_met_three_transactions_is_done() {
    let conflicts = Mutex::new(3);
    let stub = Stub::new(move |body| {
        if body["UpdateExpression"].is_null() {
            return (200, json!({}));
        }
        let mut conflicts = conflicts.lock().expect("nobody panicked");
        let meets = *conflicts > 0;
        *conflicts -= i32::from(meets);
        error(if meets { "TransactionConflictException" } else { "ConditionalCheckFailedException" }, &[])
    });
    let update = JobUpdate { expect: Precondition::Waiting, change: Change::RemoveNeed { member: 0, failed: false } };
    let answer = stub.ports().await.update(&JobKey::new(&run(), 1), update).await;
    assert_eq!(answer.ok(), Some(Updated::ConditionFailed(None)));
    assert_eq!(stub.bodies().len(), 5, "four updates, and a read after the refusal");
}

fn source(n: u8) -> Source {
    Source { content_type: "application/yaml".to_owned(), text: format!("source {n}") }
}

fn definitions() -> Vec<NewItem> {
    (0..3).map(|n| NewItem::Definition(RunKey::new([n; 16]), source(n))).collect()
}

fn writes(body: &Value) -> Vec<Value> {
    body["RequestItems"][TABLE].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn what_a_batch_left_undone_is_sent_again_and_only_that() {
    let stub = Stub::new(|body| match writes(body).split_first() {
        Some((_, rest)) if !rest.is_empty() => (200, json!({ "UnprocessedItems": { TABLE: rest } })),
        _ => (200, json!({ "UnprocessedItems": {} })),
    });
    let ports = stub.ports().await;
    tokio::time::pause();
    ports.put_new(definitions()).await.expect("all were written");
    let sent: Vec<Vec<Value>> = stub.bodies().iter().map(writes).collect();
    assert_eq!(sent.len(), 3);
    assert_eq!((sent[1].as_slice(), sent[2].as_slice()), (&sent[0][1..], &sent[0][2..]));
}

#[tokio::test]
async fn keys_that_a_batch_did_not_read_are_asked_for_again_as_freshly() {
    let stub = Stub::new(|body| match body["RequestItems"][TABLE]["Keys"].as_array().map(Vec::as_slice) {
        Some([_, rest @ ..]) if !rest.is_empty() => {
            let left = json!({ TABLE: { "Keys": rest, "ConsistentRead": true } });
            (200, json!({ "Responses": {}, "UnprocessedKeys": left }))
        }
        _ => (200, json!({ "Responses": {}, "UnprocessedKeys": {} })),
    });
    let ports = stub.ports().await;
    tokio::time::pause();
    let found = ports.jobs_at(&run(), &[0, 1, 2], Consistency::Strong).await.expect("all were read");
    assert_eq!(found, [None, None, None]);
    let asked: Vec<Value> = stub.bodies().iter().map(|body| body["RequestItems"][TABLE].clone()).collect();
    let numbers: Vec<usize> = asked.iter().filter_map(|asked| Some(asked["Keys"].as_array()?.len())).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert!(asked.iter().all(|asked| asked["ConsistentRead"] == true), "{asked:#?}");
}

#[tokio::test]
async fn new_records_whose_write_is_in_doubt_are_not_written_again_and_throttled_ones_are() {
    let broken = Stub::new(|_| (500, json!({ "__type": "InternalServerError" })));
    let answer = broken.ports().await.put_new(definitions()).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert_eq!(broken.bodies().len(), 1);

    let refusals = std::sync::atomic::AtomicUsize::new(2);
    let busy = Stub::new(move |_| {
        use std::sync::atomic::Ordering::Relaxed;
        let refuse = refusals.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if refuse { error("ProvisionedThroughputExceededException", &[]) } else { (200, json!({})) }
    });
    let ports = busy.ports().await;
    tokio::time::pause();
    ports.put_new(definitions()).await.expect("written in the end");
    assert_eq!(busy.bodies().len(), 3);
}

/// Sends a batch that is never done, and how long it waited between its tries.
async fn waits_of_a_batch_never_done() -> Vec<Duration> {
    let stub = Stub::new(|body| (200, json!({ "UnprocessedItems": body["RequestItems"] })));
    let ports = stub.ports().await;
    tokio::time::pause();
    let answer = ports.put_new(definitions()).await;
    tokio::time::resume();
    let Err(StoreError::Unavailable(text)) = &answer else { panic!("{answer:?}") };
    assert!(text.contains("throttled") && text.contains(TABLE), "{text}");
    stub.waits()
}

#[tokio::test]
async fn a_batch_that_is_never_done_is_tried_with_jitter_up_to_a_limit_and_then_said_to_be_throttled() {
    let waits = waits_of_a_batch_never_done().await;
    assert_eq!(waits.len(), BATCH_TRIES, "{waits:?}");
    for (number, wait) in (1_u32..).zip(&waits) {
        // The clock counts whole milliseconds.
        assert!(*wait <= FIRST_WAIT * 2_u32.pow(number) + Duration::from_millis(2), "wait {number} of {waits:?}");
    }
    assert_ne!(
        waits,
        waits_of_a_batch_never_done().await,
        "two that were throttled together must not come back together"
    );
}

/// Answers for a pool whose queue is there, with other attributes, or isn't. The error's name is what the library makes of
/// SQS's header `x-amzn-query-error`.
fn queues(there: bool) -> Stub {
    Stub::new(move |body| match (&body["TableName"], &body["Attributes"]) {
        (Value::Null, Value::Object(_)) if there => (400, json!({ "__type": "com.amazonaws.sqs#QueueAlreadyExists" })),
        (Value::Null, _) => (200, json!({ "QueueUrl": "http://localhost/pool" })),
        _ => (200, json!({})),
    })
}

#[tokio::test]
async fn a_pools_queue_is_encrypted_and_refuses_plain_http_unless_told_otherwise() {
    let pool = Pool::of(LabelSet::default());
    for require_tls in [true, false] {
        let stub = queues(false);
        let made = stub.ports_where(require_tls).await.want_queue(&pool, Millis(1)).await.expect("it is made");
        assert_eq!(made.map(|queue| queue.url).as_deref(), Some("http://localhost/pool"));
        let attributes = &stub.bodies()[0]["Attributes"];
        assert_eq!(attributes["SqsManagedSseEnabled"], "true");
        assert_eq!(stub.bodies()[0]["tags"], json!({ "workflow-graph:stack": "stack" }));
        let policy = attributes["Policy"].as_str();
        assert_eq!(policy.is_some(), require_tls, "{attributes}");
        let Some(policy) = policy else { continue };
        let policy: Value = serde_json::from_str(policy).expect("JSON");
        let [denial] = policy["Statement"].as_array().map(Vec::as_slice).expect("a list") else { panic!("{policy}") };
        assert_eq!(
            (&denial["Effect"], &denial["Principal"], &denial["Action"]),
            (&json!("Deny"), &json!("*"), &json!("sqs:*"))
        );
        assert_eq!(denial["Condition"], json!({ "Bool": { "aws:SecureTransport": "false" } }));
    }
}

#[tokio::test]
async fn a_queue_that_another_version_made_is_used_as_it_is() {
    let stub = queues(true);
    let pool = Pool::of(LabelSet::default());
    let found = stub.ports().await.want_queue(&pool, Millis(1)).await.expect("it is there");
    assert_eq!(found.map(|queue| queue.url).as_deref(), Some("http://localhost/pool"));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_read_decrypted_ten_at_a_time_and_those_that_are_not_there_are_left_out() {
    let stub = Stub::new(|body| {
        let names = body["Names"].as_array().expect("names").iter().filter_map(Value::as_str);
        let (there, not): (Vec<&str>, Vec<&str>) = names.partition(|name| !name.ends_with("/NOPE"));
        let parameters: Vec<Value> =
            there.iter().map(|name| json!({ "Name": name, "Value": format!("value of {name}") })).collect();
        (200, json!({ "Parameters": parameters, "InvalidParameters": not }))
    });
    let name = |text: &str| SecretName::new(text).expect("a name");
    let names = (0..19).map(|n| name(&format!("K{n}"))).chain([name("NOPE")]).collect();
    let found = stub.parameters().await.secrets(&names).await.expect("it answers");
    assert_eq!(found.len(), 19);
    assert_eq!(found[&name("K7")].reveal(), "value of /wf/secrets/K7");
    let bodies = stub.bodies();
    let counts: Vec<usize> = bodies.iter().map(|body| body["Names"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(counts, [10, 10]);
    assert!(bodies.iter().all(|body| body["WithDecryption"] == json!(true)));
}

#[tokio::test(start_paused = true)]
async fn a_parameter_store_that_is_away_is_tried_again_and_then_said_to_be_away() {
    let stub = Stub::new(|_| (400, json!({ "__type": "ThrottlingException", "message": "Rate exceeded" })));
    let names = [SecretName::new("KEY").expect("a name")].into();
    let error = stub.parameters().await.secrets(&names).await.expect_err("throttled");
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("ThrottlingException")), "{error}");
    assert_eq!(stub.bodies().len(), 3, "a claim has no time for more");
}

#[tokio::test]
async fn object_that_s3_does_not_delete_is_an_error() {
    let answers = Mutex::new(vec![
        "<DeleteResult><Error><Key>outputs/x</Key><Message>Access Denied</Message></Error></DeleteResult>",
        "<ListBucketResult><Contents><Key>outputs/x</Key></Contents></ListBucketResult>",
    ]);
    let stub = Stub::new(move |_| (200, json!(answers.lock().expect("nobody panicked").pop().expect("two requests"))));
    let answer = stub.ports().await.delete_some(&run(), 1).await;
    let Err(StoreError::Unavailable(text)) = &answer else { panic!("{answer:?}") };
    assert!(text.contains("outputs/x") && text.contains("Access Denied"), "{text}");
    assert_eq!(stub.bodies().len(), 2, "one list and one deletion");
}

/// The item of records that this version may use, with these fields changed.
fn schema_item(schema: u32, min_reader: u32, min_writer: u32) -> Value {
    let text = |text: &str| json!({ "S": text });
    let number = |number: u32| json!({ "N": number.to_string() });
    let numbers =
        json!({ "schema": number(schema), "min_reader": number(min_reader), "min_writer": number(min_writer) });
    let mut item = json!({ "pk": text("SCHEMA"), "sk": text("SCHEMA"), "written_by": text("9.1.0") });
    item.as_object_mut().expect("an object").extend(numbers.as_object().expect("an object").clone());
    json!({ "Item": item })
}

async fn refused(item: Value, guard: SchemaGuard) -> String {
    let stub = Stub::new(move |_| (200, item.clone()));
    let refusal = guard.check(&stub.ports().await).await.expect_err("another schema").to_string();
    assert_eq!(stub.bodies().len(), 1, "one read, and no write");
    refusal
}

#[tokio::test]
async fn records_of_a_newer_or_older_schema_are_refused_with_what_wrote_them_and_what_to_do() {
    let newer = refused(schema_item(99, 98, 98), SchemaGuard::new(Access::Read)).await;
    assert!(newer.starts_with("the stack's records have schema 99, written by workflow-graph 9.1.0; "), "{newer}");
    assert!(
        newer.contains("may read them has schema 98 or a higher one")
            && newer.contains("deploy version 9.1.0 or a newer one"),
        "{newer}"
    );
    let older = refused(schema_item(0, 0, 0), SchemaGuard::that_initializes()).await;
    assert!(older.starts_with("the stack's records have schema 0, written by workflow-graph 9.1.0; this"), "{older}");
    assert!(older.contains("deploy the versions between them one after the other"), "{older}");
}

#[tokio::test]
async fn newer_records_that_may_only_be_read_refuse_a_writer() {
    let refusal = refused(schema_item(99, 0, 99), SchemaGuard::new(Access::Change)).await;
    assert!(refusal.contains("may change them has schema 99 or a higher one"), "{refusal}");
    let stub = Stub::new(|_| (200, schema_item(99, 0, 99)));
    SchemaGuard::new(Access::Read).check(&stub.ports().await).await.expect("it may read");
}

#[tokio::test]
async fn schema_is_written_where_there_is_none_and_never_lowered() {
    let stub = Stub::new(|_| (200, json!({})));
    SchemaGuard::new(Access::Change).check(&stub.ports().await).await.expect("empty tables");
    assert_eq!(stub.bodies().len(), 1, "a check writes nothing");
    SchemaGuard::that_initializes().check(&stub.ports().await).await.expect("empty tables");
    let written = stub.bodies().into_iter().find(|body| body.get("Item").is_some()).expect("it is written");
    assert_eq!(written["Item"]["pk"]["S"], "SCHEMA");
    assert!(written["Item"]["min_writer"]["N"].is_string(), "{written}");
    assert_eq!(written["ConditionExpression"], "(attribute_not_exists(#schema) OR #schema < :v0)");

    let own = written["Item"]["schema"]["N"].as_str().and_then(|text| text.parse().ok()).expect("a number");
    for schema in [own, 99] {
        let stub = Stub::new(move |_| (200, schema_item(schema, own, own)));
        SchemaGuard::that_initializes().check(&stub.ports().await).await.expect("a version that works beside it");
        assert_eq!(stub.bodies().len(), 1, "nothing is written over it");
    }
}

#[tokio::test]
async fn schema_that_another_process_wrote_first_is_checked() {
    let reads = Mutex::new(0);
    let stub = Stub::new(move |body| {
        if body.get("Item").is_some() {
            return error("ConditionalCheckFailedException", &[]);
        }
        let mut reads = reads.lock().expect("nobody panicked");
        *reads += 1;
        (200, if *reads == 1 { json!({}) } else { schema_item(99, 99, 99) })
    });
    let refusal = SchemaGuard::that_initializes().check(&stub.ports().await).await.expect_err("another").to_string();
    assert!(refusal.contains("schema 99"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn schema_is_read_again_after_five_minutes_and_a_silent_table_is_then_no_refusal() {
    let table = Arc::new(Mutex::new((200, json!({}))));
    let answer = Arc::clone(&table);
    let stub = Stub::new(move |_| answer.lock().expect("nobody panicked").clone());
    let (guard, ports) = (SchemaGuard::new(Access::Change), stub.ports().await);
    let answers = |answer: (u16, Value)| *table.lock().expect("nobody panicked") = answer;
    for _ in 0..3 {
        guard.check(&ports).await.expect("empty tables");
    }
    assert_eq!(stub.bodies().len(), 1, "one read");
    tokio::time::advance(Duration::from_mins(5)).await;
    answers(error("InternalServerError", &[]));
    guard.check(&ports).await.expect("it was good five minutes ago");
    answers((200, schema_item(99, 99, 99)));
    guard.check(&ports).await.expect_err("another version has written since");
    answers((200, json!({})));
    guard.check(&ports).await.expect("a refusal isn't kept");
}
