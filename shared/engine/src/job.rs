//! A job's record and every change it may go through.
//!
//! A change is a value: what must hold, and what then becomes. [`JobUpdate::apply`] says what that means; a store that
//! holds records as they are calls it, one with an update language of its own translates it. Either way the rule is
//! written here, once.

use protocol::wire::OutputsFrom;
use protocol::{JobId, LabelSet, Millis, Outputs, Status, WorkerId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::EnvValue;
use crate::ids::{Fence, JobIndex, JobKey, PoolId, ReportHash, Waits};

/// What a job is; never changes within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// For people.
    pub name: String,
    /// Run by a shell, after the environment was set.
    pub script: String,
    /// Set before the script, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, EnvValue)>,
    /// All of these a worker must have.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// The jobs it directly needs, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<JobIndex>,
    /// The jobs that directly need it, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<JobIndex>,
    /// Tries on top of the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_retries: u32,
    /// Where a worker looks for outputs.
    #[serde(default)]
    pub outputs_from: OutputsFrom,
    /// Its place in the definition, for display.
    pub place: u32,
    /// Kept as submitted: `metadata`, `ports`, `children`, `collapsed`.
    #[serde(default, skip_serializing_if = "Kept::is_empty")]
    pub kept: Kept,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Fields that are stored and returned as given; the engine does nothing with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// As submitted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    /// As submitted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub ports: Value,
    /// As submitted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub children: Value,
    /// As submitted.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub collapsed: Value,
}

impl Kept {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What changes of a job, and its spec while both together are small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Where it is.
    pub key: JobKey,
    /// Chosen by the author.
    pub id: JobId,
    /// Its labels' pool.
    pub pool: PoolId,
    /// `None`: stored apart, see `JobStore::specs`.
    pub spec: Option<Box<JobSpec>>,
    /// Whether a waiting job's set holds numbers of [`SHARD`]-sized shards instead of jobs.
    pub sharded: bool,
    /// From 0.
    pub attempt: u32,
    /// How many of `max_retries` are used.
    pub retries_used: u32,
    /// The report that ended the latest ended attempt, to recognise its repeat.
    pub last_report: Option<LastReport>,
    /// Why the latest ended attempt failed.
    pub error: Option<String>,
    /// When it last became ready.
    pub ready_at: Option<Millis>,
    /// Where it stands.
    pub phase: Phase,
}

/// A job with more needs than this waits for shards of this many, so that its own record stays small.
pub const SHARD: usize = 200;

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
    },
    /// A worker holds it.
    Running(Hold),
    /// For good.
    Ended(Ending),
}

/// A worker's hold on an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
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

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Well or not.
    pub outcome: Outcome,
    /// When.
    pub at: Millis,
    /// The last hold on it, if it was ever held.
    pub hold: Option<Hold>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
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
    /// Apart, under a random id that only this record knows.
    Apart {
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
            Self::Apart { size, .. } => *size,
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

/// A conditional change of one record: one write of any store.
#[derive(Clone, Debug, PartialEq)]
pub struct JobUpdate {
    /// What must hold. The record must exist in any case.
    pub expect: Expect,
    /// What then becomes.
    pub change: Change,
}

/// What must hold for a change to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It waits, for whatever.
    Waiting,
    /// It waits for exactly this.
    WaitingOnlyOn(u32),
    /// It waits for nothing any more.
    WaitingOnNothing,
    /// It is in this pool's ready list, and may start.
    Ready {
        /// The pool the claimer covers.
        pool: PoolId,
        /// The claimer's now.
        by: Millis,
    },
    /// It is held under this fence, and the hold isn't over.
    HeldLive {
        /// The fence.
        fence: Fence,
        /// The caller's now.
        now: Millis,
    },
    /// As `HeldLive`, and the hold doesn't end after `until`.
    HeldLiveUntil {
        /// The fence.
        fence: Fence,
        /// The caller's now.
        now: Millis,
        /// The latest end that still matches.
        until: Millis,
    },
    /// It is held under this fence, and the hold is over.
    HeldOver {
        /// The fence.
        fence: Fence,
        /// The caller's now.
        now: Millis,
    },
    /// It is held under this fence, live or not.
    Held {
        /// The fence.
        fence: Fence,
    },
    /// Nothing ended it yet.
    NotEnded,
}

/// What a record becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// One need less.
    DropNeed(u32),
    /// Into its pool's ready list.
    BecomeReady {
        /// The record's pool; a store keeps its list by it.
        pool: PoolId,
        /// Not before this.
        at: Millis,
    },
    /// A worker holds it.
    Start(Hold),
    /// The hold ends later.
    Renew {
        /// Its new end.
        until: Millis,
    },
    /// The attempt failed; into the ready list again.
    TryAgain {
        /// The record's pool.
        pool: PoolId,
        /// Not before this.
        at: Millis,
        /// The next attempt.
        attempt: u32,
        /// Of `max_retries`.
        retries_used: u32,
        /// What ended the attempt.
        last_report: LastReport,
        /// Why it failed.
        error: String,
    },
    /// For good.
    End {
        /// How.
        outcome: Outcome,
        /// When.
        at: Millis,
        /// What ended it, if a report or the end of a lease did.
        last_report: Option<LastReport>,
        /// Why, if it failed.
        error: Option<String>,
    },
}

