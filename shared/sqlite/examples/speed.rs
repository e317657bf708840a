//! How many writes a second, alone and together. Prints figures; nothing depends on them.
//!
//! `cargo run --release -p workflow-graph-sqlite --example speed`, with `WFG_TEST_DISK` the folder for the files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::ids::{Fence, JobKey, RunKey, random};
use engine::job::{Change, End, JobOutcome, JobRecord, JobUpdate, LeaseRecord, OutputsRef, Phase, Precondition};
use engine::ports::{JobStore, LocalWork, NewItem, RunStore, Updated};
use protocol::{JobId, Millis, Outputs, WorkerId};
use sqlite::Sqlite;

const FOR: Duration = Duration::from_secs(2);

fn job(key: JobKey) -> JobRecord {
    let spec = r#"{"settings":{"name":"job","script":"cargo build --release\necho \"::set-output version=1.2.3\""},"position":0}"#;
    let id = JobId::new(format!("job-{}", key.index)).expect("an id");
    let spec = Some(serde_json::from_str(spec).expect("a spec"));
    JobRecord { spec, ..JobRecord::first(key, id, Phase::Waiting { on: [].into() }) }
}

/// A job's life: four writes and a read of its pool's ready list.
async fn live(store: &Sqlite, job: &JobRecord) {
    store.put_new(vec![NewItem::Job(Box::new(job.clone()))]).await.expect("written");
    let fence = Fence::from_stored(hex(random()));
    let now = Millis::now();
    let hold = LeaseRecord {
        fence: fence.clone(),
        worker: WorkerId::new("worker").expect("an id"),
        ttl_secs: 30,
        started_at: now,
        until: now + Duration::from_secs(30),
    };
    let outputs = OutputsRef::Inline(Outputs::new());
    let end = Change::End(End::unreported(JobOutcome::Success(outputs), now));
    for (expect, change) in [
        (Precondition::WaitingOnNothing, Change::BecomeReady { pool: job.pool.clone(), at: now, until: None }),
        (Precondition::Ready { pool: job.pool.clone(), by: now, worker: hold.worker.clone() }, Change::Start(hold)),
        (Precondition::HeldLive { fence, now }, end),
    ] {
        if matches!(change, Change::Start(_)) {
            store.ready_heads(&job.pool, now).await.expect("read");
        }
        let answer = store.update(&job.key, JobUpdate { expect, change }).await.expect("written");
        assert!(matches!(answer, Updated::Done(_)));
    }
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

async fn measure(store: Sqlite, at_once: u32) {
    let store = Arc::new(store);
    let began = Instant::now();
    let lives = (0..at_once).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let run = RunKey::new(random());
            let mut index = 0;
            while began.elapsed() < FOR {
                live(&store, &job(JobKey::new(&run, index))).await;
                index += 1;
            }
            index
        })
    });
    let mut all = 0;
    for life in lives.collect::<Vec<_>>() {
        all += life.await.expect("it lived");
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{at_once:4} at once: {:7.0} jobs a second, {:7.0} writes a second, {:6.2} ms a write",
        f64::from(all) / took,
        f64::from(all) * 4.0 / took,
        took * 1000.0 * f64::from(at_once) / (f64::from(all) * 4.0),
    );
    let began = Instant::now();
    let mut done = 0;
    while let Some((number, _)) = store.next_work().await.expect("read") {
        store.work_done(number).await.expect("noted");
        done += 1;
        if began.elapsed() > FOR {
            break;
        }
    }
    println!("{:19} {:7.0} change events a second", "", f64::from(done) / began.elapsed().as_secs_f64());
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    for at_once in [1, 20, 200] {
        let folder = tempfile::tempdir_in(std::env::var_os("WFG_TEST_DISK").unwrap_or(".".into())).expect("a folder");
        measure(Sqlite::open(folder.path().join("wfg.db")).expect("a fresh file"), at_once).await;
    }
}
