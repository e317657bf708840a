//! Copies of records that were written lately, and of the listed work. A request reads the same few records several times,
//! and to read one from the file costs a transaction and a parse.
//!
//! The copies are those of the last commit. Readers use them only; the thread that writes also uses what its transaction has
//! written so far. Both may find no copy and read the file.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use engine::ids::{JobIndex, JobKey, RunKey};
use engine::job::JobRecord;
use engine::messages::Work;
use engine::run::Control;

use crate::rows::locked;

/// Records of a kind of which copies are kept. The oldest copies are dropped first.
const KEPT: usize = 4096;

/// The copies, shared by the readers and the thread that writes.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Copies>);

#[derive(Default)]
struct Copies {
    jobs: Kept<JobKey, Box<JobRecord>>,
    controls: Kept<RunKey, Control>,
    /// What is listed and not done.
    work: VecDeque<(u64, Work)>,
    /// The number that was given to an item of work last.
    number: u64,
    /// All work up to this number is done.
    done: u64,
    /// What the transaction that runs has written so far.
    pending: Vec<Written>,
}

/// A change that becomes visible with the commit.
enum Written {
    /// `None`: the file has another record.
    Job(JobKey, Option<Box<JobRecord>>),
    /// `None`: the file has no record, or another one.
    Control(RunKey, Option<Control>),
    /// Jobs of the run were deleted.
    Deleted(RunKey),
    Work(u64, Work),
}

/// A map that forgets its oldest keys.
struct Kept<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Kept<K, V> {
    fn put(&mut self, key: K, value: V) {
        if self.values.insert(key.clone(), value).is_some() {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }

    /// The key may stay in the order, which then forgets it, or a later value, early.
    fn remove(&mut self, key: &K) {
        self.values.remove(key);
    }
}

impl Recent {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        locked(&self.0)
    }

    /// Sets the work that a file lists, and the last number that it has given.
    pub(crate) fn listed(&self, work: Vec<(u64, Work)>, number: u64) {
        let mut copies = self.copies();
        copies.work = work.into();
        copies.number = number;
    }

    pub(crate) fn job(&self, key: &JobKey) -> Option<JobRecord> {
        self.copies().jobs.values.get(key).map(|job| JobRecord::clone(job))
    }

    /// The jobs of a run from an index on, up to the first of which there is no copy.
    pub(crate) fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize) -> Vec<JobRecord> {
        let copies = self.copies();
        let keys = (from..).take(most).map(|index| JobKey::new(run, index));
        keys.map_while(|key| copies.jobs.values.get(&key).map(|job| JobRecord::clone(job))).collect()
    }

    pub(crate) fn control(&self, run: &RunKey) -> Option<Control> {
        self.copies().controls.values.get(run).cloned()
    }

    pub(crate) fn next_work(&self) -> Option<(u64, Work)> {
        self.copies().work.front().cloned()
    }

    pub(crate) fn work_done(&self, number: u64) {
        let mut copies = self.copies();
        copies.done = copies.done.max(number);
        while copies.work.front().is_some_and(|(of, _)| *of <= number) {
            copies.work.pop_front();
        }
    }

    /// The number up to which all work is done.
    pub(crate) fn done(&self) -> u64 {
        self.copies().done
    }
}

/// For the thread that writes.
impl Recent {
    /// As [`Self::job`], with what the transaction has written.
    pub(crate) fn job_now(&self, key: &JobKey) -> Option<JobRecord> {
        let copies = self.copies();
        let latest = copies.pending.iter().rev().find_map(|written| match written {
            Written::Job(of, job) if of == key => Some(job.as_deref()),
            Written::Deleted(run) if *run == key.run => Some(None),
            _ => None,
        });
        latest.unwrap_or_else(|| copies.jobs.values.get(key).map(AsRef::as_ref)).cloned()
    }

    /// As [`Self::control`], with what the transaction has written.
    pub(crate) fn control_now(&self, run: &RunKey) -> Option<Control> {
        let copies = self.copies();
        let latest = copies.pending.iter().rev().find_map(|written| match written {
            Written::Control(of, control) if of == run => Some(control.clone()),
            _ => None,
        });
        latest.unwrap_or_else(|| copies.controls.values.get(run).cloned())
    }

    pub(crate) fn wrote_job(&self, job: &JobRecord) {
        self.copies().pending.push(Written::Job(job.key.clone(), Some(Box::new(job.clone()))));
    }

