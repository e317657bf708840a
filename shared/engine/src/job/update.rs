//! The changes that a record may go through.

use protocol::Millis;
use protocol::wire::Attempt;

use super::{Completion, JobOutcome, JobRecord, LastReport, LeaseRecord, NextLease, Phase, Used};
use crate::ids::{Fence, PoolId};

/// A conditional change of one record: one write of any store.
#[derive(Clone, Debug, PartialEq)]
pub struct JobUpdate {
    /// What must hold. The record must exist in any case.
    pub expect: Precondition,
    /// What then becomes.
    pub change: Change,
}

/// What must hold for a change to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// It waits, for whatever.
    Waiting,
    /// It waits for exactly this.
    WaitingOnlyOn(u32),
    /// It waits for nothing any more.
    WaitingOnNothing,
    /// It is in this pool's ready list, and may start: neither is it too early nor was it not taken in time.
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
    /// It is held under this fence, and the hold ends then, which is past: the caller has seen that.
    HeldOver {
        /// The fence.
        fence: Fence,
        /// The end of the hold, as the caller read it. One that was renewed since ends for another reason, or not.
        until: Millis,
    },
    /// It is held under this fence, live or not.
    Held {
        /// The fence.
        fence: Fence,
    },
    /// It is in a ready list, and nobody took it in time.
    ReadyOver {
        /// The caller's now.
        now: Millis,
    },
    /// Nothing ended it yet.
    NotEnded,
}

/// What a record becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// One need less.
    RemoveNeed(u32),
    /// Into its pool's ready list.
    BecomeReady {
        /// The record's pool; a store keeps its list by it.
        pool: PoolId,
        /// Not before this.
        at: Millis,
        /// It fails if nobody took it by then.
        until: Option<Millis>,
    },
    /// A worker holds it.
    Start(LeaseRecord),
    /// The hold ends at another time.
    Renew {
        /// Its new end.
        until: Millis,
    },
    /// The attempt failed; into the ready list again.
    Retry {
        /// The record's pool.
        pool: PoolId,
        /// Not before this.
        at: Millis,
        /// It fails if nobody took it by then.
        until: Option<Millis>,
        /// The next attempt.
        attempt: u32,
        /// Tries used.
        used: Used,
        /// What ended the attempt.
        last_report: LastReport,
        /// Why it failed.
        error: String,
        /// All failed attempts that are kept, with this one.
        failed: Vec<Attempt>,
    },
    /// For good.
    End(End),
}

/// How a job ends for good.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub outcome: JobOutcome,
    /// When.
    pub at: Millis,
    /// What ended it, if a report or the end of a lease did.
    pub last_report: Option<LastReport>,
    /// Why, if it failed.
    pub error: Option<String>,
    /// All failed attempts that are kept, if this adds one.
    pub failed: Option<Vec<Attempt>>,
    /// The job that the worker is given next.
    pub next: Option<NextLease>,
}

impl End {
    /// Skipped or cancelled: by no report.
    #[must_use]
    pub fn unreported(outcome: JobOutcome, at: Millis) -> Self {
        Self { outcome, at, last_report: None, error: None, failed: None, next: None }
    }

    /// Well, by this report.
    #[must_use]
    pub fn success(outputs: super::OutputsRef, at: Millis, report: LastReport) -> Self {
        Self { last_report: Some(report), ..Self::unreported(JobOutcome::Success(outputs), at) }
    }
}

impl Precondition {
    /// Whether it holds of the record.
    #[must_use]
    pub fn holds(&self, record: &JobRecord) -> bool {
        match (self, &record.phase) {
            (Self::Waiting, Phase::Waiting { .. }) => true,
            (Self::WaitingOnlyOn(need), Phase::Waiting { on }) => on.len() == 1 && on.contains(need),
            (Self::WaitingOnNothing, Phase::Waiting { on }) => on.is_empty(),
            (Self::Ready { pool, by }, Phase::Ready { at, until }) => {
                record.pool == *pool && at <= by && until.is_none_or(|until| until > *by)
            }
            (Self::HeldLive { fence, now }, Phase::Running(hold)) => hold.fence == *fence && hold.until > *now,
            (Self::HeldLiveUntil { fence, now, until }, Phase::Running(hold)) => {
                hold.fence == *fence && hold.until > *now && hold.until <= *until
            }
            (Self::HeldOver { fence, until }, Phase::Running(hold)) => hold.fence == *fence && hold.until == *until,
            (Self::Held { fence }, Phase::Running(hold)) => hold.fence == *fence,
            (Self::ReadyOver { now }, Phase::Ready { until: Some(until), .. }) => until <= now,
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
            Change::RemoveNeed(need) => {
                if let Phase::Waiting { on } = &mut new.phase {
                    on.remove(need);
                }
            }
            Change::BecomeReady { at, until, .. } => {
                new.phase = Phase::Ready { at: *at, until: *until };
                new.ready_at = Some(*at);
            }
            Change::Start(hold) => {
                if matches!(record.phase, Phase::Waiting { .. }) {
                    new.ready_at = Some(hold.started_at);
                }
                new.phase = Phase::Running(hold.clone());
            }
            Change::Renew { until } => {
                if let Phase::Running(hold) = &mut new.phase {
                    hold.until = *until;
                }
            }
            Change::Retry { at, until, attempt, used, last_report, error, failed, .. } => {
                new.phase = Phase::Ready { at: *at, until: *until };
                new.ready_at = Some(*at);
                new.attempt = *attempt;
                new.used = *used;
                new.last_report = Some(last_report.clone());
                new.error = Some(error.clone());
                new.failed.clone_from(failed);
            }
            Change::End(end) => new.end(end.clone()),
        }
        Some(new)
    }
}

impl JobRecord {
    fn end(&mut self, end: End) {
        let hold = self.lease().cloned();
        self.phase = Phase::Ended(Completion { outcome: end.outcome, at: end.at, hold });
        self.last_report = end.last_report.or(self.last_report.take());
        self.error = end.error;
        self.failed = end.failed.unwrap_or(std::mem::take(&mut self.failed));
        self.next = end.next;
    }
}
