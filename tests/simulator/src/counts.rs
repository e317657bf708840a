//! Counts of events, and how many of each a run must have to mean anything.

use std::collections::BTreeMap;

/// Numbers and largest values by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    times: BTreeMap<&'static str, u64>,
    most: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Adds to a number.
    pub fn add(&mut self, name: &'static str, times: u64) {
        *self.times.entry(name).or_default() += times;
    }

    /// Raises the largest value of this name.
    pub fn most(&mut self, name: &'static str, value: u64) {
        let most = self.most.entry(name).or_default();
        *most = (*most).max(value);
    }

    /// Adds all numbers of another, and takes its larger values.
    pub fn merge(&mut self, other: &Self) {
        for (name, times) in &other.times {
            self.add(name, *times);
        }
        for (name, value) in &other.most {
            self.most(name, *value);
        }
    }

    /// The largest values, sorted by name.
    pub fn largest(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.most.iter().map(|(name, value)| (*name, *value))
    }

    /// The number of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.times.get(name).copied().unwrap_or_default()
    }

    /// All numbers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.times.iter().map(|(name, times)| (*name, *times))
    }
}

/// The least number of each event in a hundred seeds. With fewer, the checks had too little to check.
pub const FLOORS: &[(&str, u64)] = &[
    ("runs succeeded", 40),
    ("runs failed", 50),
    ("runs cancelled", 40),
    ("re-runs", 30),
    ("jobs ended", 900),
    ("jobs kept by a re-run", 10),
    ("jobs skipped", 100),
    ("jobs skipped below others", 100),
    ("jobs skipped by their condition", 80),
    ("jobs skipped by their exit code", 2),
    ("jobs run after a failure", 20),
    ("jobs run after any end", 80),
    ("jobs run after a failed run", 15),
    ("failures allowed", 15),
    ("jobs claimed", 500),
    ("next jobs", 20),
    ("next jobs repeated", 1),
    ("retries", 100),
    ("attempts failed", 30),
    ("attempts lost", 100),
    ("attempts timed out", 20),
    ("jobs returned by workers", 10),
    ("jobs returned by claims", 2),
    ("queue timeouts", 20),
    ("leases cut to a timeout", 100),
    ("handlers killed", 500),
    ("answers lost", 50),
    ("answers dropped", 100),
    ("calls unavailable", 70),
    ("stale reads", 600),
    ("batches repeated", 50),
    ("messages redelivered", 100),
    ("messages repeated", 60),
    ("records lost", 9),
    ("reports repeated", 400),
    ("late reports refused", 200),
    ("timers fired", 800),
    ("timers checked", 80),
    ("cancels answered", 70),
    ("deletes answered", 7),
    ("claims undone by a cancel", 20),
    ("final statuses read", 80),
    ("lists read", 40),
    ("turns of jobs", 150),
    ("turns of runs", 60),
    ("runs superseded", 5),
    ("quiescent points", 200),
    ("pushes", 25),
    ("workflows started by pushes", 30),
    ("deliveries lost", 2),
    ("deliveries repeated", 10),
    ("deliveries asked for again", 1),
    ("forge's answers lagging", 1),
    ("re-runs asked for at the forge", 15),
    ("states sent", 700),
    ("states landing late", 3),
    ("states shown in the end", 200),
    ("credentials refused", 2),
];

/// The events that were too rare in this number of seeds.
#[must_use]
pub fn too_rare(counts: &Counts, seeds: u64) -> Vec<String> {
    let low = FLOORS.iter().map(|(name, floor)| (name, counts.of(name), floor * seeds / 100));
    low.filter(|(_, times, floor)| times < floor)
        .map(|(name, times, floor)| format!("{name}: {times}, expected at least {floor}"))
        .collect()
}
