//! Conditions: how a job's end counts for the jobs that need it, and what follows when the last need of a job has ended.

use protocol::Millis;
use protocol::wire::{Condition, SkippedBecause};

use super::{Change, Completion, End, JobOutcome, JobRecord, Phase};

/// How a job's end counts for the jobs that need it. A cancelled job has no result: its run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeedResult {
    /// It succeeded, or failed with `allow_failure`.
    Passed,
    /// It failed.
    Failed,
    /// It was skipped.
    Skipped,
}

impl NeedResult {
    /// Returns true if the need is removed from the set of a dependent with this condition. A dependent that runs only after
    /// success keeps a need that didn't pass in its set: a batch task skips it.
    #[must_use]
    pub fn removes_need_of(self, condition: Condition) -> bool {
        self == Self::Passed || condition != Condition::Success
    }
}

/// Returns true if a job with this condition runs, after its needs have ended and one of them failed or none did.
fn holds(condition: Condition, need_failed: bool) -> bool {
    match condition {
        Condition::Success | Condition::Always => true,
        Condition::Failure | Condition::OnFailure => need_failed,
    }
}

impl JobRecord {
    /// How the job's end counts for the jobs that need it. `None` if it hasn't ended or was cancelled.
    #[must_use]
    pub fn need_result(&self) -> Option<NeedResult> {
        let Phase::Ended(Completion { outcome, .. }) = &self.phase else { return None };
        match outcome {
            JobOutcome::Failure { .. } if !self.allow_failure => Some(NeedResult::Failed),
            JobOutcome::Success(_) | JobOutcome::Failure { .. } => Some(NeedResult::Passed),
            JobOutcome::Skipped(_) => Some(NeedResult::Skipped),
            JobOutcome::Cancelled => None,
        }
    }

    /// Returns true if the job runs only after every need passed. Then a need that didn't pass is never removed from its
    /// set.
    #[must_use]
    pub fn needs_success(&self) -> bool {
        self.condition == Condition::Success
    }

    /// Returns true if the job is started by the end of the other jobs of the run, not by needs.
    #[must_use]
    pub fn waits_for_run(&self) -> bool {
        self.condition == Condition::OnFailure
    }

    /// Returns true if the job's end begins the skipping of jobs below it. A job that a batch task skipped is part of the
    /// skipping that another job began.
    #[must_use]
    pub fn begins_skipping(&self) -> bool {
        match &self.phase {
            Phase::Ended(Completion { outcome: JobOutcome::Skipped(_), lease, .. }) => {
                !self.needs_success() || lease.is_some()
            }
            _ => self.need_result() == Some(NeedResult::Failed),
        }
    }

    /// Why jobs that need this one and run only after success are skipped. `None` if this job doesn't stop them.
    #[must_use]
    pub fn skips_dependents(&self) -> Option<SkippedBecause> {
        match &self.phase {
            Phase::Ended(Completion { outcome: JobOutcome::Skipped(because), .. }) => Some(because.clone()),
            _ if self.need_result() == Some(NeedResult::Failed) => Some(SkippedBecause::Job(self.id.clone())),
            _ => None,
        }
    }

    /// Returns the change of this waiting job after its last need has ended: ready, blocked if it has a group, or skipped by
    /// its own condition.
    ///
    /// The write must expect the set of needs that this copy has. The flag `need_failed` changes only together with the
    /// set, so the copy's flag is current if its set is.
    #[must_use]
    pub fn after_last_need(&self, need_failed: bool, now: Millis) -> Change {
        match (holds(self.condition, need_failed), &self.group) {
            (true, None) => self.become_ready(now),
            (true, Some(_)) => Change::Block { at: now },
            (false, _) => Change::End(End::unreported(JobOutcome::Skipped(SkippedBecause::Condition), now)),
        }
    }

    /// The change that puts the job into its pool's ready list.
    #[must_use]
    pub fn become_ready(&self, now: Millis) -> Change {
        Change::BecomeReady { pool: self.pool.clone(), at: now, until: self.limits.ready_until(now) }
    }

    /// Returns true if the job runs once this need, its last one, has passed.
    #[must_use]
    pub fn runs_after_success(&self) -> bool {
        holds(self.condition, self.need_failed)
    }
}

#[cfg(test)]
mod tests {
    use protocol::JobId;

    use super::*;
    use crate::ids::{JobKey, RunKey, Waits};

    fn job(condition: Condition, phase: Phase) -> JobRecord {
        let key = JobKey::new(&RunKey::new([1; 16]), 0);
        let id = JobId::new("a").expect("an id");
        JobRecord { condition, ..JobRecord::first(key, id, phase) }
    }

    fn ended(condition: Condition, outcome: JobOutcome) -> JobRecord {
        job(condition, Phase::Ended(Completion { outcome, at: Millis(1), lease: None }))
    }

    #[test]
    fn condition_decides_between_ready_and_skipped() {
        let ready = |condition, need_failed| {
            let waiting = job(condition, Phase::Waiting { on: Waits::new() });
            matches!(waiting.after_last_need(need_failed, Millis(5)), Change::BecomeReady { at: Millis(5), .. })
        };
        let both = |condition| [false, true].map(|failed| ready(condition, failed));
        assert_eq!(both(Condition::Success), [true, true]);
        assert_eq!(both(Condition::Always), [true, true]);
        assert_eq!(both(Condition::Failure), [false, true]);
        assert_eq!(both(Condition::OnFailure), [false, true]);
    }

    #[test]
    fn allowed_failure_passes_and_stops_no_dependent() {
        let failure = || ended(Condition::Success, JobOutcome::Failure { exit_code: Some(1) });
        assert_eq!(failure().need_result(), Some(NeedResult::Failed));
        assert_eq!(failure().skips_dependents(), Some(SkippedBecause::Job(JobId::new("a").expect("an id"))));
        let allowed = JobRecord { allow_failure: true, ..failure() };
        assert_eq!((allowed.need_result(), allowed.skips_dependents()), (Some(NeedResult::Passed), None));
        assert!(failure().begins_skipping() && !allowed.begins_skipping());
    }

    #[test]
    fn job_skipped_by_its_own_condition_begins_skipping() {
        let skipped = |condition| ended(condition, JobOutcome::Skipped(SkippedBecause::Condition));
        assert!(skipped(Condition::Failure).begins_skipping());
        assert!(!skipped(Condition::Success).begins_skipping(), "a batch task skipped it");
        assert_eq!(skipped(Condition::Success).skips_dependents(), Some(SkippedBecause::Condition));
    }
}
