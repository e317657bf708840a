//! An engine in memory whose change feed and queues the test works off itself.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;

use engine::change::ChangeEvent;
use engine::ports::Local as _;
use engine::run::MAX_TIMER_DELAY;
use engine::submit::Submission;
use engine::{Engine, EngineError};
use memory::Memory;
use protocol::requests::{Claim, Fail};
use protocol::wire::{Claimed, Workflow};
use protocol::{LabelSet, Status, WorkerId, WorkflowId};
use workflow::from_yaml;

pub struct World {
    pub engine: Engine<Memory>,
    pub id: WorkflowId,
}

impl World {
    /// A started workflow. Nobody was told of that yet.
    pub async fn started(yaml: &str) -> Self {
        Self::started_on(Engine::new(Memory::new()), yaml).await
    }

    /// A started workflow of this engine. Nobody was told of that yet.
    pub async fn started_on(engine: Engine<Memory>, yaml: &str) -> Self {
        let definition = from_yaml(yaml).unwrap_or_else(|problems| panic!("{problems:#?}\n{yaml}"));
        let submission =
            Submission { definition, default_name: "test".into(), source: yaml.into(), run: true, key: None };
        let id = engine.submit(submission).await.expect("memory answers").workflow;
        Self { engine, id }
    }

    /// What the feed would tell, taken from it.
    pub fn events(&self) -> Vec<ChangeEvent> {
        std::iter::from_fn(|| self.engine.ports().next_notice()).collect()
    }

    pub async fn tell(&self, events: &[ChangeEvent]) {
        for event in events {
            self.engine.on_change(event).await.expect("memory answers");
        }
    }

    /// Does all long work that was asked for.
    pub async fn send_batch(&self) {
        while let Some(batch) = self.engine.ports().next_batch() {
            self.engine.run_batch(batch).await.expect("memory answers");
        }
    }

    /// So much time passes that every timer is due, and what the feed had to tell in it is lost.
    pub async fn lose_and_look(&self) {
        drop(self.events());
        self.engine.ports().advance(MAX_TIMER_DELAY);
        self.engine.run_timers().await.expect("memory answers");
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
        self.engine.claim(claim).await.expect("memory answers")
    }

    pub async fn complete(&self, claimed: &Claimed) -> Result<(), EngineError> {
        let outputs = BTreeMap::from([("by".to_owned(), claimed.job.job_id.to_string())]);
        self.engine.complete(&claimed.lease.lease_id.0, outputs, None).await.map(drop)
    }

    pub async fn fail(&self, claimed: &Claimed, retryable: bool) -> Result<(), EngineError> {
        let said = Fail { error: "it broke".into(), retryable, exit_code: Some(1) };
        self.engine.fail(&claimed.lease.lease_id.0, said).await
    }

    pub async fn now(&self) -> Workflow {
        let mut workflow = self.engine.workflow(&self.id).await.expect("it is there");
        for job in &mut workflow.jobs {
            job.duration_secs = None;
        }
        workflow
    }

    pub async fn status(&self) -> Status {
        self.now().await.status
    }
}
