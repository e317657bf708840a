//! The retry rule: whether a failed attempt is followed by another attempt, and when.

use std::time::Duration;

use protocol::wire::{Attempt, Backoff, Cause};
use protocol::{Millis, WorkerId, limits};

use super::{ATTEMPTS_KEPT, Change, End, JobOutcome, JobRecord, JobSpec, LastReport, Returned, Used};

/// Bytes of an attempt's error text that the job's history keeps.
const ERROR_KEPT: usize = 200;

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

/// Returns the job's change after a failed attempt: another attempt while the cause has tries left, else the end.
#[must_use]
pub fn after_failure(record: &JobRecord, spec: &JobSpec, failure: Failure, now: Millis) -> Change {
    let failed = history(record, &failure, now);
    let Failure { cause, error, exit_code, retryable, last_report } = failure;
    let used = if retryable { spec.use_a_try(record.used, cause) } else { None };
    if let (Some(used), Some(last_report)) = (used, last_report.clone()) {
        let at = now + delay(spec.retry.backoff, record.attempt - record.used.returned);
        return next_attempt(record, at, Next { used, last_report, error, failed, returned: None });
    }
    let outcome = JobOutcome::Failure { exit_code };
    Change::End(End { last_report, error: Some(error), failed: Some(failed), ..End::unreported(outcome, now) })
}

/// An attempt that could not run, because of trouble that isn't the job's.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// The worker that could not run the job. `None` if the engine could not give the job to a worker.
    pub worker: Option<WorkerId>,
    /// True if the return counts towards [`limits::RETURNS`].
    pub counts: bool,
    /// The reason, for people.
    pub error: String,
    /// The delay before the next attempt.
    pub delay: Duration,
    /// Identifies the report, to recognise a repeat.
    pub last_report: LastReport,
}

/// Returns the job's change after an attempt was given back: ready again without using a try, or the end after
/// [`limits::RETURNS`] returns in a row.
#[must_use]
pub fn after_return(record: &JobRecord, back: GiveBack, now: Millis) -> Change {
    let GiveBack { worker, counts, error, delay, last_report } = back;
    let failure = Failure {
        cause: Cause::Returned,
        error,
        exit_code: None,
        retryable: true,
        last_report: Some(last_report.clone()),
    };
    let failed = history(record, &failure, now);
    let times = record.returned.as_ref().map_or(0, |returned| returned.times) + u32::from(counts);
    if counts && times >= limits::RETURNS {
        let error = format!("it was given back {times} times in a row; the last reason: {}", failure.error);
        let outcome = JobOutcome::Failure { exit_code: None };
        return Change::End(End {
            last_report: Some(last_report),
            error: Some(error),
            failed: Some(failed),
            ..End::unreported(outcome, now)
        });
    }
    let returned = Some(Returned { worker, at: now, times });
    let used = Used { returned: record.used.returned + 1, ..record.used };
    next_attempt(record, now + delay, Next { used, last_report, error: failure.error, failed, returned })
}

/// What the next attempt's record keeps of the attempts before.
struct Next {
    used: Used,
    last_report: LastReport,
    error: String,
    failed: Vec<Attempt>,
    returned: Option<Returned>,
}

fn next_attempt(record: &JobRecord, at: Millis, next: Next) -> Change {
    let Next { used, last_report, error, failed, returned } = next;
    Change::Retry {
        pool: record.pool.clone(),
        at,
        until: record.limits.ready_until(at),
        attempt: record.attempt + 1,
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

/// Returns the failed attempts that are kept, including this one.
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
