//! What a use case refuses, and why.

use protocol::outputs::OutputError;
use protocol::{BadId, BadLabel, JobId, LabelSet, SecretName, Status, TokenName, WorkerId, WorkflowId};

use crate::ports::StoreError;
use workflow::Problem;

/// A use case's answer.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What a use case refuses. Nothing was changed, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No such workflow.
    #[error("there is no workflow `{0}`")]
    WorkflowNotFound(WorkflowId),
    /// No such job in the workflow.
    #[error("workflow `{workflow}` has no job `{job}`")]
    NoJob {
        /// The workflow.
        workflow: WorkflowId,
        /// What was asked for.
        job: JobId,
    },
    /// No such worker.
    #[error("worker `{0}` is not registered; POST /api/workers/register first")]
    NoWorker(WorkerId),
    /// The attempt isn't the lease principal's any more, or never was.
    #[error("{0}")]
    LeaseLost(LeaseLost),
    /// The workflow runs.
    #[error("workflow `{workflow}` is {status}; {fix}")]
    InvalidState {
        /// The workflow.
        workflow: WorkflowId,
        /// What it is.
        status: Status,
        /// What to do first.
        fix: &'static str,
    },
    /// An `Idempotency-Key` with another body.
    #[error(
        "Idempotency-Key {key:?} was used with another body within 24 hours; use a fresh key for a different submission"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// Two requests changed the same workflow at once.
    #[error("workflow `{0}` was changed by another request at the same time; read it and try again")]
    Moved(WorkflowId),
    /// A definition with problems; all of them.
    #[error("{}", summary(.0))]
    Definition(Vec<Problem>),
    /// Outputs that are too large.
    #[error(transparent)]
    Outputs(#[from] OutputError),
    /// An id that isn't one.
    #[error(transparent)]
    Id(#[from] BadId),
    /// Labels that aren't.
    #[error(transparent)]
    Labels(#[from] BadLabel),
    /// A number out of its range.
    #[error("{field} is {value}; it must be from {min} to {max}")]
    Range {
        /// Which.
        field: &'static str,
        /// What was given.
        value: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// More than there may be of something.
    #[error("{what} is {value}; at most {limit} is allowed")]
    TooMuch {
        /// Of what, and where.
        what: String,
        /// What was given.
        value: usize,
        /// The most.
        limit: usize,
    },
    /// No token, or none that is good. It isn't said which of the reasons holds.
    #[error("the token isn't good: there is none such, or it was revoked, or it has expired")]
    BadToken,
    /// A token's name is taken.
    #[error("there is a token `{0}` already; revoke it first, or take another name")]
    TokenExists(TokenName),
    /// No such token.
    #[error("there is no token `{0}`")]
    NoToken(TokenName),
    /// A token that would allow nothing.
    #[error("a token needs at least one scope: read, submit, work or admin")]
    NoScopes,
    /// Labels that the caller's token doesn't name.
    #[error(
        "the token doesn't allow {} `{}`; it allows {}",
        if .refused.len() == 1 { "label" } else { "labels" },
        .refused,
        if .allowed.is_empty() { "none" } else { .allowed }
    )]
    LabelsNotAllowed {
        /// Those.
        refused: LabelSet,
        /// What it names.
        allowed: String,
    },
    /// A secret that the caller's token doesn't name.
    #[error("the token doesn't allow secret `{0}`")]
    SecretNotAllowed(SecretName),
    /// A store or queue didn't answer. Something may have changed; repeating the request is safe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a report is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseLost {
    /// Past its end, or another attempt has begun.
    #[error("the lease is not the job's any more: it ended, or the job went on without it")]
    Ended,
    /// The workflow was cancelled.
    #[error("the workflow was cancelled; reports that arrive afterwards do not count")]
    Cancelled,
    /// The attempt's end was reported before, differently.
    #[error("this attempt was already reported, with another result; the first report stands")]
    Reported,
    /// Not a lease id.
    #[error("this is not a lease id that this server gave")]
    Unknown,
}

impl EngineError {
    /// Refuses a value over its limit.
    pub(crate) fn over(what: impl FnOnce() -> String, value: usize, limit: usize) -> Result<()> {
        if value > limit { Err(Self::TooMuch { what: what(), value, limit }) } else { Ok(()) }
    }
}

fn summary(problems: &[Problem]) -> String {
    match problems {
        [] => "the definition is not valid".to_owned(),
        [one] => one.message.clone(),
        [first, rest @ ..] => format!("{} (and {} more problems, see details)", first.message, rest.len()),
    }
}
