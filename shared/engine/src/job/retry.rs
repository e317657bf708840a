//! What an attempt's failure does to its job.

use std::time::Duration;

use protocol::Millis;
use protocol::wire::{Attempt, Backoff, Cause};

use super::{ATTEMPTS_KEPT, Change, End, JobOutcome, JobRecord, JobSpec, LastReport, Used};

/// Of an attempt's error, what its job's history keeps, in bytes.
const ERROR_KEPT: usize = 200;

/// How an attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What ended it.
    pub cause: Cause,
    /// For people.
    pub error: String,
    /// Of the command, if it ran.
    pub exit_code: Option<i32>,
    /// Whether another try could help.
    pub retryable: bool,
    /// To recognise a repeat; of an attempt that was never taken there is none.
    pub last_report: Option<LastReport>,
}

/// What an attempt's failure does to the job: another try while its cause has tries left, else the end.
#[must_use]
pub fn after_failure(record: &JobRecord, spec: &JobSpec, failure: Failure, now: Millis) -> Change {
    let failed = history(record, &failure, now);
    let Failure { cause, error, exit_code, retryable, last_report } = failure;
    let used = if retryable { spec.use_a_try(record.used, cause) } else { None };
    if let (Some(used), Some(last_report)) = (used, last_report.clone()) {
        let at = now + delay(spec.retry.backoff, record.attempt);
        return Change::Retry {
            pool: record.pool.clone(),
            at,
            until: record.limits.ready_until(at),
            attempt: record.attempt + 1,
            used,
            last_report,
            error,
            failed,
        };
    }
    let outcome = JobOutcome::Failure { exit_code };
    Change::End(End { last_report, error: Some(error), failed: Some(failed), ..End::unreported(outcome, now) })
}

impl JobSpec {
    /// One try more, from the cause's own budget if it has one; `None` if there is none left.
    fn use_a_try(&self, mut used: Used, cause: Cause) -> Option<Used> {
        let own = match cause {
            Cause::Failure => None,
            Cause::Lost => self.retry.budgets.lost.map(|budget| (budget, &mut used.lost)),
            Cause::Timeout => self.retry.budgets.timeout.map(|budget| (budget, &mut used.timeout)),
            Cause::QueueTimeout => return None,
        };
        let (budget, of_it) = own.unwrap_or((self.retry.max, &mut used.max));
        if *of_it >= budget {
            return None;
        }
        *of_it += 1;
        Some(used)
    }
}

/// How long the next try waits after the attempt of this number failed.
fn delay(backoff: Backoff, attempt: u32) -> Duration {
    Duration::from_secs(match backoff {
        Backoff::None => 0,
        Backoff::Fixed { delay_secs } => delay_secs,
        Backoff::Exponential { base_secs, max_secs } => {
            base_secs.saturating_mul(1_u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(max_secs)
        }
    })
}

fn history(record: &JobRecord, failure: &Failure, now: Millis) -> Vec<Attempt> {
    let hold = record.lease();
    let attempt = Attempt {
        attempt: record.attempt,
        cause: failure.cause,
        error: cut(failure.error.clone(), ERROR_KEPT),
        worker_id: hold.map(|hold| hold.worker.clone()),
        exit_code: failure.exit_code,
        started_at: hold.map(|hold| hold.started_at),
        finished_at_ms: now,
    };
    let skipped = (record.failed.len() + 1).saturating_sub(ATTEMPTS_KEPT);
    record.failed.iter().skip(skipped).cloned().chain([attempt]).collect()
}

/// At most `limit` bytes, cut between characters.
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
    fn a_fixed_delay_stays_and_an_exponential_one_doubles_up_to_its_most() {
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
