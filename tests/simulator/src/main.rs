//! `sim`: runs many seeds, prints the trace of one, or checks that planted bugs are found.

use std::process::ExitCode;

use clap::Parser;
use simulator::bugs::Bug;
use simulator::counts::too_rare;
use simulator::{find, run, run_all};

/// A planted bug must be found within this many seeds.
const FOUND_WITHIN: u64 = 2000;

/// Runs the real engine on simulated ports and checks its promises.
#[derive(Parser)]
struct Args {
    /// The number of seeds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Describe its trace.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plant each of the bugs, and fail unless each is found.
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    bugs: bool,
    /// Plant this bug.
    #[arg(long, conflicts_with = "bugs", value_parser = bug)]
    bug: Option<Bug>,
}

fn bug(name: &str) -> Result<Bug, String> {
    let names: Vec<String> = Bug::all().map(|bug| bug.to_string()).collect();
    let found = Bug::all().find(|bug| bug.to_string() == name);
    found.ok_or_else(|| format!("there is no bug of this name; there are {}", names.join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let good = match args.seed {
        _ if args.bugs => bugs(args.from),
        Some(seed) => one(seed, args.trace, args.bug),
        None => many(args.from, args.seeds, args.bug),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, traced: bool, bug: Option<Bug>) -> bool {
    let report = run(seed, bug, traced);
    for line in &report.trace {
        println!("{line}");
    }
    match &report.broken {
        Some(broken) => println!("seed {seed}: BROKEN: {broken}"),
        None => println!("seed {seed}: no promise was broken"),
    }
    report.broken.is_none()
}

fn many(from: u64, seeds: u64, bug: Option<Bug>) -> bool {
    let results = run_all(from, seeds, bug);
    let (counts, secs) = (&results.counts, results.took.as_secs_f64());
    let runs: u64 = counts.iter().filter(|(what, _)| what.starts_with("runs ")).map(|(_, times)| times).sum();
    println!("seeds {from} to {}: {runs} runs, {} jobs ended", from + seeds - 1, counts.of("jobs ended"));
    for (what, times) in counts.iter() {
        println!("  {what:28} {times:>10}");
    }
    for (name, value) in counts.largest() {
        println!("  most {name:28} {value:>10}");
    }
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let rate = seeds as f64 / secs;
    println!("{secs:.1} s, {rate:.0} seeds/s");
    for (seed, broken) in &results.broken {
        println!("seed {seed}: BROKEN: {broken}");
    }
    let uncommon = too_rare(counts, seeds);
    for low in &uncommon {
        println!("TOO RARE: {low}");
    }
    if let Some((seed, _)) = results.broken.first() {
        println!(
            "{} seeds broke a promise; `--seed {seed} --trace` prints the trace of the first",
            results.broken.len()
        );
    }
    results.broken.is_empty() && uncommon.is_empty()
}

fn bugs(from: u64) -> bool {
    let mut good = true;
    for bug in Bug::all() {
        if let Some(report) = find(bug, from, FOUND_WITHIN) {
            let broken = report.broken.unwrap_or_default();
            println!("{bug:24} found within {:4} seeds, by {}: {broken}", report.seed - from + 1, report.seed);
        } else {
            good = false;
            println!("{bug:24} NOT FOUND within {FOUND_WITHIN} seeds");
        }
    }
    good
}
