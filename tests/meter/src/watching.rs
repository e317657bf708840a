//! What it costs to watch a run in the page, on a stack whose function `query` answers what there is and holds no stream.

use std::fmt::Write;

use cost::{CallFigures, Figures, Prices, Usage, rounded};
use harness::Run;

use crate::driver::Driver;

/// Jobs of the runs that are watched. Half of them have ended.
const SIZES: [u32; 2] = [20, 1000];
/// Jobs of a run whose cost follows from the largest measured one. Its submission alone would take a minute on an emulator.
const BY_RULE: u32 = 10_000;
/// The API asks for the next read after so many ms for each unfinished job, if that is more than its least interval.
const RETRY_FOR_EACH: f64 = 2.0;
/// Seconds between two requests of the page that ask whether its token is still valid.
const ME_EVERY: f64 = 30.0;
/// Seconds of an hour.
const HOUR: f64 = 3600.0;
/// The item of the jobs in the counts.
const JOB: &str = "job";

/// A read of a run's events in which nothing has changed.
struct Poll {
    usage: Usage,
    /// The part of it for the jobs that are read.
    of_jobs: Usage,
    /// Seconds until the next read, as the answer asks.
    every: f64,
}

/// Measures reads of a run's events, and what an hour of them costs.
pub async fn measure(driver: &mut Driver, prices: &Prices, figures: &mut Figures) {
    let me = me(driver).await;
    figures.calls.insert("me".to_owned(), CallFigures::of(me, prices));
    let mut hour = |jobs: u32, poll: &Poll| {
        figures.calls.insert(format!("events_{jobs}_jobs"), CallFigures::of(poll.usage, prices));
        let usage = poll.usage * (HOUR / poll.every) + me * (HOUR / ME_EVERY);
        figures.watching_usd_per_1000_hours.insert(format!("{jobs} jobs"), rounded(usage.usd(prices) * 1000.0));
    };
    for jobs in SIZES {
        let poll = poll(driver, jobs).await;
        hour(jobs, &poll);
        if jobs == SIZES[SIZES.len() - 1] {
            hour(BY_RULE, &scaled(&poll, f64::from(BY_RULE) / f64::from(jobs)));
        }
    }
}

/// A read of a run with `by` times as many jobs: the part for its jobs is in proportion. The next one is later, by the API's rule.
fn scaled(poll: &Poll, by: f64) -> Poll {
    let unfinished = f64::from(BY_RULE) / 2.0;
    Poll {
        usage: poll.usage + poll.of_jobs * (by - 1.0),
        of_jobs: poll.of_jobs * by,
        every: poll.every.max(unfinished * RETRY_FOR_EACH / 1000.0),
    }
}

/// Reads the events of a run of which the earlier half of the jobs has ended, until nothing is new, and then once more.
async fn poll(driver: &mut Driver, jobs: u32) -> Poll {
    let run = half_ended(driver, jobs).await;
    let (snapshot, _) = driver.events(&run, "").await;
    let (last, _) = driver.events(&run, &snapshot).await;
    driver.begin();
    let (_, every) = driver.events(&run, &last).await;
    let ledger = driver.end();
    let of_jobs = ledger.by_item().get(JOB).copied().unwrap_or_default();
    run.cancel().await;
    driver.settle(1).await;
    driver.forget_timers();
    Poll { usage: ledger.total(), of_jobs, every }
}

/// A run of which the first job failed, so that those that need it are skipped. The other half waits for a job that nobody claims.
async fn half_ended(driver: &mut Driver, jobs: u32) -> Run {
    driver.begin();
    let mut definition = String::from("jobs:\n");
    for half in ["first", "second"] {
        let _ = writeln!(definition, "  {half}: {{run: 'true', labels: ['{{label}}', '{{label}}-{half}']}}");
        for job in 1..jobs / 2 {
            let _ = writeln!(definition, "  {half}-{job:04}: {{run: 'true', labels: {{label}}, needs: {half}}}");
        }
    }
    let run = driver.submit(&definition).await;
    driver.settle(1).await;
    // Until function `claim` reads the list of pools again, it doesn't know the pool of this job.
    let held = driver.worker().labelled("{label},{label}-first").claims("first").await;
    held.fail("it failed", false).await.expect("accepted");
    driver.settle(1).await;
    run
}

/// The request by which the page learns whether its token is still valid.
async fn me(driver: &mut Driver) -> Usage {
    driver.me().await;
    driver.begin();
    driver.me().await;
    driver.end().total()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_times_as_many_jobs_are_read_less_often_for_ten_times_the_units() {
        let units = |read_units| Usage { read_units, ..Usage::default() };
        let thousand = Poll { usage: units(42.0), of_jobs: units(40.0), every: 2.0 };
        let ten = scaled(&thousand, 10.0);
        assert_eq!((ten.usage, ten.of_jobs), (units(402.0), units(400.0)));
        assert!((ten.every - 10.0).abs() < 1e-9);
    }
}
