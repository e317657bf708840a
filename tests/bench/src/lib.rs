//! Measures servers that speak the worker protocol, and `wfg run` beside `make`. `cargo xtask bench` is its command.
//!
//! All targets are measured in turns, in one run, so that their figures can be compared. A figure alone depends on the machine.
//! A module uses only modules above it.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod http;

mod load;
mod sync;
pub mod target;

pub mod report;

pub mod cold;

mod local;
mod workloads;

use std::path::Path;

use anyhow::Result;
use report::Row;
use target::{Program, Target};
use workloads::Bench;

/// How large the workloads are.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// How often each figure is taken. The result is the median.
    pub rounds: usize,
    /// Clients at a time.
    pub threads: Vec<usize>,
    /// Jobs for each claim-and-complete measurement.
    pub jobs: usize,
    /// Workflows submitted.
    pub submissions: usize,
    /// Jobs that wait during claims.
    pub waiting: Vec<usize>,
    /// Pools with ready jobs during claims.
    pub pools: Vec<usize>,
    /// Workers that wait during claims.
    pub workers: Vec<usize>,
    /// Dependents of one job.
    pub dependents: Vec<usize>,
    /// Jobs of a chain.
    pub chain: usize,
    /// Jobs of `wfg run` that need nothing.
    pub roots: usize,
    /// Jobs that are finished to see what the server then needs.
    pub finished: usize,
}

impl Sizes {
    /// The sizes of a measurement.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 5,
            threads: vec![1, 4, 16],
            jobs: 2000,
            submissions: 200,
            waiting: vec![10, 1000, 100_000],
            pools: vec![1, 100, 1000],
            workers: vec![1, 100, 1000],
            dependents: vec![100, 1000, 9999],
            chain: 20,
            roots: 1000,
            finished: 100_000,
        }
    }

    /// The least sizes that run every line of a workload.
    #[must_use]
    pub fn least() -> Self {
        Self {
            rounds: 1,
            threads: vec![1, 2],
            jobs: 10,
            submissions: 2,
            waiting: vec![5],
            pools: vec![1, 3],
            workers: vec![2],
            dependents: vec![20],
            chain: 4,
            roots: 4,
            finished: 20,
        }
    }
}

/// A workload by its name on the command line.
pub const WORKLOADS: [&str; 8] = ["claims", "submit", "waiting", "pools", "workers", "dependents", "next", "finished"];
/// The comparison of `wfg run` with `make`, by its name on the command line.
pub const LOCAL: &str = "run";

/// Runs one of [`WORKLOADS`] on all targets, and passes each row on as it comes.
pub fn measure(name: &str, targets: &[Target], folder: &Path, sizes: &Sizes, mut show: impl FnMut(Row)) -> Result<()> {
    let bench = Bench { targets, folder, rounds: sizes.rounds };
    let mut each = |sizes: &[usize], of: &dyn Fn(usize) -> Result<Vec<Row>>| -> Result<()> {
        sizes.iter().try_for_each(|size| of(*size).map(|rows| rows.into_iter().for_each(&mut show)))
    };
    match name {
        "claims" => each(&sizes.threads, &|threads| bench.claims(threads, sizes.jobs)),
        "submit" => each(&[sizes.submissions], &|count| bench.submissions(count)),
        "waiting" => each(&sizes.waiting, &|jobs| bench.waiting_jobs(jobs)),
        "pools" => each(&sizes.pools, &|pools| bench.pools(pools)),
        "workers" => each(&sizes.workers, &|workers| bench.waiting_workers(workers)),
        "dependents" => each(&sizes.dependents, &|count| bench.dependents(count)),
        "next" => each(&[sizes.chain], &|jobs| bench.next_jobs(jobs)),
        "finished" => each(&[sizes.finished], &|jobs| bench.finished(jobs)),
        _ => anyhow::bail!("there is no workload `{name}`; there are {} and {LOCAL}", WORKLOADS.join(", ")),
    }
}

/// Runs graphs with `wfg run` and with `make`.
pub fn compare_local(programs: &[Program], sizes: &Sizes) -> Result<Vec<Row>> {
    local::compare(programs, sizes.roots, sizes.chain, sizes.rounds)
}
