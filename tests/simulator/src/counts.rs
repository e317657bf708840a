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
    ("runs that succeeded", 40),
    ("runs that failed", 50),
    ("runs that were cancelled", 40),
    ("re-runs", 30),
    ("jobs that ended", 900),
    ("jobs kept", 10),
    ("jobs skipped", 100),
    ("jobs given out", 500),
    ("next jobs given", 20),
    ("next jobs given again", 1),
    ("tries again", 100),
    ("attempts failed", 30),
    ("attempts lost", 100),
    ("attempts timed out", 20),
    ("jobs untaken in time", 20),
    ("leases cut to a timeout", 100),
    ("handlers killed", 500),
    ("answers lost", 50),
    ("answers unheard", 100),
    ("calls unavailable", 70),
    ("stale reads", 600),
    ("batches repeated", 50),
    ("messages again", 100),
    ("messages repeated", 60),
    ("records lost", 9),
    ("reports repeated", 400),
    ("late reports refused", 200),
    ("timers fired", 800),
    ("timers set in time", 80),
    ("cancels answered", 70),
    ("deletes answered", 7),
    ("claims undone", 20),
    ("ended workflows read", 80),
    ("lists", 40),
    ("calms", 200),
];

/// What is below its floor after so many seeds.
#[must_use]
pub fn meaningless(counts: &Counts, seeds: u64) -> Vec<String> {
    let low = FLOORS.iter().map(|(what, floor)| (what, counts.of(what), floor * seeds / 100));
    low.filter(|(_, times, floor)| times < floor)
        .map(|(what, times, floor)| format!("{what}: {times}, expected at least {floor}"))
        .collect()
}
