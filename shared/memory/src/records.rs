//! Job records by run, and the ready lists by pool.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::ids::{JobIndex, JobKey, PoolId, RunKey};
use engine::job::{JobRecord, Phase};
use protocol::Millis;

/// All job records. A lookup doesn't take longer with more runs.
#[derive(Default)]
pub(crate) struct Jobs {
    runs: HashMap<RunKey, BTreeMap<JobIndex, Box<JobRecord>>>,
    /// No list is empty.
    ready: HashMap<PoolId, BTreeSet<(Millis, JobKey)>>,
}

impl Jobs {
    pub(crate) fn get(&self, run: &RunKey, index: JobIndex) -> Option<&JobRecord> {
        self.runs.get(run)?.get(&index).map(AsRef::as_ref)
    }

    /// The jobs of a run in index order, starting at `from`.
    pub(crate) fn from(&self, run: &RunKey, from: JobIndex) -> impl Iterator<Item = &JobRecord> {
        self.runs.get(run).into_iter().flat_map(move |jobs| jobs.range(from..)).map(|(_, job)| job.as_ref())
    }

    /// Replaces a job's record, and its entry in its pool's ready list. Returns the record before.
    pub(crate) fn put(&mut self, new: JobRecord) -> Option<JobRecord> {
        if let Phase::Ready { at, .. } = new.phase {
            self.ready.entry(new.pool.clone()).or_default().insert((at, new.key.clone()));
        }
        let after = ready_at(&new);
        let jobs = self.runs.entry(new.key.run.clone()).or_default();
        let Some(slot) = jobs.get_mut(&new.key.index) else {
            jobs.insert(new.key.index, Box::new(new));
            return None;
        };
        let old = std::mem::replace(&mut **slot, new);
        if let Some(at) = ready_at(&old).filter(|at| after != Some(*at)) {
            self.take_off(&old.pool, at, &old.key);
        }
        Some(old)
    }

    /// The ready list of a pool, oldest first.
    pub(crate) fn ready(&self, pool: &PoolId) -> impl Iterator<Item = &(Millis, JobKey)> {
        self.ready.get(pool).into_iter().flatten()
    }

    /// True if a job of the pool is in its ready list.
    pub(crate) fn has_ready(&self, pool: &PoolId) -> bool {
        self.ready.contains_key(pool)
    }

    /// Removes all jobs of a run.
    pub(crate) fn remove_run(&mut self, run: &RunKey) {
        for job in self.runs.remove(run).unwrap_or_default().into_values() {
            if let Some(at) = ready_at(&job) {
                self.take_off(&job.pool, at, &job.key);
            }
        }
    }

    fn take_off(&mut self, pool: &PoolId, at: Millis, key: &JobKey) {
        let Some(list) = self.ready.get_mut(pool) else { return };
        list.remove(&(at, key.clone()));
        if list.is_empty() {
            self.ready.remove(pool);
        }
    }
}

fn ready_at(job: &JobRecord) -> Option<Millis> {
    match job.phase {
        Phase::Ready { at, .. } => Some(at),
        _ => None,
    }
}
