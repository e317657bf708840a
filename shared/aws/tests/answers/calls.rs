//! How long calls take, how many are made at once, and which are not made.

use std::time::Duration;

use engine::ids::{JobKey, Ticket};
use engine::messages::{ChangeEvent, Delivered};
use engine::ports::{Consistency, Dispatcher, Pool, PoolQueue, RunStore, WorkerRegistry};
use engine::run::{Control, RunState};
use protocol::requests::{Register, Transport};
use protocol::{Label, LabelSet, Millis, WorkerId};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stub::{Stub, TABLE};
use crate::{commit, is_unavailable, run};

const ATTEMPT: Duration = Duration::from_secs(3);
const ATTEMPT_S3: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(20);
const LATE: Option<Duration> = Some(Duration::from_millis(100));

#[tokio::test(start_paused = true)]
async fn call_without_an_answer_is_tried_again_after_3_s_and_given_up_after_20_s() {
    let stub = Stub::new(|_| (200, json!({}))).late(None);
    let (ports, began) = (stub.ports().await, Instant::now());
    let answer = ports.control(&run(), Consistency::Strong).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(began.elapsed() <= CALL + Duration::from_millis(10), "{:?}", began.elapsed());
    let waits = stub.waits();
    assert!(waits.len() >= 2 && waits.iter().all(|wait| *wait >= ATTEMPT), "{waits:?}");
    assert!(waits[0] <= ATTEMPT + Duration::from_millis(1010), "the first wait is at most a second: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn call_of_s3_without_an_answer_is_tried_again_after_10_s() {
    let stub = Stub::new(|_| (200, json!(""))).late(None);
    let (ports, began) = (stub.ports().await, Instant::now());
    let answer = ports.delete_some(&run(), 1).await;
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(began.elapsed() <= CALL + Duration::from_millis(10), "{:?}", began.elapsed());
    let waits = stub.waits();
    assert!(waits.len() == 1 && waits[0] >= ATTEMPT_S3, "{waits:?}");
}

fn pool(label: &str) -> Pool {
    Pool::of(LabelSet::parse([label]).expect("a label"))
}

fn queue(wanted_at: Millis) -> PoolQueue {
    PoolQueue { url: "http://localhost/pool".to_owned(), wanted_at }
}

/// Whether a request creates a queue.
fn creates(body: &Value) -> bool {
    body["QueueName"].is_string() && body["Attributes"].is_object()
}

#[tokio::test]
async fn queue_that_is_known_is_not_made_again() {
    let now = Millis(10_000_000);
    let minutes = |minutes| now - Duration::from_mins(minutes);
    for (wanted_at, calls, made) in [(minutes(4), 0, 0), (minutes(6), 1, 0), (minutes(61), 2, 1)] {
        let stub = Stub::new(|_| (200, json!({ "QueueUrl": "http://localhost/pool" })));
        let known = Pool { queue: Some(queue(wanted_at)), ..pool("a") };
        let found = stub.ports().await.want_queue(&known, now).await.expect("it is there").expect("a queue");
        assert_eq!(found.url, "http://localhost/pool");
        let bodies = stub.bodies();
        assert_eq!((bodies.len(), bodies.iter().filter(|body| creates(body)).count()), (calls, made), "{bodies:?}");
    }
}

#[tokio::test]
async fn queue_that_is_gone_is_forgotten_so_that_it_is_made_again() {
    let stub = Stub::new(|body| match &body["TableName"] {
        Value::Null => (400, json!({ "__type": "AWS.SimpleQueueService.NonExistentQueue" })),
        _ => (200, json!({})),
    });
    let ticket = Ticket { pool: pool("a").id, job: JobKey::new(&run(), 1) };
    stub.ports().await.send_ticket(&queue(Millis(1)), ticket).await.expect("a ticket is a hint");
    let [_, update] = &stub.bodies()[..] else { panic!("{:?}", stub.bodies()) };
    assert_eq!(update["UpdateExpression"].as_str().map(str::trim), Some("REMOVE #queue"));
    assert_eq!(update["ConditionExpression"], "#queue.#url = :v0", "another queue stays");
}

#[tokio::test(start_paused = true)]
async fn registration_makes_16_queues_at_once_and_leaves_out_a_pool_whose_queue_fails() {
    const POOLS: usize = 40;
    let pools: Vec<Pool> = (0..POOLS).map(|n| pool(&format!("l{n}"))).collect();
    let labels: Vec<&str> = pools.iter().flat_map(|pool| pool.labels.iter().map(Label::as_str)).collect();
    let labels = LabelSet::parse(labels).expect("labels");
    let failing = format!("pool-{}", pools[7].id.as_str());
    let items: Vec<Value> = pools
        .iter()
        .map(|pool| {
            let labels: Vec<Value> = pool.labels.iter().map(|label| json!({ "S": label.as_str() })).collect();
            json!({ "id": { "S": pool.id.as_str() }, "labels": { "L": labels }, "secrets": { "L": [] } })
        })
        .collect();
    let stub = Stub::new(move |body| match body {
        body if body["ExpressionAttributeValues"][":pk"]["S"] == "POOL" => (200, json!({ "Items": items })),
        body if body["QueueName"] == json!(failing) => {
            (400, json!({ "__type": "AWS.SimpleQueueService.QueueDeletedRecently" }))
        }
        body if creates(body) => (200, json!({ "QueueUrl": body["QueueName"] })),
        _ => (200, json!({})),
    });
    let stub = stub.late(LATE);
    let request = Register {
        worker_id: WorkerId::new("w").expect("an id"),
        labels,
        transport: Transport::Sqs,
        exclusive: false,
        features: Vec::new(),
        paused: None,
    };
    let queues = stub.engine().await.workers().register(request).await.expect("registered").queues;
    assert_eq!(queues.len(), POOLS - 1, "{queues:?}");
    assert_eq!(queues[8].url, format!("pool-{}", pools[9].id.as_str()), "in the order of the pools");
    assert_eq!(stub.bodies().iter().filter(|body| creates(body)).count(), POOLS);
    assert_eq!(stub.most_at_once(), 16);
}

#[tokio::test(start_paused = true)]
async fn changes_of_16_records_are_handled_at_once() {
    const CHANGES: u8 = 40;
    let stub = Stub::new(|body| match &body["TableName"] {
        Value::Null => (200, json!({ "MessageId": "1" })),
        table => {
            assert_eq!(table, TABLE);
            (200, json!({}))
        }
    });
    let stub = stub.late(LATE);
    let control =
        |n| Control { run: engine::ids::RunKey::new([n; 16]), state: RunState::Cancelling, ..commit().control };
    let changes: Vec<Delivered> =
        (0..CHANGES).map(|n| Delivered::Event(ChangeEvent::RunCancelling(control(n)))).collect();
    let failed = stub.engine().await.scheduling().on_changes(&changes, Millis(u64::MAX)).await;
    assert!(failed.is_empty(), "{failed:?}");
    let sent = stub.bodies().iter().filter(|body| body["MessageBody"].is_string()).count();
    assert_eq!(sent, usize::from(CHANGES), "a batch task for each run");
    assert_eq!(stub.most_at_once(), 16);
}
