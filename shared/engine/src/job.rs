//! A job's record, and below it every change it may go through.
//!
//! A change is a value: what must hold, and what then becomes. [`JobUpdate::apply`] says what that means; a store that
//! holds records as they are calls it, one with an update language of its own translates it. Either way the rule is
//! written here, once.

mod retry;
mod update;

use std::ops::Deref;

use protocol::wire::Attempt;
use protocol::{JobId, LabelSet, Millis, Outputs, Status, WorkerId};
use serde::{Deserialize, Serialize};

pub(crate) use self::retry::cut;
pub use self::retry::{Failure, after_failure};
pub use self::update::{Change, End, JobUpdate, Precondition};

use crate::ids::{Fence, JobIndex, JobKey, PoolId, ReportHash, Waits};
pub use workflow::{Budgets, JobSettings, Passthrough, Retry, TimeLimits};

/// A job of a run: its settings and its edges in the graph. It never changes within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// As the definition says.
    pub settings: JobSettings,
    /// The jobs it directly needs, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<JobIndex>,
    /// The jobs that directly need it, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<JobIndex>,
    /// Its position in the definition, for display.
    pub position: u32,
}

/// A setting of the job reads as a field of its spec.
impl Deref for JobSpec {
    type Target = JobSettings;

    fn deref(&self) -> &JobSettings {
        &self.settings
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Tries that are used, by the budget they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Of `retry.max`.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u32,
    /// Of `retry.budgets.lost`.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// Of `retry.budgets.timeout`.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u32,
}

/// What changes of a job, and its spec while both together are small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Where it is.
    pub key: JobKey,
    /// Chosen by the author.
    pub id: JobId,
    /// Of its labels and secrets.
    pub pool: PoolId,
    /// `None`: stored apart, see `JobStore::specs`.
    pub spec: Option<Box<JobSpec>>,
    /// Whether a waiting job's set holds numbers of shards of its needs instead of jobs.
    pub sharded: bool,
    /// Whether its spec names secrets: its log is to be masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
    /// From 0.
    pub attempt: u32,
    /// A copy of its spec's limits: the claim of a job must know them without reading a spec that is stored elsewhere.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: TimeLimits,
    /// Tries used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub used: Used,
    /// The attempts that failed, the latest last: up to [`ATTEMPTS_KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Attempt>,
    /// The report that ended the latest ended attempt, to recognise its repeat.
    pub last_report: Option<LastReport>,
    /// Why the latest ended attempt failed.
    pub error: Option<String>,
    /// When it last became ready.
    pub ready_at: Option<Millis>,
    /// The job that was given with the answer to its completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextLease>,
    /// Where it stands.
    pub phase: Phase,
}

/// A record keeps so many failed attempts, so that it stays small however often it is tried.
pub const ATTEMPTS_KEPT: usize = 16;

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// For needs. Empty is possible for a moment: the last one was removed, and the next write makes it ready.
    Waiting {
        /// Those not known to have succeeded.
        on: Waits,
    },
    /// In its pool's ready list.
    Ready {
        /// Since when; not before this.
        at: Millis,
        /// It fails if nobody took it by then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Millis>,
    },
    /// A worker holds it.
    Running(LeaseRecord),
    /// For good.
    Ended(Completion),
}

/// A worker's hold on an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Every word about the attempt must carry this.
    pub fence: Fence,
    /// Who.
    pub worker: WorkerId,
    /// What a heartbeat renews by.
    pub ttl_secs: u32,
    /// When the attempt began.
    pub started_at: Millis,
    /// Past this the hold is over, whether or not anything has swept it yet.
    pub until: Millis,
}

/// A dependent that a completion takes for the worker that completes, named in the same write, so that a repeat finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextLease {
    /// Which.
    pub index: JobIndex,
    /// The random part of its lease, as only the principal of the completed one can read it.
    pub masked: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Well or not.
    pub outcome: JobOutcome,
    /// When.
    pub at: Millis,
    /// The last hold on it, if it was ever held.
    pub hold: Option<LeaseRecord>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// With outputs.
    Success(OutputsRef),
    /// With no tries left; the record's `error` says why.
    Failure {
        /// Of the command, if the worker told.
        exit_code: Option<i32>,
    },
    /// Something it needs failed or was skipped.
    Skipped,
    /// By a cancel.
    Cancelled,
}

/// Where a job's outputs are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputsRef {
    /// In its record.
    Inline(Outputs),
    /// External, under a random id that only this record knows.
    External {
        /// The id.
        id: String,
        /// Names and values together, written as JSON.
        size: usize,
    },
}

impl OutputsRef {
    /// Names and values together, written as JSON: what they take in an answer.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Inline(outputs) => json_size(outputs),
            Self::External { size, .. } => *size,
        }
    }
}

/// The size of outputs written as JSON.
#[must_use]
pub fn json_size(outputs: &Outputs) -> usize {
    serde_json::to_string(outputs).map_or(0, |text| text.len())
}

/// The report that ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReport {
    /// The attempt's.
    pub fence: Fence,
    /// What was said.
    pub report: ReportHash,
}

/// What a record keeps in place of a report when the end of the lease ended the attempt.
pub(crate) fn lost_report() -> ReportHash {
    ReportHash::of(["lost"])
}

impl JobRecord {
    /// A job as a run begins with it: without labels, secrets, limits or spec, unless they are set.
    #[must_use]
    pub fn first(key: JobKey, id: JobId, phase: Phase) -> Self {
        Self {
            key,
            id,
            pool: PoolId::of(&LabelSet::default()),
            spec: None,
            sharded: false,
            has_secrets: false,
            attempt: 0,
            limits: TimeLimits::default(),
            used: Used::default(),
            failed: Vec::new(),
            last_report: None,
            error: None,
            ready_at: None,
            next: None,
            phase,
        }
    }

    /// The word for people and the wire.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Ready { .. } => Status::Queued,
            Phase::Running(_) => Status::Running,
            Phase::Ended(ending) => ending.outcome.status(),
        }
    }

    /// Whether nothing can change it any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// The hold on its current or last attempt.
    #[must_use]
    pub fn lease(&self) -> Option<&LeaseRecord> {
        match &self.phase {
            Phase::Running(hold) => Some(hold),
            Phase::Ended(ending) => ending.hold.as_ref(),
            Phase::Waiting { .. } | Phase::Ready { .. } => None,
        }
    }

    /// Its outputs, if it succeeded.
    #[must_use]
    pub fn outputs(&self) -> Option<&OutputsRef> {
        match &self.phase {
            Phase::Ended(Completion { outcome: JobOutcome::Success(outputs), .. }) => Some(outputs),
            _ => None,
        }
    }

    /// When its attempt has run for as long as it may.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.lease().and_then(|hold| self.limits.deadline(hold.started_at))
    }

    /// Whether jobs that need it can never start: it failed or was skipped.
    #[must_use]
    pub fn blocks_dependents(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Ended(Completion { outcome: JobOutcome::Failure { .. } | JobOutcome::Skipped, .. })
        )
    }

    /// Whether the hold under `fence` began, or ended, by a write of whoever has it.
    #[must_use]
    pub fn is_running_under(&self, fence: &Fence) -> bool {
        matches!(&self.phase, Phase::Running(hold) if hold.fence == *fence)
    }
}

impl JobOutcome {
    /// The word for people and the wire.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Success(_) => Status::Success,
            Self::Failure { .. } => Status::Failure,
            Self::Skipped => Status::Skipped,
            Self::Cancelled => Status::Cancelled,
        }
    }
}
