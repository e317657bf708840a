//! The estimate of what a run costs, from its records and from the measured figures.

use protocol::limits;
use serde::Serialize;

use crate::figures::{Figures, GraphFigures, rounded};

/// Outputs up to this size are in the job's item, and cost nothing more. In bytes of JSON.
const INLINE: usize = 256;
/// The sizes of the outputs that were measured, in bytes.
const MEASURED: [f64; 2] = [10_000.0, 64_000.0];

/// A run, as far as its cost depends on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunShape {
    /// Its jobs.
    pub jobs: Vec<JobShape>,
    /// The time from its start to its end, or to now, in seconds.
    pub secs: f64,
}

/// A job of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobShape {
    /// Attempts that a worker has begun. None for a job that was skipped, or taken from an earlier run.
    pub attempts: u32,
    /// The time of all attempts together, in seconds.
    pub secs: f64,
    /// The size of its outputs, in bytes.
    pub output_bytes: usize,
    /// The number of secrets that it receives.
    pub secrets: usize,
}

/// What a run costs, in dollars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The sum.
    pub usd: f64,
    /// The parts of the sum that aren't zero.
    pub parts: Vec<Part>,
}

/// A part of an estimate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What it is for.
    pub what: &'static str,
    /// How many there are.
    pub count: f64,
    /// Dollars for all of them.
    pub usd: f64,
}

impl Estimate {
    /// Estimates a run. `None` if the figures lack one that it needs.
    #[must_use]
    pub fn of(run: &RunShape, figures: &Figures) -> Option<Self> {
        let (single, chain) = (figures.graphs.get("single")?, figures.graphs.get("chain20")?);
        let call = |name: &str| figures.calls.get(name).map(|call| call.usd_per_million);
        let (one, ten, sixty_four) = (slope(single, chain, total), call("output_10_kb")?, call("output_64_kb")?);
        let output = |bytes: usize| {
            #[expect(clippy::cast_precision_loss, reason = "outputs are at most megabytes")]
            let bytes = bytes as f64;
            let [small, large] = MEASURED;
            if bytes <= small {
                ten * bytes / small
            } else {
                ten + (sixty_four - ten) * ((bytes - small) / (large - small)).min(1.0)
            }
        };
        let outputs = || run.jobs.iter().map(|job| job.output_bytes).filter(|bytes| *bytes > INLINE);
        let (begun, rest): (Vec<&JobShape>, Vec<&JobShape>) = run.jobs.iter().partition(|job| job.attempts > 0);
        let further: u32 = begun.iter().map(|job| job.attempts - 1).sum();
        // The times between two heartbeats, and between two looks, with the lease that a stack recommends.
        let lease = f64::from(limits::LEASE_ON_AWS_SECS);
        let (heartbeat_every, look_every) = (lease / 3.0, lease * 5.0 / 6.0);
        let heartbeats: f64 = begun.iter().map(|job| (job.secs / heartbeat_every).floor()).sum();
        let looks = if heartbeats > 0.0 { (run.secs / look_every).floor() } else { 0.0 };
        let secrets: usize = begun.iter().map(|job| job.secrets).sum();
        let per_step = |name: &str| chain.by_step.get(name).copied().unwrap_or_default();
        let parts = [
            ("the run itself", 1.0, total(single) - one),
            ("jobs that were begun", count(begun.len()), one),
            (
                "jobs that were not begun",
                count(rest.len()),
                slope(single, chain, |graph| graph.by_step.get("submit").copied().unwrap_or_default()),
            ),
            ("further attempts", f64::from(further), per_step("claim") + per_step("complete")),
            ("heartbeats of jobs", heartbeats, call("heartbeat")?),
            ("looks of the timer", looks, call("timer_look")?),
            ("secrets", count(secrets), call("secret")?),
        ];
        let of_outputs =
            Part { what: "outputs", count: count(outputs().count()), usd: outputs().map(output).sum::<f64>() / 1e6 };
        let parts =
            parts.map(|(what, count, usd_per_million)| Part { what, count, usd: count * usd_per_million / 1e6 });
        let parts: Vec<Part> = parts.into_iter().chain([of_outputs]).filter(|part| part.count > 0.0).collect();
        Some(Self { usd: parts.iter().map(|part| part.usd).sum(), parts })
    }
}

fn total(graph: &GraphFigures) -> f64 {
    graph.usd_per_million_jobs
}

/// What each job of a run adds, from a run of one job and one of many. In dollars for a million.
fn slope(single: &GraphFigures, chain: &GraphFigures, pick: impl Fn(&GraphFigures) -> f64) -> f64 {
    let jobs = count(chain.jobs);
    rounded((pick(chain) * jobs - pick(single)) / (jobs - 1.0))
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(jobs: usize, job: JobShape, secs: f64) -> RunShape {
        RunShape { jobs: vec![job; jobs], secs }
    }

    fn usd_per_million(run: &RunShape) -> f64 {
        Estimate::of(run, &Figures::measured()).expect("the budget has all figures").usd * 1e6
    }

    #[test]
    fn the_estimates_of_the_measured_graphs_are_what_was_measured() {
        let figures = Figures::measured();
        let short = JobShape { attempts: 1, ..JobShape::default() };
        for (graph, jobs) in [("single", 1), ("chain20", 20)] {
            let measured = figures.graphs[graph].usd_per_million_jobs * count(jobs);
            let estimated = usd_per_million(&run(jobs, short, 1.0));
            assert!((estimated / measured - 1.0).abs() < 0.01, "{graph}: {estimated} and {measured}");
        }
    }

    #[test]
    fn time_attempts_outputs_and_secrets_are_added() {
        let short = JobShape { attempts: 1, ..JobShape::default() };
        let least = usd_per_million(&run(1, short, 1.0));
        for more in [
            JobShape { attempts: 2, ..short },
            JobShape { secs: 600.0, ..short },
            JobShape { output_bytes: 5_000, ..short },
            JobShape { secrets: 1, ..short },
        ] {
            assert!(usd_per_million(&run(1, more, 600.0)) > least + 0.5, "{more:?}");
        }
        assert!(usd_per_million(&run(1, JobShape::default(), 1.0)) < least, "a job that was skipped");
    }
}
