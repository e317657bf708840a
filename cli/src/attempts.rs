//! Formats the failed attempts of a job as lines of text.

use protocol::wire::{Attempt, Cause, Job};

use crate::text::line;
use crate::time::duration;

/// What is known of a failed attempt of a job, which is counted from 0 here and from 1 in texts.
pub fn find(job: &Job, attempt: u32) -> Option<&Attempt> {
    job.attempts.iter().find(|failed| failed.attempt == attempt)
}

/// `2 of 3`: the number of the try that an attempt is, and how many there may be. An attempt that was given back used none.
///
/// `2` if the job has used more tries than `max_retries` allows: then it has budgets of its own for exit codes, lost
/// attempts or timeouts, which the server doesn't tell.
pub fn nth_try(job: &Job, attempt: u32) -> String {
    let (number, most) = (number_of(job, attempt), job.max_retries + 1);
    if number_of(job, job.attempt) > most { number.to_string() } else { format!("{number} of {most}") }
}

/// The try of the current attempt, for a table. Empty while the job has used one try and may use no other.
pub fn column(job: &Job) -> String {
    let only_one = job.max_retries == 0 && number_of(job, job.attempt) == 1;
    let not_begun = job.started_at.is_none() && job.attempt == 0;
    if only_one || not_begun { String::new() } else { nth_try(job, job.attempt) }
}

fn number_of(job: &Job, attempt: u32) -> u32 {
    // `returned` counts only attempts before the current one.
    let counted = |other: &&Attempt| other.cause == Cause::Returned && other.attempt < job.attempt;
    let later = job.attempts.iter().filter(counted).filter(|other| other.attempt >= attempt).count();
    let returned_before = job.returned.saturating_sub(u32::try_from(later).unwrap_or(u32::MAX));
    attempt.saturating_sub(returned_before) + 1
}

/// A line for each attempt that failed, in their order, and one for those that are no longer known.
pub fn all(job: &Job) -> Vec<String> {
    let forgotten = job.attempts.first().and_then(|first| match first.attempt {
        0 => None,
        1 => Some("attempt 1 failed too; its error is no longer stored".to_owned()),
        many => Some(format!("attempts 1 to {many} failed too; their errors are no longer stored")),
    });
    forgotten.into_iter().chain(job.attempts.iter().map(describe)).collect()
}

/// `attempt 1: lost after 31 s on w1: the worker was lost: its lease ended without a report`.
pub fn describe(attempt: &Attempt) -> String {
    let Attempt { attempt: number, error, worker_id, exit_code, started_at, finished_at_ms, .. } = attempt;
    let time = started_at.map(|started| format!(" after {}", duration(finished_at_ms.since(started))));
    let worker = worker_id.as_ref().map(|worker| format!(" on {worker}"));
    let code = exit_code.map(|code| format!("exit code {code}")).filter(|code| !error.contains(code));
    let code = code.map(|code| format!(" ({code})"));
    let [time, worker, code] = [time, worker, code].map(Option::unwrap_or_default);
    let error = if error.trim().is_empty() { String::new() } else { format!(": {}", line(error)) };
    format!("attempt {}: {}{time}{worker}{code}{error}", number + 1, word(attempt.cause))
}

fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Failure => "failed",
        Cause::Lost => "lost",
        Cause::Timeout => "timed out",
        Cause::QueueTimeout => "not taken in time",
        Cause::Returned => "given back",
    }
}

#[cfg(test)]
mod tests {
    use protocol::Status;

    use super::*;
    use crate::tests::{failed, job, started, tried};

    #[test]
    fn an_attempt_is_described_by_cause_time_worker_and_error() {
        let lost = "the worker was lost: its lease ended without a report";
        assert_eq!(describe(&failed(0, Cause::Lost, 31, lost)), format!("attempt 1: lost after 31 s on w1: {lost}"));
        let long = "it ran longer than its timeout of 90 s";
        assert_eq!(
            describe(&failed(3, Cause::Timeout, 90, long)),
            format!("attempt 4: timed out after 1 min 30 s on w1: {long}")
        );
        let nobody =
            Attempt { worker_id: None, started_at: None, ..failed(1, Cause::QueueTimeout, 0, "no worker took it") };
        assert_eq!(describe(&nobody), "attempt 2: not taken in time: no worker took it");
    }

    #[test]
    fn an_attempt_that_was_given_back_used_no_try() {
        let returned = |number| failed(number, Cause::Returned, 1, "its directory is gone");
        let attempts = vec![returned(0), failed(1, Cause::Failure, 3, "exit code 1"), returned(2)];
        let job = Job { attempt: 3, returned: 2, max_retries: 2, attempts, ..job("a", Status::Running) };
        let tries: Vec<String> = (0..4).map(|attempt| nth_try(&job, attempt)).collect();
        assert_eq!(tries, ["1 of 3", "1 of 3", "2 of 3", "2 of 3"]);
        assert_eq!(describe(&returned(0)), "attempt 1: given back after 1.0 s on w1: its directory is gone");
        let not_begun = Job { attempts: [job.attempts.clone(), vec![returned(3)]].concat(), ..job };
        assert_eq!(nth_try(&not_begun, 1), "1 of 3", "a claim of the current attempt failed");
    }

    #[test]
    fn tries_beyond_max_retries_are_numbered_without_a_total() {
        let exits = |max_retries, attempt| Job {
            max_retries,
            ..tried(Job { attempt, ..started("a", Status::Running, "w1", 3) }, 0..attempt)
        };
        let shown = |job: &Job| (0..=job.attempt).map(|attempt| nth_try(job, attempt)).collect::<Vec<_>>();
        assert_eq!(shown(&exits(0, 2)), ["1", "2", "3"]);
        assert_eq!(shown(&exits(1, 1)), ["1 of 2", "2 of 2"]);
        assert_eq!(shown(&exits(1, 2)), ["1", "2", "3"]);
        assert_eq!([(0, 0), (0, 2), (1, 1), (1, 2)].map(|(max, at)| column(&exits(max, at))), ["", "3", "2 of 2", "3"]);
    }

    #[test]
    fn an_exit_code_is_shown_once() {
        let with = |error| describe(&Attempt { exit_code: Some(7), ..failed(0, Cause::Failure, 12, error) });
        assert_eq!(with("exit code 7"), "attempt 1: failed after 12 s on w1: exit code 7");
        assert_eq!(with("no disk\nleft\n"), "attempt 1: failed after 12 s on w1 (exit code 7): no disk\\nleft");
        assert_eq!(with(""), "attempt 1: failed after 12 s on w1 (exit code 7)");
    }

    #[test]
    fn attempts_that_are_no_longer_known_are_not_passed_over() {
        let from = |first: u32| all(&crate::tests::tried(job("a", Status::Queued), first..first + 2));
        let known = |number| format!("attempt {}: failed after 3.0 s on w1: exit code {number}", number + 1);
        assert_eq!(from(0), [known(0), known(1)]);
        assert_eq!(from(1), ["attempt 1 failed too; its error is no longer stored".to_owned(), known(1), known(2)]);
        assert_eq!(from(9)[0], "attempts 1 to 9 failed too; their errors are no longer stored");
        assert_eq!(all(&job("a", Status::Success)), [""; 0]);
    }
}
