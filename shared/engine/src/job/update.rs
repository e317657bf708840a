//! Conditional updates of a job's record: preconditions and changes.

use protocol::wire::Attempt;
use protocol::{Millis, WorkerId};

use super::{Completion, JobOutcome, JobRecord, LastReport, LeaseRecord, NextLease, Phase, Returned, Used};
use crate::ids::{Fence, PoolId};

/// A conditional change of one record. Every store applies it as one write.
#[derive(Clone, Debug, PartialEq)]
pub struct JobUpdate {
    /// The precondition. The record must exist in any case.
    pub expect: Precondition,
    /// The change, applied if the precondition holds.
    pub change: Change,
}

/// What must be true of the record for a change to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The job is waiting.
    Waiting,
    /// The job waits for exactly this need.
    WaitingOnlyOn(u32),
    /// The job is waiting, and no need is left.
    WaitingOnNothing,
    /// The job is in this pool's ready list, may start by `by`, and has not passed its queue timeout.
    Ready {
        /// The pool that the claimer covers.
        pool: PoolId,
        /// The claimer's current time.
        by: Millis,
        /// The claimer. It must not have given the job back just before.
        worker: WorkerId,
    },
    /// The job runs under this fence, and the lease has not expired.
    HeldLive {
        /// The fence.
        fence: Fence,
        /// The caller's current time.
        now: Millis,
    },
    /// Like `HeldLive`, and the lease expires no later than `until`.
    HeldLiveUntil {
        /// The fence.
        fence: Fence,
        /// The caller's current time.
        now: Millis,
        /// The latest matching expiry.
        until: Millis,
    },
    /// The job runs under this fence, and its lease expires at exactly `until`, which the caller knows is in the past.
    HeldOver {
        /// The fence.
        fence: Fence,
        /// The lease's expiry as the caller read it. A renewed lease has another expiry and doesn't match.
        until: Millis,
    },
    /// The job runs under this fence, whether or not the lease has expired.
    Held {
        /// The fence.
        fence: Fence,
    },
    /// The job is in a ready list and has passed its queue timeout.
    ReadyOver {
        /// The caller's current time.
        now: Millis,
    },
    /// The job waits for its turn.
    Blocked,
    /// The job has not ended.
    NotEnded,
}

/// The change of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Lets the job wait for its turn in its group.
    Block {
        /// The time from which on it waits.
        at: Millis,
    },
    /// Removes one need, or one shard of needs that has no members left.
    RemoveNeed {
        /// The member of the set.
        member: u32,
        /// True if the need, or a need of the shard, failed. Then the record says so from now on.
        failed: bool,
    },
    /// Moves the job into its pool's ready list.
    BecomeReady {
        /// The record's pool. A store keys its ready list by it.
        pool: PoolId,
        /// The earliest start.
        at: Millis,
        /// The queue timeout: the job fails if no worker claimed it by then.
        until: Option<Millis>,
    },
    /// Gives the job to a worker under this lease.
    Start(LeaseRecord),
    /// Changes the lease's expiry.
    Renew {
        /// The new expiry.
        until: Millis,
    },
    /// Ends the attempt as failed, and moves the job back into the ready list.
    Retry {
        /// The record's pool.
        pool: PoolId,
        /// The earliest start of the next attempt.
        at: Millis,
        /// The queue timeout: the job fails if no worker claimed it by then.
        until: Option<Millis>,
        /// The next attempt.
        attempt: u32,
        /// The tries used so far.
        used: Used,
        /// The report that ended the attempt.
        last_report: LastReport,
        /// The attempt's error text.
        error: String,
        /// The job's failed attempts that are kept, including this one.
        failed: Vec<Attempt>,
        /// Set if the attempt was given back.
        returned: Option<Returned>,
    },
    /// Ends the job.
    End(End),
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The job's outcome.
    pub outcome: JobOutcome,
    /// When.
    pub at: Millis,
    /// The report that ended the job, if a report or an expired lease ended it.
    pub last_report: Option<LastReport>,
    /// The error text, if the job failed.
    pub error: Option<String>,
    /// The job's failed attempts that are kept, if this end adds one.
    pub failed: Option<Vec<Attempt>>,
    /// The job that the worker receives with the response.
    pub next: Option<NextLease>,
}

