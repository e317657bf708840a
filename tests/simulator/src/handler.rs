//! Handlers: each is a task as a future over the engine, with the ports of one simulated process.

use std::pin::Pin;
use std::time::Duration;

use engine::forge::event::ExternalId;
use engine::forge::ports::{Forge, StateUpdate};
use engine::ids::Ticket;
use engine::messages::{ChangeEvent, Delivered};
use engine::submit::Submission;
use engine::{Engine, Result};
use protocol::requests::{Claim, Fail, FailCause, Next, Only, Register};
use protocol::wire::Claimed;

use crate::bugs::Bug;
use crate::linked::{self, Mark, link_name};
use crate::ports::Process;
use crate::task::{Answer, AttemptResult, HeldLease, Identity, SubmitRequest, Task};

/// The time that the function of the stream has for a batch. A paused handler may exceed it.
const FUNCTION_TIME: Duration = Duration::from_mins(1);

pub(crate) type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Task {
    /// The task as a future that suspends before each call on a port.
    pub(crate) fn begin(&self, engine: &Engine<Process>, bug: Option<Bug>) -> Running {
        let engine = engine.clone();
        match self.clone() {
            Self::Submit(order) => {
                Box::pin(async move { Answer::Submitted(engine.submissions().submit(order.submission()).await) })
            }
            Self::Start { workflow, only_failed } => {
                let only = only_failed.then_some(Only::Failed);
                Box::pin(async move { Answer::Done(engine.runs().start(&workflow, only, None).await) })
            }
            Self::Cancel(workflow) => Box::pin(async move { Answer::Done(engine.runs().cancel(&workflow).await) }),
            Self::Delete(workflow) => Box::pin(async move { Answer::Done(engine.runs().delete(&workflow).await) }),
            Self::Status(workflow) => {
                Box::pin(async move { Answer::Status(engine.queries().workflow(&workflow).await.map(Box::new)) })
            }
            Self::List => Box::pin(async move {
                Answer::Listed(engine.queries().workflows(None, 100, 0, None).await.map(|page| page.workflows))
            }),
            Self::Register(who) => {
                Box::pin(async move { Answer::Done(engine.workers().register(who.registration()).await.map(drop)) })
            }
            Self::Claim { by, ttl_secs, ticket } => {
                Box::pin(
                    async move { Answer::Claimed(engine.claims().claim(by.claim(ttl_secs, ticket.as_ref())).await) },
                )
            }
            Self::Heartbeat(lease) => {
                Box::pin(async move { Answer::Heartbeat(engine.reports().heartbeat(&lease.id).await) })
            }
            Self::Report { lease, result, next } => {
                Box::pin(async move { Answer::Reported(report(&engine, &lease, result, next).await) })
            }
            Self::Batch(records) => Box::pin(async move { batch(&engine, &records).await }),
            Self::QueueMessage { message, again } => {
                Box::pin(async move { Answer::Done(engine.scheduling().on_message(message, again).await) })
            }
            Self::Sweep => Box::pin(async move { Answer::Done(engine.timers().sweep().await.map(drop)) }),
            Self::Receive(incoming) => Box::pin(async move {
                Answer::Received(engine.forges().receive(&link_name(), incoming.as_ref().clone()).await)
            }),
            Self::Handle(key) => Box::pin(async move { Answer::Done(engine.forges().handle(&key).await) }),
            Self::Mark(mark) => Box::pin(async move { Answer::Done(changed(&engine, &mark, bug).await) }),
            Self::Forges => Box::pin(async move { Answer::Done(engine.forges().run_due().await.map(drop)) }),
        }
    }
}

/// A state has changed. The engine notes that; with the bug the state of the change is told at once.
async fn changed(engine: &Engine<Process>, mark: &Mark, bug: Option<Bug>) -> Result<()> {
    if bug != Some(Bug::EventsStateTold) {
        return engine.forges().mark(&mark.report).await;
    }
    let update = StateUpdate {
        commit: mark.report.commit.clone(),
        name: mark.name.clone(),
        state: mark.state,
        description: String::new(),
        summary: String::new(),
        annotations: Vec::new(),
        url: None,
        external_id: ExternalId::of(&mark.report),
        name_of_ref: None,
        id: None,
        started_at: None,
        ended_at: None,
    };
    let link = linked::link(engine.now());
    engine.ports().send_state(&link, &update).await.map(drop).map_err(engine::EngineError::Forge)
}

async fn report(
    engine: &Engine<Process>,
    lease: &HeldLease,
    result: AttemptResult,
    next: Option<(Identity, u32)>,
) -> Result<Option<Claimed>> {
    match result {
        AttemptResult::Success(outputs) => {
            engine.reports().complete(&lease.id, outputs, next.map(|(by, ttl)| by.next(ttl))).await
        }
        AttemptResult::Failure { error, retryable, exit_code } => {
            let fail = Fail { error, retryable, exit_code: Some(exit_code), cause: None };
            engine.reports().fail(&lease.id, fail).await.map(|()| None)
        }
        AttemptResult::Return { error } => {
            let fail = Fail { error, retryable: true, exit_code: None, cause: Some(FailCause::Worker) };
            engine.reports().fail(&lease.id, fail).await.map(|()| None)
        }
    }
}

/// Handles the records as the function of the stream does. The first that fails and those behind it are delivered again.
async fn batch(engine: &Engine<Process>, records: &[ChangeEvent]) -> Answer {
    let changes: Vec<Delivered> = records.iter().cloned().map(Delivered::Event).collect();
    let deadline = engine.now() + FUNCTION_TIME;
    match engine.scheduling().on_changes(&changes, deadline).await.into_iter().next() {
        Some((first, error)) => Answer::Batch(first, Err(error)),
        None => Answer::Batch(records.len(), Ok(())),
    }
}

impl SubmitRequest {
    fn submission(&self) -> Submission {
        let body = engine::ids::ReportHash::of([self.graph.yaml.as_str(), if self.run { "run" } else { "" }]);
        Submission {
            definition: self.graph.definition.clone(),
            source: engine::ports::Source {
                content_type: "application/yaml".to_owned(),
                text: self.graph.yaml.clone(),
            },
            inputs: protocol::requests::GivenInputs::new(),
            run: self.run,
            key: Some((self.key.clone(), body)),
            report: None,
            place_at: None,
            started_by: None,
        }
    }
}

impl Identity {
    fn registration(&self) -> Register {
        Register {
            worker_id: self.id.clone(),
            labels: self.labels.clone(),
            transport: self.transport,
            exclusive: self.exclusive,
            features: Vec::new(),
            paused: None,
        }
    }

    fn next(&self, ttl_secs: u32) -> Next {
        Next {
            worker_id: self.id.clone(),
            labels: self.labels.clone(),
            lease_ttl_secs: ttl_secs,
            exclusive: self.exclusive,
        }
    }

    fn claim(&self, ttl_secs: u32, ticket: Option<&Ticket>) -> Claim {
        Claim {
            worker_id: self.id.clone(),
            labels: self.labels.clone(),
            lease_ttl_secs: ttl_secs,
            wait_secs: 0,
            exclusive: self.exclusive,
            ticket: ticket.map(Ticket::text),
        }
    }
}
