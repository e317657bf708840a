//! The jobs that a worker's record says the worker holds. Pure.
//!
//! The record is not written for every job: a claim writes it at most every [`NAMED_EVERY`], and a heartbeat of a job that it
//! doesn't name. So a list of workers costs no read of runs, and a short job costs no write.

use std::time::Duration;

use protocol::{Millis, WorkerId, limits};

use crate::ids::JobKey;
use crate::job::{JobRecord, Phase};
use crate::ports::{HeldJob, WorkerRecord};

/// The minimum time between two writes of a worker's record that name jobs which it took. An entry younger than this counts as
/// running. The job of an older one is read.
pub(crate) const NAMED_EVERY: Duration = Duration::from_secs(10);
/// A heartbeat renews an entry that is older than this.
const RENEWED_EVERY: Duration = Duration::from_mins(1);
/// An entry is kept at least this long, so that it is still there when it is renewed.
const KEPT: Duration = Duration::from_mins(2);

impl HeldJob {
    /// The entry of a running job.
    pub(crate) fn of(job: &JobRecord, now: Millis) -> Option<Self> {
        let Phase::Running(lease) = &job.phase else { return None };
        let (id, pool) = (job.id.clone(), job.pool.clone());
        Some(Self { job: job.key.clone(), id, pool, at: now, until: lease.until.max(now + KEPT) })
    }

    /// True if the job counts as running without a read.
    pub(crate) fn is_young(&self, now: Millis) -> bool {
        now.since(self.at) < NAMED_EVERY
    }

    /// True if a heartbeat will add the job to a record that lacks it.
    pub(crate) fn beats_soon(&self, now: Millis) -> bool {
        self.until <= now + KEPT
    }
}

impl JobRecord {
    /// True if the job runs under a valid lease of this worker.
    pub(crate) fn is_held_by(&self, worker: &WorkerId, now: Millis) -> bool {
        matches!(&self.phase, Phase::Running(lease) if lease.worker == *worker && lease.until > now)
    }
}

impl WorkerRecord {
    /// Adds a job, or replaces its entry. The oldest entries over [`limits::JOBS_NAMED`] are dropped.
    pub(crate) fn hold(&mut self, held: HeldJob) {
        let now = held.at;
        self.holds.retain(|other| other.job != held.job && other.until > now);
        self.holds.push(held);
        self.holds.sort_by_key(|held| held.at);
        let over = self.holds.len().saturating_sub(limits::JOBS_NAMED);
        self.holds.drain(..over);
    }

    /// Marks a job as no longer held. The entry remains, so that [`Self::with_holds_of`] doesn't restore an older one.
    pub(crate) fn let_go(&mut self, job: &JobKey, now: Millis) {
        for held in self.holds.iter_mut().filter(|held| held.job == *job) {
            (held.at, held.until) = (now, Millis(0));
        }
    }

    /// True if the record names the job, and the entry need not be renewed yet.
    pub(crate) fn names(&self, job: &JobKey, now: Millis) -> bool {
        self.holds.iter().any(|held| held.job == *job && held.until > now && now.since(held.at) < RENEWED_EVERY)
    }

    /// The record with the newer entry of each job that this or the other one names; of two of the same time, the other's.
    pub(crate) fn with_holds_of(mut self, other: &Self) -> Self {
        for held in &other.holds {
            match self.holds.iter_mut().find(|own| own.job == held.job) {
                Some(own) if own.at <= held.at => own.clone_from(held),
                Some(_) => {}
                None => self.holds.push(held.clone()),
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use protocol::requests::Transport;
    use protocol::{JobId, LabelSet};

    use super::*;
    use crate::ids::{PoolId, RunKey};

    fn held(index: u32, at: u64) -> HeldJob {
        HeldJob {
            job: JobKey::new(&RunKey::new([1; 16]), index),
            id: JobId::new(format!("job-{index}")).expect("an id"),
            pool: PoolId::of(&LabelSet::default()),
            at: Millis(at),
            until: Millis(at) + KEPT,
        }
    }

    fn worker(holds: Vec<HeldJob>) -> WorkerRecord {
        WorkerRecord {
            id: WorkerId::new("w").expect("an id"),
            labels: LabelSet::default(),
            transport: Transport::Http,
            exclusive: false,
            features: Vec::new(),
            registered_at: Millis(0),
            last_seen: Millis(0),
            owner: None,
            paused: None,
            holds,
        }
    }

    #[test]
    fn record_names_each_job_once_and_the_latest_only() {
        let mut record = worker(Vec::new());
        for index in 0..100 {
            record.hold(held(index, 1000 + u64::from(index)));
        }
        record.hold(held(99, 2000));
        let named: Vec<u32> = record.holds.iter().map(|held| held.job.index).collect();
        assert_eq!(named, (36..100).collect::<Vec<_>>());
        assert_eq!(record.holds.last(), Some(&held(99, 2000)));
        record.hold(held(7, 2000 + 200_000));
        assert_eq!(record.holds, [held(7, 202_000)], "the others are over");
    }

    #[test]
    fn entry_is_renewed_after_a_minute() {
        let record = worker(vec![held(1, 1000)]);
        let job = held(1, 0).job;
        assert!(record.names(&job, Millis(60_999)) && !record.names(&job, Millis(61_000)));
        assert!(!record.names(&held(2, 0).job, Millis(1000)));
    }

    #[test]
    fn job_that_was_let_go_is_not_restored_from_an_older_record() {
        let stored = worker(vec![held(1, 1000), held(2, 1000)]);
        let mut known = worker(vec![held(1, 1000), held(3, 1500)]);
        known.let_go(&held(1, 0).job, Millis(2000));
        let mut both = stored.with_holds_of(&known);
        both.hold(held(4, 3000));
        let named: Vec<u32> = both.holds.iter().map(|held| held.job.index).collect();
        assert_eq!(named, [2, 3, 4]);
    }
}
