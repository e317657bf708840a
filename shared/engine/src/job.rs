//! A job's record and the changes it can go through.
//!
//! A change is a value: a precondition and the new state. [`JobUpdate::apply`] defines what a change means. A store
//! that holds records in memory calls it; a store with an update language translates it. The rule is written once,
//! here.

mod condition;
mod retry;
mod update;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use protocol::wire::{Attempt, Condition, SkippedBecause};
use protocol::{JobId, Label, LabelSet, Millis, Outputs, Status, WorkerId, limits};
use serde::{Deserialize, Serialize};

pub use self::condition::NeedResult;
pub(crate) use self::retry::cut;
pub use self::retry::{Failure, GiveBack, GivenBackBy, after_failure, after_return};
pub use self::update::{Change, End, JobUpdate, Precondition};

use crate::ids::forge::ReportKey;
use crate::ids::{Fence, GroupKey, JobIndex, JobKey, PoolId, ReportHash, Waits};
pub use workflow::{Budgets, ExitBudget, JobSettings, Passthrough, Retry, TimeLimits};

/// A job of a run: its settings and its edges in the graph. It never changes within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The settings from the definition.
    pub settings: JobSettings,
    /// The jobs that this job directly needs, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<JobIndex>,
    /// The jobs that directly need this job, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<JobIndex>,
    /// Those of the dependents that have an `if`, ascending. They learn how this job ended in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditional: Vec<JobIndex>,
    /// The job's position in the definition, for display.
    pub position: u32,
}

/// Gives access to the job's settings as fields of its spec.
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

/// The tries used, by budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Tries used of `retry.max`.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u32,
    /// Tries used of `retry.budgets.lost`.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// Tries used of `retry.budgets.timeout`.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u32,
    /// Tries used of each entry of `retry.exit`, in their order. What is missing at the end is 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit: Vec<u32>,
    /// Attempts that were given back. They used no try.
    #[serde(skip_serializing_if = "is_zero")]
    pub returned: u32,
}

/// The latest returns of a job, since the last attempt that ended otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The latest workers that could not run the job, at most [`RETURNERS_KEPT`], each with the time of its return.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<WorkerId, Millis>,
    /// The number of returns in a row that count towards [`limits::RETURNS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub times: u32,
    /// The number of claims in a row that took the job and failed because of trouble that passes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_claims: u32,
}

/// A job's stored record: its mutable state, and its spec if both together are small.
#[expect(clippy::struct_excessive_bools, reason = "each is stored under its own name, only when it is true")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The record's key.
    pub key: JobKey,
    /// The id that the author chose.
    pub id: JobId,
    /// The pool, computed from the job's labels and secrets.
    pub pool: PoolId,
    /// The spec, or `None` if it is stored apart (see `JobStore::specs`).
    pub spec: Option<Arc<JobSpec>>,
    /// True if a waiting job's set holds shard numbers instead of job indexes.
    pub sharded: bool,
    /// True if the spec names secrets or has a checkout. Then the job's log is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
    /// The group, a copy of the spec's `concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Label>,
    /// A copy of the spec's condition.
    #[serde(default, rename = "if", skip_serializing_if = "is_default")]
    pub condition: Condition,
    /// A copy of the spec's `allow_failure`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_failure: bool,
    /// True if a need that was removed from the set of a waiting job failed. Written together with the removal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub need_failed: bool,
    /// The attempt number, from 0.
    pub attempt: u32,
    /// A copy of the spec's time limits, so that a claim doesn't need to read a spec that is stored apart.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: TimeLimits,
    /// Tries used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub used: Used,
    /// The failed attempts, latest last, at most [`ATTEMPTS_KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Attempt>,
    /// The report that ended the latest ended attempt. Identifies a repeat of it.
    pub last_report: Option<LastReport>,
    /// The error text of the latest failed attempt.
    pub error: Option<String>,
    /// Set while the job's latest attempts were given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// When the job last became ready.
    pub ready_at: Option<Millis>,
    /// The job that its worker received with the response to the completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextLease>,
    /// The report that tells a forge the job's state, if a forge started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportKey>,
    /// The job's phase. Its fields are stored beside the record's own, with the phase's name as `status`.
    #[serde(flatten)]
    pub phase: Phase,
}

