//! How often what happened.

use std::collections::BTreeMap;

/// Named numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// So many more.
    pub fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    /// All of another's.
    pub fn merge(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            self.add(what, *times);
        }
    }

    /// How often.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(what, times)| (*what, *times))
    }
}

/// What a hundred seeds bring of each at the very least. Below that, that nothing was broken means nothing.
pub const FLOORS: &[(&str, u64)] = &[
    ("runs that succeeded", 25),
    ("runs that failed", 25),
    ("runs that were cancelled", 30),
    ("re-runs", 15),
    ("jobs that ended", 500),
    ("jobs kept", 3),
    ("jobs skipped", 70),
    ("jobs given out", 300),
    ("tries again", 50),
    ("leases lost", 60),
    ("handlers killed", 300),
    ("answers lost", 30),
    ("answers unheard", 200),
    ("calls unavailable", 50),
    ("stale reads", 800),
    ("batches repeated", 30),
    ("messages again", 10),
    ("messages repeated", 7),
    ("records lost", 3),
    ("reports repeated", 300),
    ("late reports refused", 250),
    ("cancels answered", 50),
    ("deletes answered", 4),
    ("claims undone", 10),
    ("ended workflows looked at", 40),
    ("lists", 40),
    ("calms", 150),
];

/// What is below its floor after so many seeds.
#[must_use]
pub fn meaningless(counts: &Counts, seeds: u64) -> Vec<String> {
    let low = FLOORS.iter().map(|(what, floor)| (what, counts.of(what), floor * seeds / 100));
    low.filter(|(_, times, floor)| times < floor)
        .map(|(what, times, floor)| format!("{what}: {times}, expected at least {floor}"))
        .collect()
}