impl End {
    /// An end without a report: skipped or cancelled.
    #[must_use]
    pub fn unreported(outcome: JobOutcome, at: Millis) -> Self {
        Self { outcome, at, last_report: None, error: None, failed: None, next: None }
    }

    /// An end by a report of success.
    #[must_use]
    pub fn success(outputs: super::OutputsRef, at: Millis, report: LastReport) -> Self {
        Self { last_report: Some(report), ..Self::unreported(JobOutcome::Success(outputs), at) }
    }
}

impl Precondition {
    /// Returns true if the precondition holds for the record.
    #[must_use]
    pub fn holds(&self, record: &JobRecord) -> bool {
        match (self, &record.phase) {
            (Self::Waiting, Phase::Waiting { .. }) | (Self::Blocked, Phase::Blocked { .. }) => true,
            (Self::WaitingOnlyOn(need), Phase::Waiting { on }) => on.len() == 1 && on.contains(need),
            (Self::WaitingOnNothing, Phase::Waiting { on }) => on.is_empty(),
            (Self::Ready { pool, by, worker }, Phase::Ready { at, until }) => {
                let in_time = at <= by && until.is_none_or(|until| until > *by);
                record.pool == *pool && in_time && !record.is_kept_from(worker, *by)
            }
            (Self::HeldLive { fence, now }, Phase::Running(lease)) => lease.fence == *fence && lease.until > *now,
            (Self::HeldLiveUntil { fence, now, until }, Phase::Running(lease)) => {
                lease.fence == *fence && lease.until > *now && lease.until <= *until
            }
            (Self::HeldOver { fence, until }, Phase::Running(lease)) => lease.fence == *fence && lease.until == *until,
            (Self::Held { fence }, Phase::Running(lease)) => lease.fence == *fence,
            (Self::ReadyOver { now }, Phase::Ready { until: Some(until), .. }) => until <= now,
            (Self::NotEnded, phase) => !matches!(phase, Phase::Ended(_)),
            _ => false,
        }
    }
}

impl JobUpdate {
    /// Returns the record after the change, or `None` if the precondition doesn't hold.
    #[must_use]
    pub fn apply(&self, record: &JobRecord) -> Option<JobRecord> {
        if !self.expect.holds(record) {
            return None;
        }
        let mut new = record.clone();
        match &self.change {
            Change::RemoveNeed { member, failed } => {
                if let Phase::Waiting { on } = &mut new.phase {
                    on.remove(member);
                }
                new.need_failed |= *failed;
            }
            Change::Block { at } => new.phase = Phase::Blocked { at: *at },
            Change::BecomeReady { at, until, .. } => {
                new.phase = Phase::Ready { at: *at, until: *until };
                new.ready_at = Some(*at);
            }
            Change::Start(lease) => {
                if matches!(record.phase, Phase::Waiting { .. }) {
                    new.ready_at = Some(lease.started_at);
                }
                new.phase = Phase::Running(lease.clone());
            }
            Change::Renew { until } => {
                if let Phase::Running(lease) = &mut new.phase {
                    lease.until = *until;
                }
            }
            Change::Retry { at, until, attempt, used, last_report, error, failed, returned, .. } => {
                new.phase = Phase::Ready { at: *at, until: *until };
                new.ready_at = Some(*at);
                new.attempt = *attempt;
                new.used = *used;
                new.last_report = Some(last_report.clone());
                new.error = Some(error.clone());
                new.failed.clone_from(failed);
                new.returned.clone_from(returned);
            }
            Change::End(end) => new.end(end.clone()),
        }
        Some(new)
    }
}

impl JobRecord {
    fn end(&mut self, end: End) {
        let lease = self.lease().cloned();
        self.phase = Phase::Ended(Completion { outcome: end.outcome, at: end.at, lease });
        self.last_report = end.last_report.or(self.last_report.take());
        self.error = end.error;
        self.failed = end.failed.unwrap_or(std::mem::take(&mut self.failed));
        self.next = end.next;
    }
}
