//! What runs: requests, and what the change feed, the queues and the clock bring.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::ids::{JobKey, LeaseToken, Principal, Ticket};
use engine::messages::ChangeEvent;
use engine::messages::QueueMessage;
use engine::submit::{Submission, Submitted};
use engine::{Engine, EngineError, Result};
use protocol::requests::{Claim, Fail, Next, Only, Register, Transport};
use protocol::wire::{Claimed, Heartbeat, Workflow};
use protocol::{LabelSet, Millis, WorkerId, WorkflowId};

use crate::graph::Graph;
use crate::ports::Process;

/// A worker, as it presents itself.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: WorkerId,
    pub(crate) labels: LabelSet,
    pub(crate) exclusive: bool,
    pub(crate) transport: Transport,
}

/// A lease in a worker's hands.
#[derive(Clone)]
pub(crate) struct Held {
    /// As given.
    pub(crate) id: String,
    pub(crate) job: JobKey,
    /// As the store keeps it: what a lease is known by here.
    pub(crate) fence: String,
    pub(crate) until: Millis,
}

impl Held {
    pub(crate) fn new(claimed: &Claimed) -> Self {
        let lease = &claimed.lease;
        let token =
            LeaseToken::parse(&lease.lease_id.0, &Principal::default()).expect("a lease id that was given reads back");
        Self {
            id: lease.lease_id.0.clone(),
            job: token.job.clone(),
            fence: token.fence().as_str().to_owned(),
            until: lease.granted_at_ms + Duration::from_secs(lease.ttl_secs.into()),
        }
    }
}

/// What a worker says of an attempt.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Success(BTreeMap<String, String>),
    Failure { error: String, retryable: bool },
}

/// A submission, which a client may send many times.
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) graph: Arc<Graph>,
    pub(crate) run: bool,
}

/// A piece of work for the engine.
#[derive(Clone)]
pub(crate) enum Task {
    Submit(Arc<Order>),
    Start {
        workflow: WorkflowId,
        only_failed: bool,
    },
    Cancel(WorkflowId),
    Delete(WorkflowId),
    Status(WorkflowId),
    List,
    Register(Identity),
    Claim {
        by: Identity,
        ttl_secs: u32,
        ticket: Option<Ticket>,
    },
    Heartbeat(Held),
    Report {
        lease: Held,
        said: Said,
        /// Who asks for the next job, and for how long.
        next: Option<(Identity, u32)>,
    },
    /// Records of one partition of the change feed.
    Batch(Arc<Vec<ChangeEvent>>),
    QueueMessage {
        message: QueueMessage,
        again: bool,
    },
    Sweep,
}

/// What came of it.
pub(crate) enum Answer {
    Submitted(Result<Submitted>),
    Claimed(Result<Option<Claimed>>),
    Heartbeat(Result<Heartbeat>),
    Reported(Result<Option<Claimed>>),
    Status(Result<Box<Workflow>>),
    Listed(Result<Vec<Workflow>>),
    /// So many records were handled, then one wasn't.
    Batch(usize, Result<()>),
    Done(Result<()>),
}