    /// The job was written, and needs no copy.
    pub(crate) fn wrote_other_job(&self, key: &JobKey) {
        let mut copies = self.copies();
        let is_pending = |written: &Written| matches!(written, Written::Job(of, _) if of == key);
        if copies.jobs.values.contains_key(key) || copies.pending.iter().any(is_pending) {
            copies.pending.push(Written::Job(key.clone(), None));
        }
    }

    pub(crate) fn wrote_control(&self, control: &Control) {
        self.copies().pending.push(Written::Control(control.run.clone(), Some(control.clone())));
    }

    pub(crate) fn deleted_control(&self, run: &RunKey) {
        self.copies().pending.push(Written::Control(run.clone(), None));
    }

    pub(crate) fn deleted_jobs(&self, run: &RunKey) {
        self.copies().pending.push(Written::Deleted(run.clone()));
    }

    /// Gives a number to an item of work.
    pub(crate) fn list(&self, work: Work) -> u64 {
        let mut copies = self.copies();
        copies.number += 1;
        let number = copies.number;
        copies.pending.push(Written::Work(number, work));
        number
    }

    /// How much the transaction has written, for [`Self::undo`].
    pub(crate) fn position(&self) -> usize {
        self.copies().pending.len()
    }

    /// Forgets what the transaction has written since this position.
    pub(crate) fn undo(&self, position: usize) {
        self.copies().pending.truncate(position);
    }

    /// Makes visible what the transaction has written. It is committed.
    pub(crate) fn commit(&self) {
        let copies = &mut *self.copies();
        for written in copies.pending.drain(..) {
            match written {
                Written::Job(key, Some(job)) => copies.jobs.put(key, job),
                Written::Job(key, None) => copies.jobs.remove(&key),
                Written::Control(run, Some(control)) => copies.controls.put(run, control),
                Written::Control(run, None) => copies.controls.remove(&run),
                Written::Deleted(run) => copies.jobs.values.retain(|key, _| key.run != run),
                Written::Work(number, work) => copies.work.push_back((number, work)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::job::Phase;
    use engine::messages::Reconcile;
    use protocol::{JobId, Millis};

    use super::*;

    fn job(index: JobIndex, at: u64) -> JobRecord {
        let key = JobKey::new(&RunKey::new([1; 16]), index);
        JobRecord::first(key, JobId::new(format!("job-{index}")).expect("an id"), Phase::Blocked { at: Millis(at) })
    }

    #[test]
    fn copy_and_work_are_visible_after_the_commit_and_not_before() {
        let (recent, job) = (Recent::default(), job(0, 1));
        recent.wrote_job(&job);
        let work = Work::Reconcile(Reconcile::Job(job.key.clone()));
        let number = recent.list(work.clone());
        assert_eq!((recent.job(&job.key), recent.next_work()), (None, None));
        assert_eq!(recent.job_now(&job.key), Some(job.clone()));
        recent.commit();
        assert_eq!((recent.job(&job.key), recent.next_work()), (Some(job), Some((number, work))));
        recent.work_done(number);
        assert_eq!(recent.next_work(), None);
    }

    #[test]
    fn write_that_failed_leaves_the_copy_of_the_one_before() {
        let recent = Recent::default();
        let (first, second) = (job(0, 1), job(0, 2));
        recent.wrote_job(&first);
        let position = recent.position();
        recent.wrote_job(&second);
        assert_eq!(recent.job_now(&first.key), Some(second));
        recent.undo(position);
        assert_eq!(recent.job_now(&first.key), Some(first.clone()));
        recent.commit();
        assert_eq!(recent.job(&first.key), Some(first));
    }

    #[test]
    fn jobs_of_a_deleted_run_have_no_copy() {
        let (recent, job) = (Recent::default(), job(0, 1));
        recent.wrote_job(&job);
        recent.commit();
        recent.deleted_jobs(&job.key.run);
        assert_eq!(recent.job_now(&job.key), None);
        recent.commit();
        assert_eq!(recent.job(&job.key), None);
    }

    #[test]
    fn oldest_copies_are_dropped_first_and_a_page_ends_at_the_first_job_without_one() {
        let recent = Recent::default();
        let count = JobIndex::try_from(KEPT).expect("not so many") + 10;
        (0..count).for_each(|index| recent.wrote_job(&job(index, 1)));
        recent.commit();
        let run = RunKey::new([1; 16]);
        assert_eq!(recent.jobs_from(&run, 9, 3), []);
        let page: Vec<JobIndex> = recent.jobs_from(&run, count - 2, 9).iter().map(|job| job.key.index).collect();
        assert_eq!(page, [count - 2, count - 1]);
    }
}
