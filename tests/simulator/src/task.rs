//! Tasks of the engine: requests, change events, messages and the sweep; and their answers.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use engine::forge::event::Incoming;
use engine::forge::records::DeliveryKey;
use engine::forges::Received;
use engine::ids::{JobKey, LeaseToken, Principal, RunKey, Ticket};
use engine::messages::{ChangeEvent, QueueMessage};
use engine::submit::Submitted;
use engine::{EngineError, Result};
use protocol::requests::Transport;
use protocol::wire::{Claimed, Heartbeat, Workflow};
use protocol::{LabelSet, Millis, WorkerId, WorkflowId};

use crate::graph::Graph;
use crate::linked::Mark;

/// A worker's identity in its requests.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: WorkerId,
    pub(crate) labels: LabelSet,
    pub(crate) exclusive: bool,
    pub(crate) transport: Transport,
}

/// A lease that a worker received.
#[derive(Clone)]
pub(crate) struct HeldLease {
    /// The lease id of the answer.
    pub(crate) id: String,
    pub(crate) job: JobKey,
    /// The fence in the store. It identifies the lease in the checks.
    pub(crate) fence: String,
    pub(crate) until: Millis,
}

impl HeldLease {
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

/// A worker's report about an attempt.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AttemptResult {
    Success(BTreeMap<String, String>),
    Failure {
        error: String,
        retryable: bool,
        exit_code: i32,
    },
    /// The worker could not run the job.
    Return {
        error: String,
    },
}

/// A submission. A client may send it many times.
pub(crate) struct SubmitRequest {
    pub(crate) key: String,
    pub(crate) graph: Arc<Graph>,
    pub(crate) run: bool,
}

/// A call of a use case.
#[derive(Clone)]
pub(crate) enum Task {
    Submit(Arc<SubmitRequest>),
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
    Heartbeat(HeldLease),
    Report {
        lease: HeldLease,
        result: AttemptResult,
        /// The worker that asks for a next job, and its lease time in seconds.
        next: Option<(Identity, u32)>,
    },
    /// Records of one partition of the change feed.
    Batch(Arc<Vec<ChangeEvent>>),
    QueueMessage {
        message: QueueMessage,
        again: bool,
    },
    Sweep,
    /// A delivery of the forge comes in.
    Receive(Arc<Incoming>),
    /// A delivery that came in is handled.
    Handle(DeliveryKey),
    /// A state has changed that the forge is told.
    Mark(Arc<Mark>),
    /// Everything about forges that is due.
    Forges,
}

/// The answer to a task.
pub(crate) enum Answer {
    Submitted(Result<Submitted>),
    Claimed(Result<Option<Claimed>>),
    Heartbeat(Result<Heartbeat>),
    Reported(Result<Option<Claimed>>),
    Status(Result<Box<Workflow>>),
    Listed(Result<Vec<Workflow>>),
    /// The number of handled records before the first that failed.
    Batch(usize, Result<()>),
    Done(Result<()>),
    Received(Result<Received>),
}

impl Task {
    /// The worker that asks for a job.
    pub(crate) fn worker(&self) -> Option<&Identity> {
        match self {
            Self::Claim { by, .. } => Some(by),
            Self::Report { next, .. } => next.as_ref().map(|(by, _)| by),
            _ => None,
        }
    }

    /// The lease of the request.
    pub(crate) fn lease(&self) -> Option<&HeldLease> {
        match self {
            Self::Heartbeat(lease) | Self::Report { lease, .. } => Some(lease),
            _ => None,
        }
    }
}

impl Answer {
    /// The error, if it is one.
    pub(crate) fn error(&self) -> Option<&EngineError> {
        match self {
            Self::Submitted(answer) => answer.as_ref().err(),
            Self::Heartbeat(answer) => answer.as_ref().err(),
            Self::Claimed(answer) | Self::Reported(answer) => answer.as_ref().err(),
            Self::Status(answer) => answer.as_ref().err(),
            Self::Listed(answer) => answer.as_ref().err(),
            Self::Done(answer) | Self::Batch(_, answer) => answer.as_ref().err(),
            Self::Received(answer) => answer.as_ref().err(),
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
            Self::Report { result: AttemptResult::Success(_), next: Some((by, _)), .. } => {
                write!(f, "complete, next for {}", by.id)
            }
            Self::Report { result: AttemptResult::Success(_), .. } => f.write_str("complete"),
            Self::Report { result: AttemptResult::Failure { .. }, .. } => f.write_str("fail"),
            Self::Report { result: AttemptResult::Return { .. }, .. } => f.write_str("give back"),
            Self::Batch(_) => f.write_str("stream"),
            Self::QueueMessage { message: QueueMessage::BatchTask(_), .. } => f.write_str("batch"),
            Self::QueueMessage { message: QueueMessage::Timer(_), .. } => f.write_str("timer"),
            Self::QueueMessage { message: QueueMessage::Reconcile(_), .. } => f.write_str("reconcile"),
            Self::Sweep => f.write_str("sweep"),
            Self::Receive(incoming) => write!(f, "receive {}", incoming.id),
            Self::Handle(_) => f.write_str("handle a delivery"),
            Self::Mark(mark) => write!(f, "mark {}", mark.name),
            Self::QueueMessage { message: QueueMessage::ForgesDue, .. } | Self::Forges => f.write_str("forges"),
        }
    }
}

impl Answer {
    /// The text in the trace.
    pub(crate) fn words(&self) -> String {
        if let Some(error) = self.error() {
            return error.to_string();
        }
        match self {
            Self::Submitted(Ok(submitted)) if submitted.created.is_none() => "submitted before".to_owned(),
            Self::Submitted(_) => "submitted".to_owned(),
            Self::Claimed(Ok(Some(claimed))) | Self::Reported(Ok(Some(claimed))) => {
                let upstream: Vec<String> = claimed.job.upstream_outputs.keys().map(ToString::to_string).collect();
                format!("leased {}, with outputs of [{}]", claimed.job.job_id, upstream.join(" "))
            }
            Self::Claimed(_) => "nothing to do".to_owned(),
            Self::Heartbeat(Ok(beat)) if beat.cancelled => "stop, it was cancelled".to_owned(),
            Self::Status(Ok(workflow)) => workflow.status.to_string(),
            Self::Listed(Ok(workflows)) => format!("{} workflows", workflows.len()),
            Self::Batch(handled, _) => format!("{handled} records handled"),
            Self::Heartbeat(_)
            | Self::Reported(_)
            | Self::Status(_)
            | Self::Listed(_)
            | Self::Done(_)
            | Self::Received(_) => "done".to_owned(),
        }
    }
}

/// A partition of the change feed. Its records stay in order.
pub(crate) type Partition = (RunKey, u32);

/// The source of a task. It receives the answer, or sends the task again.
#[derive(Clone)]
pub(crate) enum Origin {
    /// A request of an actor, by number.
    Request(usize),
    /// The change feed. It delivers records that weren't handled again.
    Feed(Partition, usize),
    /// A queue. It delivers the message again.
    Queue(QueueMessage),
    /// The forge. It doesn't send a delivery again by itself.
    Delivery,
    /// A change of a state. It is delivered again.
    State(Arc<Mark>),
    Nobody,
}
