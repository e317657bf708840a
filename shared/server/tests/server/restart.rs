//! A new server finishes the work that a stopped one left undone.

use std::time::Duration;

use crate::common::{PATIENCE, claim};
use client::Client;
use engine::Engine;
use engine::ids::{LeaseToken, Principal};
use engine::job::{Change, JobUpdate, LeaseRecord, Precondition};
use engine::ports::{Consistency, JobStore, RunStore, Updated};
use memory::Memory;
use server::Server;
use tokio::time::timeout;
use worker::protocol::WorkerId;

const LEASE: Duration = Duration::from_secs(1);

async fn serve(engine: &Engine<Memory>) -> (Server<Memory>, Client) {
    let server = Server::start(([127, 0, 0, 1], 0).into(), engine.clone()).await.expect("a free port");
    let client = Client::new(&server.url(), None).expect("its address");
    (server, client)
}

#[tokio::test]
async fn lease_without_a_timer_expires_on_time() {
    let engine = Engine::new(Memory::new());
    let ports = engine.ports();
    let (first, client) = serve(&engine).await;
    let yaml = "jobs: {build: {run: x, retry: {lost: 1}}}";
    let id = client.submit_yaml(yaml, true, None).await.expect("a good definition").id;
    let run = ports.workflow(&id, Consistency::Strong).await.expect("memory answers").expect("it is there").run;
    let pool = ports.jobs_from(&run, 0, 1000, Consistency::Strong).await.expect("memory answers")[0].pool.clone();
    let key = loop {
        if let Some(head) = ports.ready_heads(&pool, engine.now()).await.expect("memory answers").pop() {
            break head.job;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    drop(first);
    let now = engine.now();
    let lease = LeaseRecord {
        fence: LeaseToken::new(key.clone(), 0, engine::ids::random(), Principal::default()).fence(),
        worker: WorkerId::new("unlucky").expect("an id"),
        ttl_secs: 1,
        started_at: now,
        until: now + LEASE,
    };
    let update = JobUpdate {
        expect: Precondition::Ready { pool, by: now, worker: lease.worker.clone() },
        change: Change::Start(lease),
    };
    assert!(matches!(ports.update(&key, update).await, Ok(Updated::Done(_))), "it was ready");

    let (_second, client) = serve(&engine).await;
    let asked = claim("lucky", "", 20);
    let again = timeout(PATIENCE, client.claim(&asked)).await.expect("in time").expect("answered").expect("the job");
    assert_eq!(again.job.attempt, 1);
}
