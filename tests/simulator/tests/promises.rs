//! A few hundred simulated worlds for every test run. `cargo xtask sim --seeds 20000` runs more.

use simulator::bugs::Bug;
use simulator::counts::too_rare;
use simulator::{find, run, run_all};

/// Simulated worlds, unless `WFG_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 300;
/// The rarest planted bug is found in about one of 500 worlds.
const FOUND_WITHIN: u64 = 2000;

/// Parses a number of worlds. With none, every promise would hold.
fn seeds(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|seeds| *seeds > 0).ok_or_else(|| format!("{text:?} is not a number of at least 1"))
}

#[test]
fn number_of_worlds_is_at_least_one() {
    assert_eq!(seeds("1"), Ok(1));
    for refused in ["0", "", "-1", "many"] {
        assert!(seeds(refused).is_err_and(|error| error.contains(refused)), "{refused:?}");
    }
}

#[test]
fn all_promises_hold_and_every_run_ends_under_any_faults() {
    let seeds = std::env::var("WFG_SIM_SEEDS").map_or(Ok(SEEDS), |text| seeds(&text)).expect("WFG_SIM_SEEDS");
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
