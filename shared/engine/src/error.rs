//! The errors of the use cases.

use protocol::outputs::OutputError;
use protocol::{
    BadId, BadLabel, JobId, LabelSet, Limit, LinkName, SecretName, Status, TokenName, WorkerId, WorkflowId,
};

use crate::forge::names::CommitId;
use crate::forge::ports::ForgeError;
use crate::ids::RunKey;
use crate::messages::BatchKind;
use crate::ports::StoreError;
use workflow::Problem;

/// The result of a use case.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why a use case refused a request. Nothing was changed, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The workflow doesn't exist.
    #[error("there is no workflow `{0}`")]
    WorkflowNotFound(WorkflowId),
    /// The workflow has no such job.
    #[error("workflow `{workflow}` has no job `{job}`")]
    NoJob {
        /// The workflow.
        workflow: WorkflowId,
        /// The job that was requested.
        job: JobId,
    },
    /// The worker isn't registered.
    #[error("worker `{0}` is not registered; POST /api/workers/register first")]
    NoWorker(WorkerId),
    /// Another token has a worker with this id.
    #[error(
        "worker `{0}` belongs to another token; take another id, or let its token or an admin delete it (DELETE /api/workers/{0})"
    )]
    WorkerTaken(WorkerId),
    /// The lease doesn't hold the attempt.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    /// The credential of a job's checkout can't be had. The job was given back.
    #[error("the credential of its checkout can't be had: {error}")]
    Checkout {
        /// Why.
        error: String,
        /// True if it may be had later.
        transient: bool,
    },
    /// The workflow's status doesn't allow the request.
    #[error("workflow `{workflow}` is {status}; {fix}")]
    InvalidState {
        /// The workflow.
        workflow: WorkflowId,
        /// The current status.
        status: Status,
        /// What the caller must do first.
        fix: &'static str,
    },
    /// The `Idempotency-Key` was used with another body.
    #[error(
        "Idempotency-Key {key:?} was used with another body within 24 hours; use a fresh key for a different submission"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// Two concurrent requests changed the same workflow.
    #[error("workflow `{0}` was changed by another request at the same time; read it and try again")]
    Moved(WorkflowId),
    /// The definition is invalid. Carries all problems.
    #[error("{}", summary(.0))]
    Definition(Vec<Problem>),
    /// The values of inputs are not good. Carries all problems.
    #[error("{}", summary(.0))]
    Inputs(Vec<Problem>),
    /// Inputs can't change here.
    #[error("inputs can't be given here; {0}")]
    InputsFixed(&'static str),
    /// The outputs are too large.
    #[error(transparent)]
    Outputs(#[from] OutputError),
    /// The id is malformed.
    #[error(transparent)]
    Id(#[from] BadId),
    /// A label is malformed.
    #[error(transparent)]
    Labels(#[from] BadLabel),
    /// A number is out of range.
    #[error("{field} is {value}; it must be from {min} to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// The value given.
        value: u64,
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// Too many or too long values.
    #[error("{what} is {value}; {limit}")]
    TooMuch {
        /// The thing that is counted.
        what: String,
        /// The value given.
        value: usize,
        /// The maximum.
        limit: Limit,
    },
    /// The token is missing or invalid. The response doesn't say why.
    #[error("the token isn't good: there is none such, or it was revoked, or it has expired")]
    BadToken,
    /// A token with this name exists.
    #[error("there is a token `{0}` already; revoke it first, or take another name")]
    TokenExists(TokenName),
    /// The token doesn't exist.
    #[error("there is no token `{0}`")]
    NoToken(TokenName),
    /// A token without scopes would allow nothing.
    #[error("a token needs at least one scope: read, submit, work, admin or approve")]
    NoScopes,
    /// The caller's token doesn't allow these labels.
    #[error(
        "the token doesn't allow {} `{}`; it allows {}",
        if .refused.len() == 1 { "label" } else { "labels" },
        .refused,
        if .allowed.is_empty() { "none" } else { .allowed }
    )]
    LabelsNotAllowed {
        /// The labels that were refused.
        refused: LabelSet,
        /// The labels that the token allows.
        allowed: String,
    },
    /// The caller's token doesn't allow these groups. It must allow a group's name as a label.
    #[error(
        "the token doesn't allow the concurrency {} `{}`; it allows the labels {}",
        if .refused.len() == 1 { "group" } else { "groups" },
        .refused,
        if .allowed.is_empty() { "none" } else { .allowed }
    )]
    GroupsNotAllowed {
        /// The groups that were refused.
        refused: LabelSet,
        /// The labels that the token allows.
        allowed: String,
    },
    /// The caller's token doesn't allow this secret.
    #[error("the token doesn't allow secret `{0}`")]
    SecretNotAllowed(SecretName),
    /// A batch task didn't end. What it has done stays done, and the rest is not done.
    #[error(
        "the task {kind:?} of run {run} has not ended after {batches} batches, so it is given up; on AWS `wfg redrive` continues it"
    )]
    EndlessTask {
        /// The batches that the task has run.
        batches: u32,
        /// The operation.
        kind: BatchKind,
        /// The run.
        run: RunKey,
    },
    /// There is no link with this name, or it has no such repository.
    #[error("there is no link `{0}` with this repository; `wfg forge list` shows the links")]
    NoLink(LinkName),
    /// The link of a run that a forge started doesn't allow it again.
    #[error("the link `{link}` doesn't allow this run any more: {reason}; `wfg forge list` shows its rules")]
    LinkRights {
        /// The link.
        link: LinkName,
        /// Why.
        reason: String,
    },
    /// This server can't have links.
    #[error("this server can't follow a forge: {0}")]
    NoForges(&'static str),
    /// The link's file is invalid. Carries all problems.
    #[error("{}", summary(.0))]
    LinkFile(Vec<Problem>),
    /// The pull request has another head than the one that was approved.
    #[error("the pull request is at {head} now; look at that commit, and approve it")]
    HeadMoved {
        /// The head.
        head: CommitId,
    },
    /// The ref or pull request doesn't exist, or is not at this commit.
    #[error("{0}")]
    NotAtForge(String),
    /// Others wrote this record between each read and write of it. Something may have changed. Repeating the request is safe.
    #[error("{0} is changed by others at the same time; try again")]
    Contended(String),
    /// A request to a forge failed.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A store or queue call failed. Something may have changed. Repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a lease was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseLost {
    /// The lease has expired, or another attempt has begun.
    #[error("the lease is not the job's any more: it ended, or the job went on without it")]
    Ended,
    /// The workflow was cancelled.
    #[error("the workflow was cancelled; reports that arrive afterwards do not count")]
    Cancelled,
    /// The attempt was already ended by a different report.
    #[error("this attempt was already reported, with another result; the first report stands")]
    Reported,
    /// The text isn't a lease id.
    #[error("this is not a lease id that this server gave")]
    Unknown,
}

impl EngineError {
    /// Refuses a value above its limit.
    pub(crate) fn over(limit: Limit, what: impl FnOnce() -> String, value: usize) -> Result<()> {
        if value > limit.most { Err(Self::TooMuch { what: what(), value, limit }) } else { Ok(()) }
    }
}

fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => "the definition is not valid".to_owned(),
        [one] => one.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more problems, see details)", first.message, rest.len()),
    }
}