/// The maximum number of failed attempts in a record. It keeps the record small however often the job is tried.
pub const ATTEMPTS_KEPT: usize = 16;
/// The maximum number of workers in a record that could not run the job.
pub const RETURNERS_KEPT: usize = 4;

/// The phase of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Phase {
    /// The job waits for its needs. The set is empty for a moment between the removal of the last need and the write
    /// that makes the job ready.
    Waiting {
        /// The needs that are not known to have passed or, if the job has an `if`, to have ended.
        #[serde(rename = "waiting_on", default)]
        on: Waits,
    },
    /// The job waits for its turn in its group. Its needs are met.
    Blocked {
        /// Since when.
        #[serde(rename = "blocked_at")]
        at: Millis,
    },
    /// The job is in its pool's ready list.
    Ready {
        /// When the job became ready, or the earliest start.
        at: Millis,
        /// The queue timeout: the job fails if no worker claimed it by then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Millis>,
    },
    /// A worker runs the job under a lease.
    Running(#[serde(with = "lease_field")] LeaseRecord),
    /// The job has ended.
    Ended(Completion),
}

/// Stores the lease of a running job as the field `lease`, where a job that has ended has its last one.
mod lease_field {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::LeaseRecord;

    #[derive(Serialize, Deserialize)]
    struct Field<L> {
        lease: L,
    }

    pub(super) fn serialize<S: Serializer>(lease: &LeaseRecord, to: S) -> Result<S::Ok, S::Error> {
        Field { lease }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LeaseRecord, D::Error> {
        Field::deserialize(from).map(|field| field.lease)
    }
}

/// A worker's lease of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Every report about the attempt must carry this fence.
    pub fence: Fence,
    /// The worker.
    pub worker: WorkerId,
    /// The time to live in seconds. A heartbeat extends the lease by this much.
    pub ttl_secs: u32,
    /// When the attempt began.
    pub started_at: Millis,
    /// The lease's expiry. The lease is invalid afterwards, even if no timer has ended it yet.
    pub until: Millis,
}

/// The dependent that a completion claims for the same worker. The write that ends the job names it, so that a
/// repeated completion finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextLease {
    /// The dependent's index.
    pub index: JobIndex,
    /// The random part of the dependent's lease, masked so that only the principal of the completed lease can read it.
    pub masked: String,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The job's outcome.
    pub outcome: JobOutcome,
    /// When.
    pub at: Millis,
    /// The last lease of the job, or `None` if no worker ever had it.
    pub lease: Option<LeaseRecord>,
}

/// The outcome of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOutcome {
    /// The job succeeded with these outputs.
    Success(OutputsRef),
    /// The job failed and has no tries left. The record's `error` has the error text.
    Failure {
        /// The command's exit code, if the worker reported it.
        exit_code: Option<i32>,
    },
    /// The job did not run to its end, for this reason.
    Skipped(SkippedBecause),
    /// The run was cancelled.
    Cancelled,
}

/// The location of a job's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputsRef {
    /// In the job's record.
    Inline(Outputs),
    /// Stored apart, under a random id that only this record knows.
    External {
        /// The id.
        id: String,
        /// The size in bytes of names and values together, as JSON.
        size: usize,
    },
}

impl OutputsRef {
    /// The size in bytes of names and values together, as JSON, which is their size in a response.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Inline(outputs) => json_size(outputs),
            Self::External { size, .. } => *size,
        }
    }
}

/// The size in bytes of outputs as JSON.
#[must_use]
pub fn json_size(outputs: &Outputs) -> usize {
    serde_json::to_string(outputs).map_or(0, |text| text.len())
}