impl Expect {
    /// Whether it holds of the record.
    #[must_use]
    pub fn holds(&self, record: &JobRecord) -> bool {
        match (self, &record.phase) {
            (Self::Waiting, Phase::Waiting { .. }) => true,
            (Self::WaitingOnlyOn(need), Phase::Waiting { on }) => on.len() == 1 && on.contains(need),
            (Self::WaitingOnNothing, Phase::Waiting { on }) => on.is_empty(),
            (Self::Ready { pool, by }, Phase::Ready { at }) => record.pool == *pool && at <= by,
            (Self::HeldLive { fence, now }, Phase::Running(hold)) => hold.fence == *fence && hold.until > *now,
            (Self::HeldLiveUntil { fence, now, until }, Phase::Running(hold)) => {
                hold.fence == *fence && hold.until > *now && hold.until <= *until
            }
            (Self::HeldOver { fence, now }, Phase::Running(hold)) => hold.fence == *fence && hold.until <= *now,
            (Self::Held { fence }, Phase::Running(hold)) => hold.fence == *fence,
            (Self::NotEnded, phase) => !matches!(phase, Phase::Ended(_)),
            _ => false,
        }
    }
}

impl JobUpdate {
    /// The record after the change, or `None` if what it expects doesn't hold.
    #[must_use]
    pub fn apply(&self, record: &JobRecord) -> Option<JobRecord> {
        if !self.expect.holds(record) {
            return None;
        }
        let mut new = record.clone();
        match &self.change {
            Change::DropNeed(need) => {
                if let Phase::Waiting { on } = &mut new.phase {
                    on.remove(need);
                }
            }
            Change::BecomeReady { at, .. } => {
                new.phase = Phase::Ready { at: *at };
                new.ready_at = Some(*at);
            }
            Change::Start(hold) => new.phase = Phase::Running(hold.clone()),
            Change::Renew { until } => {
                if let Phase::Running(hold) = &mut new.phase {
                    hold.until = *until;
                }
            }
            Change::TryAgain { at, attempt, retries_used, last_report, error, .. } => {
                new.phase = Phase::Ready { at: *at };
                new.ready_at = Some(*at);
                new.attempt = *attempt;
                new.retries_used = *retries_used;
                new.last_report = Some(last_report.clone());
                new.error = Some(error.clone());
            }
            Change::End { outcome, at, last_report, error } => {
                let hold = record.hold().cloned();
                new.phase = Phase::Ended(Ending { outcome: outcome.clone(), at: *at, hold });
                new.last_report = last_report.clone().or(new.last_report);
                new.error.clone_from(error);
            }
        }
        Some(new)
    }
}

impl JobRecord {
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
    pub fn hold(&self) -> Option<&Hold> {
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
            Phase::Ended(Ending { outcome: Outcome::Success(outputs), .. }) => Some(outputs),
            _ => None,
        }
    }

    /// Whether jobs that need it can never start: it failed or was skipped.
    #[must_use]
    pub fn poisons(&self) -> bool {
        matches!(&self.phase, Phase::Ended(Ending { outcome: Outcome::Failure { .. } | Outcome::Skipped, .. }))
    }

    /// Whether the hold under `fence` began, or ended, by a write of whoever has it.
    #[must_use]
    pub fn is_running_under(&self, fence: &Fence) -> bool {
        matches!(&self.phase, Phase::Running(hold) if hold.fence == *fence)
    }
}

impl Outcome {
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

/// What an attempt's failure does to the job: another try while `max_retries` allows, else the end.
#[must_use]
pub fn after_failure(record: &JobRecord, spec: &JobSpec, failure: Failure, now: Millis) -> Change {
    let Failure { error, exit_code, retryable, last_report } = failure;
    if retryable && record.retries_used < spec.max_retries {
        return Change::TryAgain {
            pool: record.pool.clone(),
            at: now,
            attempt: record.attempt + 1,
            retries_used: record.retries_used + 1,
            last_report,
            error,
        };
    }
    Change::End { outcome: Outcome::Failure { exit_code }, at: now, last_report: Some(last_report), error: Some(error) }
}

/// How an attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// For people.
    pub error: String,
    /// Of the command, if it ran.
    pub exit_code: Option<i32>,
    /// Whether another try could help.
    pub retryable: bool,
    /// To recognise a repeat.
    pub last_report: LastReport,
}
