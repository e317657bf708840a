//! The retry rule: whether a failed attempt is followed by another attempt, and when.

use std::time::Duration;

use protocol::wire::{Attempt, Backoff, Cause, SkippedBecause};
use protocol::{Millis, WorkerId, limits};

use super::{ATTEMPTS_KEPT, Change, End, JobOutcome, JobRecord, JobSpec, LastReport, RETURNERS_KEPT, Returned, Used};

/// Bytes of an attempt's error text that the job's history keeps.
const ERROR_KEPT: usize = 200;
/// The time for which a job waits after a claim of it failed. It doubles with each further claim that fails because of
/// trouble that passes.
const FIRST_CLAIM_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_CLAIM_PAUSE: Duration = Duration::from_mins(5);

/// A failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why the attempt ended.
    pub cause: Cause,
    /// The error text for people.
    pub error: String,
    /// The command's exit code, if the command ran.
    pub exit_code: Option<i32>,
    /// True if another attempt could succeed.
    pub retryable: bool,
    /// Identifies the report, to recognise a repeat. `None` if no worker ran the attempt.
    pub last_report: Option<LastReport>,
}

/// Returns the job's change after a failed attempt: another attempt while the cause has tries left, else the end. An
/// attempt that ended with the job's `skip_exit` ends the job as skipped.
#[must_use]
pub fn after_failure(record: &JobRecord, spec: &JobSpec, failure: Failure, now: Millis) -> Change {
    if failure.cause == Cause::Failure
        && failure.exit_code.is_some()
        && failure.exit_code == spec.skip_exit.map(i32::from)
    {
        let outcome = JobOutcome::Skipped(SkippedBecause::Exit);
        return Change::End(End { last_report: failure.last_report, ..End::unreported(outcome, now) });
    }
    let failed = history(record, &failure, now);
    let Failure { cause, error, exit_code, retryable, last_report } = failure;
    let used = if retryable { spec.use_a_try(record.used, cause) } else { None };
    if let (Some(used), Some(last_report)) = (used, last_report.clone()) {
        let at = now + delay(spec.retry.backoff, record.attempt - record.used.returned);
        let attempt = record.attempt + 1;
        return ready_again(record, at, Next { attempt, used, last_report, error, failed, returned: None });
    }
    let outcome = JobOutcome::Failure { exit_code };
    Change::End(End { last_report, error: Some(error), failed: Some(failed), ..End::unreported(outcome, now) })
}

/// A claimed job that could not run, because of trouble that isn't the job's.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// Who gives the job back.
    pub by: GivenBackBy,
    /// The reason, for people.
    pub error: String,
    /// Identifies the report, to recognise a repeat.
    pub last_report: LastReport,
}

/// Who gives a claimed job back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenBackBy {
    /// The worker, which could not run the job. Another worker may have it at once, as the next attempt.
    Worker(WorkerId),
    /// The claim, which could not give the job to the worker, so the attempt never began. The job waits and keeps the
    /// number of its attempt.
    Claim {
        /// True if the trouble may pass by itself. Then the return doesn't count towards [`limits::RETURNS`], and the
        /// waits grow.
        transient: bool,
    },
}

/// Returns the job's change after it was given back: ready again without using a try, or the end after
/// [`limits::RETURNS`] returns in a row.
#[must_use]
pub fn after_return(record: &JobRecord, back: GiveBack, now: Millis) -> Change {
    let GiveBack { by, error, last_report } = back;
    let failure = Failure {
        cause: Cause::Returned,
        error,
        exit_code: None,
        retryable: true,
        last_report: Some(last_report.clone()),
    };
    let failed = history(record, &failure, now);
    let mut returned = record.returned.clone().unwrap_or_default();
    let (mut at, mut attempt, mut used) = (now, record.attempt, record.used);
    match by {
        GivenBackBy::Worker(worker) => {
            returned.times += 1;
            returned.keep(worker, now);
            attempt += 1;
            used.returned += 1;
        }
        GivenBackBy::Claim { transient: true } => {
            at = now + claim_pause(returned.failed_claims);
            returned.failed_claims += 1;
        }
        GivenBackBy::Claim { transient: false } => {
            at = now + FIRST_CLAIM_PAUSE;
            returned.times += 1;
        }
    }
    if returned.times >= limits::RETURNS {
        let error = format!("it was given back {} times in a row; the last reason: {}", returned.times, failure.error);
        let outcome = JobOutcome::Failure { exit_code: None };
        return Change::End(End {
            last_report: Some(last_report),
            error: Some(error),
            failed: Some(failed),
            ..End::unreported(outcome, now)
        });
    }
    let returned = Some(returned);
    ready_again(record, at, Next { attempt, used, last_report, error: failure.error, failed, returned })
}