pub(crate) type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Task {
    /// The task as a future that goes on from call to call on the ports.
    pub(crate) fn begin(&self, engine: &Engine<Process>) -> Running {
        let engine = engine.clone();
        match self.clone() {
            Self::Submit(order) => {
                Box::pin(async move { Answer::Submitted(engine.submissions().submit(order.submission()).await) })
            }
            Self::Start { workflow, only_failed } => {
                let only = only_failed.then_some(Only::Failed);
                Box::pin(async move { Answer::Done(engine.runs().start(&workflow, only).await) })
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
            Self::Report { lease, said, next } => {
                Box::pin(async move { Answer::Reported(report(&engine, &lease, said, next).await) })
            }
            Self::Batch(records) => Box::pin(async move { batch(&engine, &records).await }),
            Self::QueueMessage { message, again } => {
                Box::pin(async move { Answer::Done(engine.scheduling().on_message(message, again).await) })
            }
            Self::Sweep => Box::pin(async move { Answer::Done(engine.timers().sweep().await.map(drop)) }),
        }
    }
}

async fn report(
    engine: &Engine<Process>,
    lease: &Held,
    said: Said,
    next: Option<(Identity, u32)>,
) -> Result<Option<Claimed>> {
    match said {
        Said::Success(outputs) => {
            engine.reports().complete(&lease.id, outputs, next.map(|(by, ttl)| by.next(ttl))).await
        }
        Said::Failure { error, retryable } => engine
            .reports()
            .fail(&lease.id, Fail { error, retryable, exit_code: Some(1), cause: None })
            .await
            .map(|()| None),
    }
}

/// In order, up to the first that fails, as the function behind the stream does it.
async fn batch(engine: &Engine<Process>, records: &[ChangeEvent]) -> Answer {
    for (handled, record) in records.iter().enumerate() {
        if let Err(error) = engine.scheduling().on_change_or_reconcile(record).await {
            return Answer::Batch(handled, Err(error));
        }
    }
    Answer::Batch(records.len(), Ok(()))
}

impl Task {
    /// The worker who asks for a job.
    pub(crate) fn worker(&self) -> Option<&Identity> {
        match self {
            Self::Claim { by, .. } => Some(by),
            Self::Report { next, .. } => next.as_ref().map(|(by, _)| by),
            _ => None,
        }
    }

    /// The lease that it speaks of.
    pub(crate) fn lease(&self) -> Option<&Held> {
        match self {
            Self::Heartbeat(lease) | Self::Report { lease, .. } => Some(lease),
            _ => None,
        }
    }
}

impl Answer {
    /// Why it is no answer, if it is none.
    pub(crate) fn error(&self) -> Option<&EngineError> {
        match self {
            Self::Submitted(answer) => answer.as_ref().err(),
            Self::Heartbeat(answer) => answer.as_ref().err(),
            Self::Claimed(answer) | Self::Reported(answer) => answer.as_ref().err(),
            Self::Status(answer) => answer.as_ref().err(),
            Self::Listed(answer) => answer.as_ref().err(),
            Self::Done(answer) | Self::Batch(_, answer) => answer.as_ref().err(),
        }
    }
}

impl Order {
    fn submission(&self) -> Submission {
        let body = engine::ids::ReportHash::of([self.graph.yaml.as_str(), if self.run { "run" } else { "" }]);
        Submission {
            definition: self.graph.definition.clone(),
            source: engine::ports::Source {
                content_type: "application/yaml".to_owned(),
                text: self.graph.yaml.clone(),
            },
            run: self.run,
            key: Some((self.key.clone(), body)),
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

impl Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(order) => write!(f, "submit {}", order.key),
            Self::Start { only_failed: true, .. } => f.write_str("run what failed"),
            Self::Start { .. } => f.write_str("run"),
            Self::Cancel(_) => f.write_str("cancel"),
            Self::Delete(_) => f.write_str("delete"),
            Self::Status(_) => f.write_str("status"),
            Self::List => f.write_str("list"),
            Self::Register(who) => write!(f, "register {}", who.id),
            Self::Claim { by, ticket: None, .. } => write!(f, "claim by {}", by.id),
            Self::Claim { by, .. } => write!(f, "claim by {} with a ticket", by.id),
            Self::Heartbeat(_) => f.write_str("heartbeat"),
            Self::Report { said: Said::Success(_), next: Some((by, _)), .. } => {
                write!(f, "complete, next for {}", by.id)
            }
            Self::Report { said: Said::Success(_), .. } => f.write_str("complete"),
            Self::Report { said: Said::Failure { .. }, .. } => f.write_str("fail"),
            Self::Batch(_) => f.write_str("stream"),
            Self::QueueMessage { message: QueueMessage::BatchTask(_), .. } => f.write_str("batch"),
            Self::QueueMessage { message: QueueMessage::Timer(_), .. } => f.write_str("timer"),
            Self::QueueMessage { message: QueueMessage::Reconcile(_), .. } => f.write_str("reconcile"),
            Self::Sweep => f.write_str("sweep"),
        }
    }
}

impl Answer {
    /// For the story.
    pub(crate) fn words(&self) -> String {
        if let Some(error) = self.error() {
            return error.to_string();
        }
        match self {
            Self::Submitted(Ok(submitted)) if submitted.created.is_none() => "submitted before".to_owned(),
            Self::Submitted(_) => "submitted".to_owned(),
            Self::Claimed(Ok(Some(claimed))) | Self::Reported(Ok(Some(claimed))) => {
                let upstream: Vec<String> = claimed.job.upstream_outputs.keys().map(ToString::to_string).collect();
                format!("given {}, with outputs of [{}]", claimed.job.job_id, upstream.join(" "))
            }
            Self::Claimed(_) => "nothing to do".to_owned(),
            Self::Heartbeat(Ok(beat)) if beat.cancelled => "stop, it was cancelled".to_owned(),
            Self::Status(Ok(workflow)) => workflow.status.to_string(),
            Self::Listed(Ok(workflows)) => format!("{} workflows", workflows.len()),
            Self::Batch(handled, _) => format!("{handled} records handled"),
            Self::Heartbeat(_) | Self::Reported(_) | Self::Status(_) | Self::Listed(_) | Self::Done(_) => {
                "done".to_owned()
            }
        }
    }
}
