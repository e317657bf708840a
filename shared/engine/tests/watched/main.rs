//! Tests on a store that counts calls and fails where a test says so: what use cases cost, what they do after lost answers and
//! failed calls, and which messages they send.

#[path = "../common/mod.rs"]
mod common;
mod store;

mod access;
mod batches;
mod claims;
mod conditions;
mod deletions;
mod follows;
mod forges;
mod groups;
mod payloads;
mod promotions;
mod reports;
mod starts;
mod timers;
mod views;
mod workers;

use std::sync::Arc;

use common::{Queues, StoppedClock};
use engine::Engine;
use engine::ids::{JobIndex, JobKey, RunKey};
use engine::job::JobRecord;
use engine::ports::{Consistency, JobStore, RunStore, Stored};
use engine::run::{Control, RunEnd, RunUpdate, WorkflowRecord};
use futures::FutureExt;
use memory::Memory;
use protocol::requests::Claim;
use protocol::wire::Claimed;
use protocol::{Millis, Status, WorkflowId};
use store::Watched;

type World = common::World<Watched>;

const ONE: &str = "jobs: {a: {run: x}}";

fn engine_on(store: Watched) -> (Engine<Watched>, Arc<StoppedClock>) {
    let clock = common::engine().1;
    (Engine::new(store).with_clock(clock.clone()), clock)
}

fn engine() -> (Engine<Watched>, Arc<StoppedClock>) {
    engine_on(Watched::default())
}

async fn started(yaml: &str) -> World {
    let (engine, clock) = engine();
    World::started_on(engine, clock, yaml).await
}

async fn ready(yaml: &str) -> World {
    ready_on(Watched::default(), yaml).await
}

async fn ready_on(store: Watched, yaml: &str) -> World {
    let (engine, clock) = engine_on(store);
    let world = World::started_on(engine, clock, yaml).await;
    world.tell(&world.events()).await;
    world
}

/// The answer of the store in memory, which never waits.
fn at_once<T>(call: impl Future<Output = Stored<T>>) -> T {
    call.now_or_never().expect("memory answers at once").expect("memory answers")
}

fn record_in(memory: &Memory, id: &WorkflowId) -> WorkflowRecord {
    at_once(memory.workflow(id, Consistency::Strong)).expect("it is there")
}

/// Ends and deletes a workflow, whatever its jobs do.
fn delete(memory: &Memory, id: &WorkflowId) {
    let run = record_in(memory, id).run;
    at_once(memory.update_control(&run, RunUpdate::Cancel { at: Millis(1) }));
    at_once(memory.end_workflow(
        id,
        &run,
        RunEnd { status: Status::Cancelled, at: Millis(1), jobs: 1, started_at: None },
    ));
    at_once(memory.update_control(&run, RunUpdate::Finish(engine::run::Progress::default())));
    assert!(at_once(memory.delete_workflow(&record_in(memory, id))));
    assert!(!at_once(memory.delete_some(&run, 1)));
}

impl World {
    fn store(&self) -> &Watched {
        self.engine.ports()
    }

    fn run(&self) -> RunKey {
        record_in(self.store().memory(), &self.id).run
    }

    fn control(&self) -> Control {
        at_once(self.store().memory().control(&self.run(), Consistency::Strong)).expect("it is there")
    }

    fn key(&self, index: JobIndex) -> JobKey {
        JobKey::new(&self.run(), index)
    }

    fn job(&self, index: JobIndex) -> JobRecord {
        at_once(self.store().memory().job(&self.key(index), Consistency::Strong)).expect("it is there")
    }

    fn time(&self) -> Millis {
        self.engine.now()
    }

    /// Delivers all events and batches until there are none.
    async fn settle(&self) {
        self.engine.scheduling().drain().await.expect("the store answers");
    }

    async fn take(&self, worker: &str) -> Claimed {
        self.claim(worker).await.expect("a job is ready")
    }

    async fn complete_with(&self, claimed: &Claimed, outputs: &[(&str, &str)]) {
        let outputs = outputs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.engine.reports().complete(&claimed.lease.lease_id.0, outputs, None).await.expect("accepted");
    }
}

fn claim_of(worker: &str) -> Claim {
    serde_json::from_value(serde_json::json!({ "worker_id": worker })).expect("a claim")
}
