//! A few hundred simulated worlds for every test run. `cargo xtask sim --seeds 20000` runs more.

use simulator::bugs::Bug;
use simulator::counts::too_rare;
use simulator::{find, run, run_all};

/// Simulated worlds, unless `WFG_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 300;
/// The rarest planted bug is found in about one of 500 worlds.
const FOUND_WITHIN: u64 = 2000;

#[test]
fn all_promises_hold_and_every_run_ends_under_any_faults() {
    let seeds = std::env::var("WFG_SIM_SEEDS").map_or(SEEDS, |text| text.parse().expect("WFG_SIM_SEEDS is a number"));
    let result = run_all(0, seeds, None);
    assert!(result.broken.is_empty(), "`cargo xtask sim --seed N --trace` prints the trace: {:#?}", result.broken);
    assert_eq!(too_rare(&result.counts, seeds), Vec::<String>::new());
}

#[test]
fn seed_determines_every_call() {
    for seed in 0..10 {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(first.trace.len() > 100, "seed {seed} has a trace");
        assert!(first.trace == second.trace, "seed {seed} differs in its second run");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::all() {
        assert!(find(bug, 0, FOUND_WITHIN).is_some(), "{bug} was not found within {FOUND_WITHIN} seeds");
    }
}
