//! The real engine on simulated ports. A seed determines a world: random workflows, workers, clients and faults.
//! Handlers pause or die before any call on a port. Reads may be old and answers may be lost. Change events and messages arrive
//! late, twice and, in lossy worlds, never. Every write and every answer is checked against the promises. So is the state at
//! quiescent points and at the end.
//!
//! The same seed gives the same world, call by call.

// In this order: each module uses only those above.
pub mod counts;
mod rng;

mod faults;
mod graph;

mod linked;

mod cell;
mod gate;
mod task;
mod trace;

pub mod bugs;
mod expected;
mod words;

mod world;

mod call;
mod cost_checks;
mod state_checks;

mod write_checks;

mod run_checks;

mod answer_checks;
mod store;

mod ports;

mod groups;

mod access;
mod forge_port;
mod handler;

mod pushes;

mod actors;

mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bugs::Bug;
use counts::Counts;
use sim::Sim;
use trace::Trace;

/// The result of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// Counts of events.
    pub counts: Counts,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed. `traced`: keep its trace.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>, traced: bool) -> Report {
    let mut sim = Sim::new(seed, bug, if traced { Trace::enabled() } else { Trace::default() });
    let panicked = catch_unwind(AssertUnwindSafe(|| sim.run())).is_err();
    let mut world = sim.shared.world();
    let broken = world.expected.violation.take().or(panicked.then(|| "the engine panicked".to_owned()));
    let (counts, trace) = (std::mem::take(&mut world.counts), std::mem::take(&mut world.trace));
    Report { seed, broken, counts, trace: trace.into_lines() }
}

/// The result of many seeds.
#[derive(Debug, Default)]
pub struct Results {
    /// The counts of all seeds.
    pub counts: Counts,
    /// The seeds that broke a promise, in order, with the promise.
    pub broken: Vec<(u64, String)>,
    /// The time it took.
    pub took: Duration,
}

/// Runs `seeds` seeds from `from` on, on all processors.
///
/// # Panics
/// If a thread panics outside of a seed.
#[must_use]
pub fn run_all(from: u64, seeds: u64, bug: Option<Bug>) -> Results {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut results = Results::default();
    let share = || {
        let mut share = Results::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return share;
            }
            let report = run(seed, bug, false);
            share.counts.merge(&report.counts);
            share.broken.extend(report.broken.map(|broken| (seed, broken)));
        }
    };
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
        for share in shares {
            let share = share.join().expect("a seed's panic is caught");
            results.counts.merge(&share.counts);
            results.broken.extend(share.broken);
        }
    });
    results.broken.sort();
    results.took = began.elapsed();
    results
}

/// The first of `within` seeds that finds a planted bug: with it a promise is broken, and without it none is.
#[must_use]
pub fn find(bug: Bug, from: u64, within: u64) -> Option<Report> {
    let broken = |seed, bug| Some(run(seed, bug, false)).filter(|report| report.broken.is_some());
    (from..from + within).filter_map(|seed| broken(seed, Some(bug))).find(|report| broken(report.seed, None).is_none())
}