/// Returns the time for which a job waits after a claim of it failed, if `before` claims in a row failed before.
fn claim_pause(before: u32) -> Duration {
    FIRST_CLAIM_PAUSE.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST_CLAIM_PAUSE)
}

impl Returned {
    /// Adds a worker that could not run the job, in place of the one that did so longest ago.
    fn keep(&mut self, worker: WorkerId, now: Millis) {
        self.by.insert(worker, now);
        if self.by.len() > RETURNERS_KEPT
            && let Some(oldest) = self.by.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone())
        {
            self.by.remove(&oldest);
        }
    }
}

/// What the record of a job that is ready again keeps of the attempts before.
struct Next {
    attempt: u32,
    used: Used,
    last_report: LastReport,
    error: String,
    failed: Vec<Attempt>,
    returned: Option<Returned>,
}

fn ready_again(record: &JobRecord, at: Millis, next: Next) -> Change {
    let Next { attempt, used, last_report, error, failed, returned } = next;
    Change::Retry {
        pool: record.pool.clone(),
        at,
        until: record.limits.ready_until(at),
        attempt,
        used,
        last_report,
        error,
        failed,
        returned,
    }
}

impl JobSpec {
    /// Uses one try of the cause's own budget if it has one, else of `max`. Returns `None` if no try is left.
    fn use_a_try(&self, mut used: Used, cause: Cause) -> Option<Used> {
        let own = match cause {
            Cause::Failure => None,
            Cause::Lost => self.retry.budgets.lost.map(|budget| (budget, &mut used.lost)),
            Cause::Timeout => self.retry.budgets.timeout.map(|budget| (budget, &mut used.timeout)),
            Cause::QueueTimeout | Cause::Returned => return None,
        };
        let (budget, of_it) = own.unwrap_or((self.retry.max, &mut used.max));
        if *of_it >= budget {
            return None;
        }
        *of_it += 1;
        Some(used)
    }
}

/// Returns the delay between the failure of attempt number `attempt` and the next attempt.
fn delay(backoff: Backoff, attempt: u32) -> Duration {
    Duration::from_secs(match backoff {
        Backoff::None => 0,
        Backoff::Fixed { delay_secs } => delay_secs,
        Backoff::Exponential { base_secs, max_secs } => {
            base_secs.saturating_mul(1_u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(max_secs)
        }
    })
}

/// Returns the failed attempts that are kept, including this one. Claims that fail leave the attempt's number as it is, so
/// only the latest of them is kept, and none if the attempt begins after all and fails.
fn history(record: &JobRecord, failure: &Failure, now: Millis) -> Vec<Attempt> {
    let lease = record.lease();
    let attempt = Attempt {
        attempt: record.attempt,
        cause: failure.cause,
        error: cut(failure.error.clone(), ERROR_KEPT),
        worker_id: lease.map(|lease| lease.worker.clone()),
        exit_code: failure.exit_code,
        started_at: lease.map(|lease| lease.started_at),
        finished_at_ms: now,
    };
    let mut kept = record.failed.clone();
    kept.retain(|earlier| earlier.attempt != record.attempt);
    if kept.len() >= ATTEMPTS_KEPT {
        // Attempts that didn't run say the least.
        kept.remove(kept.iter().position(|attempt| attempt.cause == Cause::Returned).unwrap_or(0));
    }
    kept.push(attempt);
    kept
}

/// Truncates a text to at most `limit` bytes, at a character boundary.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_after_failed_claims_doubles_up_to_five_minutes() {
        let secs = |before| claim_pause(before).as_secs();
        assert_eq!([0, 1, 2, 5, 6, 7, 31, 32, u32::MAX].map(secs), [5, 10, 20, 160, 300, 300, 300, 300, 300]);
    }

    #[test]
    fn latest_workers_that_gave_a_job_back_are_kept() {
        let mut returned = Returned::default();
        let worker = |n: u64| WorkerId::new(format!("w{}", 9 - n)).expect("an id");
        for n in 0..9 {
            returned.keep(worker(n), Millis(n));
        }
        assert_eq!(returned.by, (5..9).map(|n| (worker(n), Millis(n))).collect());
    }

    #[test]
    fn fixed_delay_is_constant_and_exponential_delay_doubles_up_to_its_maximum() {
        let secs = |backoff, attempt| delay(backoff, attempt).as_secs();
        assert_eq!(secs(Backoff::None, 7), 0);
        let fixed = Backoff::Fixed { delay_secs: 5 };
        assert_eq!([0, 1, 90].map(|attempt| secs(fixed, attempt)), [5, 5, 5]);
        let doubling = Backoff::Exponential { base_secs: 10, max_secs: 300 };
        assert_eq!(
            [0, 1, 2, 4, 5, 63, 64, 99].map(|attempt| secs(doubling, attempt)),
            [10, 20, 40, 160, 300, 300, 300, 300]
        );
    }
}
