//! What every run, worker or request writes to is spread over many partitions, and a known pool isn't written again.

use std::collections::BTreeSet;

use engine::ids::RunKey;
use engine::ports::{AuditStore, Commit, Consistency, Pool, RunStore, WorkerRecord, WorkerRegistry};
use engine::run::{Control, RunState, RunUpdate, Timer};
use protocol::access::{AuditAction, AuditEntry};
use protocol::requests::Transport;
use protocol::{LabelSet, Millis, WorkerId, limits};
use serde_json::{Value, json};

use crate::stub::Stub;
use crate::{TABLE, commit};

const NUMBER: u8 = 64;
/// Of 16. With 64 entries, fewer than this are used once in a million.
const USED: usize = 12;

/// A random key, the same in each test.
fn random(n: u8) -> [u8; 16] {
    [n.wrapping_mul(149).wrapping_add(n >> 2); 16]
}

/// All texts in the requests that begin so.
fn texts(bodies: &[Value], start: &str) -> BTreeSet<String> {
    fn collect(value: &Value, start: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if text.starts_with(start) => drop(found.insert(text.clone())),
            Value::Array(values) => values.iter().for_each(|value| collect(value, start, found)),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, start, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for body in bodies {
        collect(body, start, &mut found);
    }
    found
}

fn is_spread(bodies: &[Value], list: &str) {
    let used = texts(bodies, list);
    assert!(used.len() >= USED, "{} partitions: {used:?}", used.len());
    assert!(used.iter().all(|key| key.len() == list.len() + 2 && key[list.len()..].starts_with('#')), "{used:?}");
}

/// Every partition of the list is asked once.
fn all_are_asked(bodies: &[Value], list: &str) {
    let all: BTreeSet<String> = (0..16).map(|digit| format!("{list}#{digit:x}")).collect();
    assert_eq!(texts(bodies, list), all);
    assert_eq!(bodies.len(), all.len(), "one query of each");
}

#[tokio::test]
async fn open_runs_are_spread_over_sixteen_partitions_of_the_index_and_the_sweep_asks_all() {
    let stub = Stub::new(|_| (200, json!({})));
    let ports = stub.ports().await;
    for n in 0..NUMBER {
        let Commit { control, workflow, .. } = commit();
        let control = Control {
            run: RunKey::new(random(n)),
            state: RunState::Open,
            timer: Timer::Due(Millis(u64::from(n))),
            ..control
        };
        let run = control.run.clone();
        let open = Commit { control, workflow, replaces: None, idempotency: None };
        ports.commit(open).await.expect("answered");
        // A stub's answer isn't a record.
        drop(ports.update_control(&run, RunUpdate::Open { at: Millis(1), opener: 1 }).await);
    }
    is_spread(&stub.bodies(), "OPEN");

    let stub = Stub::new(|_| (200, json!({})));
    stub.ports().await.timers_due(Millis(1)).await.expect("answered");
    all_are_asked(&stub.bodies(), "OPEN");
}

fn worker(n: u8) -> WorkerRecord {
    WorkerRecord {
        id: WorkerId::new(format!("worker-{n}")).expect("an id"),
        labels: LabelSet::default(),
        transport: Transport::Http,
        exclusive: false,
        features: Vec::new(),
        registered_at: Millis(1),
        last_seen: Millis(1),
        owner: None,
        paused: None,
        holds: Vec::new(),
    }
}

#[tokio::test]
async fn workers_are_spread_over_sixteen_partitions_and_a_list_asks_all() {
    let stub = Stub::new(|_| (200, json!({})));
    let ports = stub.ports().await;
    for n in 0..NUMBER {
        ports.put_worker(worker(n)).await.expect("answered");
        ports.worker(&worker(n).id, Millis(1), Consistency::Eventual).await.expect("answered");
    }
    is_spread(&stub.bodies(), "WORKER");
    let keys = |name: &str| -> BTreeSet<String> {
        stub.bodies().iter().filter_map(|body| body["Item"][name]["S"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(keys("pk"), keys("index_pk"), "in the table and in the index");

    let stub = Stub::new(|_| (200, json!({})));
    stub.ports().await.workers(Millis(1), 100).await.expect("answered");
    all_are_asked(&stub.bodies(), "WORKER");
}

#[tokio::test]
async fn audit_entries_are_spread_over_sixteen_partitions_and_a_list_asks_all() {
    let stub = Stub::new(|_| (200, json!({})));
    let ports = stub.ports().await;
    for n in 0..NUMBER {
        let entry = AuditEntry::new(Millis(1), None, AuditAction::Submit, "POST /api/workflows".to_owned());
        ports.record(entry, random(n)).await.expect("answered");
    }
    is_spread(&stub.bodies(), "AUDIT");

    let stub = Stub::new(|_| (200, json!({})));
    stub.ports().await.entries(None, 10).await.expect("answered");
    all_are_asked(&stub.bodies(), "AUDIT");
}

/// A partition that has all of the first entries is read again, the others aren't.
#[tokio::test]
async fn list_is_in_order_wherever_its_entries_are() {
    // Partition 3 has three thousand entries, partition 4 one in between.
    let stub = Stub::new(|body| {
        let partition = body["ExpressionAttributeValues"][":pk"]["S"].as_str().expect("a partition");
        let from = body["ExclusiveStartKey"]["index_sk"]["S"].as_str().unwrap_or_default().to_owned();
        let limit = usize::try_from(body["Limit"].as_u64().expect("a limit")).expect("few");
        let all: Vec<u64> = match partition {
            "OPEN#3" => (0..3000).collect(),
            "OPEN#4" => vec![50],
            _ => Vec::new(),
        };
        let item = |n: &u64| {
            let text = |text: String| json!({ "S": text });
            let run = format!("{}{n:031}", &partition[5..]);
            let sort = format!("{n:013}#{run}");
            json!({ "pk": text(format!("R#{run}")), "sk": text("CTL".into()), "index_pk": text(partition.into()),
                    "index_sk": text(sort) })
        };
        let items: Vec<Value> =
            all.iter().map(item).filter(|item| item["index_sk"]["S"].as_str() > Some(&from)).collect();
        let page = &items[..items.len().min(limit)];
        let last = if page.len() < items.len() { page.last().cloned() } else { None };
        (200, last.map_or(json!({ "Items": page }), |last| json!({ "Items": page, "LastEvaluatedKey": last })))
    });
    let runs = stub.ports().await.timers_due(Millis(10_000)).await.expect("answered");
    let order: Vec<String> = runs.iter().map(|run| run.as_str().to_owned()).collect();
    let mut expected: Vec<String> = (0..=50).map(|n| format!("3{n:031}")).collect();
    expected.push(format!("4{:031}", 50));
    expected.extend((51..3000).map(|n| format!("3{n:031}")));
    assert_eq!(order, expected);
    let again = stub.bodies().iter().filter(|body| body.get("ExclusiveStartKey").is_some()).count();
    assert_eq!((again, stub.bodies().len()), (2, 18), "a read has up to 1000");
}

#[tokio::test]
async fn pool_that_was_added_lately_is_not_written_again() {
    let now = Millis::now();
    let pools =
        || (0..3).map(|n| Pool::of(LabelSet::from_comma_separated(&format!("l{n}")).expect("a label"))).collect();
    let writes = |left: std::time::Duration, parts: &'static str| async move {
        let parts = json!({ "N": parts });
        let stub = Stub::new(move |body| {
            let keys = body["RequestItems"][TABLE]["Keys"].as_array().cloned().unwrap_or_default();
            let expiry = json!({ "N": (now + left).secs().to_string() });
            let known = keys.into_iter().map(|mut item| {
                item["expires_on"] = expiry.clone();
                item["parts"] = parts.clone();
                item
            });
            (200, json!({ "Responses": { TABLE: known.collect::<Vec<_>>() } }))
        });
        stub.ports().await.add_pools(pools(), now).await.expect("answered");
        stub.bodies().iter().filter(|body| body.get("UpdateExpression").is_some()).count()
    };
    let kept = limits::POOL_TIME * 3 / 4;
    let second = std::time::Duration::from_secs(1);
    assert_eq!(writes(kept + second, "1").await, 0, "added within a quarter of an hour");
    assert_eq!(writes(kept.saturating_sub(second), "1").await, 3, "added before");
    assert_eq!(writes(limits::POOL_TIME, "0").await, 3, "with fewer parts than there are now");
}