/// Identifies the report that ended an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReport {
    /// The attempt's fence.
    pub fence: Fence,
    /// The hash of the report.
    pub report: ReportHash,
}

/// The hash stored instead of a report's when an expired lease ended the attempt.
pub(crate) fn lost_report() -> ReportHash {
    ReportHash::of(["lost"])
}

impl JobRecord {
    /// A new job record without labels, secrets, limits and spec.
    #[must_use]
    pub fn first(key: JobKey, id: JobId, phase: Phase) -> Self {
        Self {
            key,
            id,
            pool: PoolId::of(&LabelSet::default()),
            spec: None,
            sharded: false,
            has_secrets: false,
            group: None,
            condition: Condition::default(),
            allow_failure: false,
            need_failed: false,
            attempt: 0,
            limits: TimeLimits::default(),
            used: Used::default(),
            failed: Vec::new(),
            last_report: None,
            error: None,
            returned: None,
            ready_at: None,
            next: None,
            report: None,
            phase,
        }
    }

    /// The status in the API.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Blocked { .. } | Phase::Ready { .. } => Status::Queued,
            Phase::Running(_) => Status::Running,
            Phase::Ended(ending) => ending.outcome.status(),
        }
    }

    /// The key of the job's group.
    #[must_use]
    pub fn group_key(&self) -> Option<GroupKey> {
        self.group.as_ref().map(GroupKey::of_jobs)
    }

    /// Returns true if the job has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// The lease of the current or last attempt.
    #[must_use]
    pub fn lease(&self) -> Option<&LeaseRecord> {
        match &self.phase {
            Phase::Running(lease) => Some(lease),
            Phase::Ended(ending) => ending.lease.as_ref(),
            Phase::Waiting { .. } | Phase::Blocked { .. } | Phase::Ready { .. } => None,
        }
    }

    /// The job's outputs, if it succeeded.
    #[must_use]
    pub fn outputs(&self) -> Option<&OutputsRef> {
        match &self.phase {
            Phase::Ended(Completion { outcome: JobOutcome::Success(outputs), .. }) => Some(outputs),
            _ => None,
        }
    }

    /// When the attempt's timeout expires.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.lease().and_then(|lease| self.limits.deadline(lease.started_at))
    }

    /// Returns true if this worker gave the job back less than [`limits::RETURN_PAUSE`] before `now`.
    #[must_use]
    pub fn is_kept_from(&self, worker: &WorkerId, now: Millis) -> bool {
        let returned_at = self.returned.as_ref().and_then(|returned| returned.by.get(worker));
        returned_at.is_some_and(|at| now < *at + limits::RETURN_PAUSE)
    }

    /// Returns true if the job runs under `fence`.
    #[must_use]
    pub fn is_running_under(&self, fence: &Fence) -> bool {
        matches!(&self.phase, Phase::Running(lease) if lease.fence == *fence)
    }
}

impl JobOutcome {
    /// The status in the API.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Success(_) => Status::Success,
            Self::Failure { .. } => Status::Failure,
            Self::Skipped(_) => Status::Skipped,
            Self::Cancelled => Status::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_stored_without_its_default_values() {
        let key = JobKey::new(&crate::ids::RunKey::new([1; 16]), 0);
        let id = JobId::new("a").expect("an id");
        let mut record = JobRecord::first(key, id, Phase::Waiting { on: Waits::new() });
        let stored = |record: &JobRecord| serde_json::to_string(record).expect("JSON");
        let text = stored(&record);
        for absent in
            ["limits", "used", "failed", "has_secrets", "next", "returned", "if", "allow_failure", "need_failed"]
        {
            assert!(!text.contains(&format!("\"{absent}\"")), "{absent} in {text}");
        }
        record.used.lost = 1;
        record.limits.timeout = Some(3);
        let text = stored(&record);
        assert!(text.contains(r#""used":{"lost":1}"#) && text.contains("limits"), "{text}");
        assert_eq!(serde_json::from_str::<JobRecord>(&text).expect("a record"), record);
    }
}
