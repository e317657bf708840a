//! The real engine on simulated ports. A seed gives a world: random workflows, workers and clients, and faults.
//! Handlers stop between any two calls on a port, are paused, killed, given old reads and lost answers; records of the
//! change feed and messages come late, twice, and in worlds marked so never. Every write, every answer, every time of
//! calm and the end are held against what was promised.
//!
//! The same seed gives the same world, call by call.

mod access;
mod actors;
mod answers;
pub mod bugs;
mod cell;
pub mod counts;
mod faults;
mod gate;
mod graph;
mod ports;
mod rng;
mod sim;
mod store;
mod task;
mod trace;
mod watch;
mod words;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bugs::Bug;
use counts::Counts;
use sim::Sim;
use trace::Trace;

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The first promise that was broken.
    pub broken: Option<String>,
    /// What happened how often.
    pub counts: Counts,
    /// The story, if it was asked for.
    pub story: Vec<String>,
}

/// Plays one seed. `told`: keep its story.
#[must_use]
pub fn play(seed: u64, bug: Option<Bug>, traced: bool) -> Report {
    let mut sim = Sim::new(seed, bug, if traced { Trace::enabled() } else { Trace::default() });
    let panicked = catch_unwind(AssertUnwindSafe(|| sim.play())).is_err();
    let mut world = sim.shared.world();
    let broken = world.watch.violation.take().or(panicked.then(|| "it panicked".to_owned()));
    let (counts, trace) = (std::mem::take(&mut world.counts), std::mem::take(&mut world.trace));
    Report { seed, broken, counts, story: trace.into_lines() }
}

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Played {
    /// All together.
    pub counts: Counts,
    /// The seeds that broke a promise, in order, and which.
    pub broken: Vec<(u64, String)>,
    /// Of wall time.
    pub took: Duration,
}

/// Plays `seeds` seeds from `from` on, on all processors.
///
/// # Panics
/// If a thread does outside of a seed.
#[must_use]
pub fn play_all(from: u64, seeds: u64, bug: Option<Bug>) -> Played {
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut played = Played::default();
    let share = || {
        let mut share = Played::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                return share;
            }
            let report = play(seed, bug, false);
            share.counts.merge(&report.counts);
            share.broken.extend(report.broken.map(|broken| (seed, broken)));
        }
    };
    thread::scope(|scope| {
        let shares: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
        for share in shares {
            let share = share.join().expect("a seed's panic is caught");
            played.counts.merge(&share.counts);
            played.broken.extend(share.broken);
        }
    });
    played.broken.sort();
    played.took = began.elapsed();
    played
}

/// The first of so many seeds that finds a planted bug: all promises hold without it, and one doesn't with it.
#[must_use]
pub fn find(bug: Bug, from: u64, within: u64) -> Option<Report> {
    let broken = |seed, bug| Some(play(seed, bug, false)).filter(|report| report.broken.is_some());
    (from..from + within).filter_map(|seed| broken(seed, Some(bug))).find(|report| broken(report.seed, None).is_none())
}
