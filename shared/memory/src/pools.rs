//! The pools that were added, by the first of their labels.

use std::collections::BTreeMap;

use engine::ids::PoolId;
use engine::ports::Pool;
use protocol::{Label, LabelSet, Millis};

/// The pools that were added, each with the time at which this was done last.
#[derive(Default)]
pub(crate) struct Pools {
    /// `None` is the first label of a pool without labels. No inner map is empty.
    by_first_label: BTreeMap<Option<Label>, BTreeMap<PoolId, (Pool, Millis)>>,
}

impl Pools {
    /// Adds a pool, or replaces it.
    pub(crate) fn add(&mut self, pool: Pool, now: Millis) {
        let first = pool.labels.iter().next().cloned();
        self.by_first_label.entry(first).or_default().insert(pool.id.clone(), (pool, now));
    }

    /// All pools.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Pool, Millis)> {
        self.by_first_label.values().flat_map(BTreeMap::values).map(|(pool, used_at)| (pool, *used_at))
    }

    /// The pools without labels, and those whose first label is one of these. A worker with these labels covers no others.
    pub(crate) fn maybe_covered<'a>(&'a self, labels: &'a LabelSet) -> impl Iterator<Item = &'a Pool> {
        let first = std::iter::once(None).chain(labels.iter().cloned().map(Some));
        first.filter_map(move |first| self.by_first_label.get(&first)).flat_map(BTreeMap::values).map(|(pool, _)| pool)
    }

    /// Removes the pools for which `keep` is false.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Pool, Millis) -> bool) {
        self.by_first_label.retain(|_, pools| {
            pools.retain(|_, (pool, used_at)| keep(pool, *used_at));
            !pools.is_empty()
        });
    }
}
