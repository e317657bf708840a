//! Test support: an engine in memory. The test itself processes the change feed and the queues.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::clock::Clock;
use engine::messages::ChangeEvent;
use engine::ports::{Local, Source};
use engine::run::MAX_TIMER_DELAY;
use engine::submit::Submission;
use engine::{Engine, EngineError};
use memory::Memory;
use protocol::requests::{Claim, Fail};
use protocol::wire::{Claimed, Workflow};
use protocol::{LabelSet, Millis, Status, WorkerId, WorkflowId};
use workflow::from_yaml;

/// A clock that stands still until the test moves it.
pub struct StoppedClock(AtomicU64);

impl StoppedClock {
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("not so long"), Ordering::Relaxed);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::Relaxed))
    }
}

pub struct World<P = Memory> {
    pub engine: Engine<P>,
    pub clock: Arc<StoppedClock>,
    pub id: WorkflowId,
}

/// An engine on an empty store, with a clock that the test controls.
pub fn engine() -> (Engine<Memory>, Arc<StoppedClock>) {
    let clock = Arc::new(StoppedClock(Millis::now().0.into()));
    (Engine::new(Memory::new()).with_clock(clock.clone()), clock)
}

/// A store whose change feed and queues a test empties.
pub trait Queues: Local {
    fn memory(&self) -> &Memory;
}

impl Queues for Memory {
    fn memory(&self) -> &Memory {
        self
    }
}

impl World {
    /// A started workflow. Its change event has not been delivered.
    pub async fn started(yaml: &str) -> Self {
        let (engine, clock) = engine();
        Self::started_on(engine, clock, yaml).await
    }

    /// A started workflow, with the jobs that need no other one ready.
    pub async fn ready(yaml: &str) -> Self {
        let world = Self::started(yaml).await;
        world.tell(&world.events()).await;
        world
    }

    /// A workflow that has not been started.
    pub async fn new_workflow(yaml: &str) -> Self {
        let (engine, clock) = engine();
        Self::submitted(engine, clock, yaml, false).await
    }
}

impl<P: Queues> World<P> {
    /// A started workflow on this engine. Its change event has not been delivered.
    pub async fn started_on(engine: Engine<P>, clock: Arc<StoppedClock>, yaml: &str) -> Self {
        Self::submitted(engine, clock, yaml, true).await
    }

    pub async fn submitted(engine: Engine<P>, clock: Arc<StoppedClock>, yaml: &str, run: bool) -> Self {
        let id = engine.submissions().submit(submission(yaml, run)).await.expect("memory answers").workflow;
        Self { engine, clock, id }
    }

    /// Takes all events from the change feed.
    pub fn events(&self) -> Vec<ChangeEvent> {
        std::iter::from_fn(|| self.engine.ports().memory().next_event()).collect()
    }

    pub async fn tell(&self, events: &[ChangeEvent]) {
        for event in events {
            self.engine.scheduling().on_change(event).await.expect("memory answers");
        }
    }

    /// Runs all queued batch tasks.
    pub async fn send_batch(&self) {
        while let Some(batch) = self.engine.ports().memory().next_batch() {
            self.engine.scheduling().run_batch(batch).await.expect("memory answers");
        }
    }

    /// Drops all change events, advances the clock until every timer is due, and fires the timers.
    pub async fn lose_events_and_fire_timers(&self) {
        drop(self.events());
        self.clock.advance(MAX_TIMER_DELAY);
        self.engine.scheduling().run_timers().await.expect("memory answers");
        self.send_batch().await;
        drop(self.events());
    }

    pub async fn claim(&self, worker: &str) -> Option<Claimed> {
        let claim = Claim {
            worker_id: WorkerId::new(worker).expect("an id"),
            labels: LabelSet::default(),
            lease_ttl_secs: 30,
            wait_secs: 0,
            exclusive: false,
            ticket: None,
        };
        self.engine.claims().claim(claim).await.expect("memory answers")
    }

    pub async fn complete(&self, claimed: &Claimed) -> Result<(), EngineError> {
        let outputs = BTreeMap::from([("by".to_owned(), claimed.job.job_id.to_string())]);
        self.engine.reports().complete(&claimed.lease.lease_id.0, outputs, None).await.map(drop)
    }

    pub async fn fail(&self, claimed: &Claimed, retryable: bool) -> Result<(), EngineError> {
        let report = Fail { error: "it broke".into(), retryable, exit_code: Some(1), cause: None };
        self.engine.reports().fail(&claimed.lease.lease_id.0, report).await
    }

    pub async fn now(&self) -> Workflow {
        let mut workflow = self.engine.queries().workflow(&self.id).await.expect("it is there");
        for job in &mut workflow.jobs {
            job.duration_secs = None;
        }
        workflow
    }

    pub async fn status(&self) -> Status {
        self.now().await.status
    }
}

/// A submission without an idempotency key. If `run` is true, the workflow is started at once.
pub fn submission(yaml: &str, run: bool) -> Submission {
    let definition = from_yaml(yaml).unwrap_or_else(|problems| panic!("{problems:#?}\n{yaml}"));
    Submission {
        definition,
        source: yaml_source(yaml),
        inputs: protocol::requests::GivenInputs::new(),
        run,
        key: None,
        report: None,
        place_at: None,
        started_by: None,
    }
}

/// A definition as a client sends it.
pub fn yaml_source(yaml: &str) -> Source {
    Source { content_type: "application/yaml".into(), text: yaml.into() }
}
