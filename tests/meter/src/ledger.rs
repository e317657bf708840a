//! Counts by step of a run and by kind of item.

use std::collections::BTreeMap;

use cost::Usage;

/// What was used, by step and by item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger(BTreeMap<(String, String), Usage>);

/// Items that all runs share. A warm process reads them once in seconds, however many jobs it handles, so their share of a job depends
/// on the rate of jobs. Counts of runs leave them out; the figures of idle workers have them.
const SHARED: [&str; 4] = ["pool", "token", "worker", "schema"];

/// True if all runs share the item.
#[must_use]
pub fn is_shared(item: &str) -> bool {
    SHARED.contains(&item.strip_prefix("index ").unwrap_or(item))
}

impl Ledger {
    /// Adds to a step and an item.
    pub fn add(&mut self, step: &str, item: &str, usage: Usage) {
        *self.0.entry((step.to_owned(), item.to_owned())).or_default() += usage;
    }

    /// Without the items that all runs share, but for these.
    #[must_use]
    pub fn without_shared(self, but: &[&str]) -> Self {
        let stays = |item: &str| !is_shared(item) || but.contains(&item);
        Self(self.0.into_iter().filter(|((_, item), _)| stays(item)).collect())
    }

    /// The sum of everything.
    #[must_use]
    pub fn total(&self) -> Usage {
        self.0.values().copied().sum()
    }

    /// The sums of all steps.
    #[must_use]
    pub fn by_step(&self) -> BTreeMap<String, Usage> {
        self.by(|(step, _)| step)
    }

    /// The sums of all items.
    #[must_use]
    pub fn by_item(&self) -> BTreeMap<String, Usage> {
        self.by(|(_, item)| item)
    }

    fn by(&self, name: impl Fn(&(String, String)) -> &String) -> BTreeMap<String, Usage> {
        let mut sums: BTreeMap<String, Usage> = BTreeMap::new();
        for (key, usage) in &self.0 {
            *sums.entry(name(key).clone()).or_default() += *usage;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(write_units: f64) -> Usage {
        Usage { write_units, ..Usage::default() }
    }

    #[test]
    fn a_ledger_sums_by_step_and_by_item() {
        let mut ledger = Ledger::default();
        ledger.add("claim", "job", writes(1.0));
        ledger.add("claim", "control", writes(3.0));
        ledger.add("complete", "job", writes(1.0));
        assert_eq!(ledger.total(), writes(5.0));
        assert_eq!(ledger.by_step()["claim"], writes(4.0));
        assert_eq!(ledger.by_item()["job"], writes(2.0));
    }

    #[test]
    fn items_that_all_runs_share_are_left_out_with_their_index_entries() {
        let mut ledger = Ledger::default();
        ledger.add("claim", "job", writes(1.0));
        ledger.add("claim", "index ready", writes(1.0));
        ledger.add("claim", "worker", writes(1.0));
        ledger.add("claim", "index worker", writes(2.0));
        assert_eq!(ledger.without_shared(&[]).total(), writes(2.0));
    }
}
