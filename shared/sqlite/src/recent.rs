//! Copies in memory of what every claim and report reads: control records, jobs that changed lately, and the listed work.
//! The thread that writes keeps them equal to the file, which no other process writes.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::ids::{JobKey, RunKey};
use engine::job::JobRecord;
use engine::messages::Work;
use engine::run::Control;
use rusqlite::Connection;

use crate::rows::locked;

/// The number of control records that are kept.
const CONTROLS: usize = 4096;
/// The number of jobs that are kept.
const JOBS: usize = 1024;
/// The number of listed items of work that are kept.
const LISTED: usize = 1000;

/// A transaction that writes.
pub(crate) struct Transaction<'c> {
    db: &'c Connection,
    recent: &'c Recent,
    changes: RefCell<Vec<Change>>,
    /// The jobs that it changed: only the file has their records.
    jobs: RefCell<HashSet<JobKey>>,
    /// It removed jobs, so that no kept record counts.
    removed_jobs: Cell<bool>,
}

impl<'c> Transaction<'c> {
    pub fn new(db: &'c Connection, recent: &'c Recent) -> Self {
        Self { db, recent, changes: RefCell::default(), jobs: RefCell::default(), removed_jobs: Cell::default() }
    }

    /// A job's record, if it is kept.
    pub fn kept_job(&self, key: &JobKey) -> Option<JobRecord> {
        let counts = !self.removed_jobs.get() && !self.jobs.borrow().contains(key);
        if counts { self.recent.job(key) } else { None }
    }

    /// Reports what was written, to be applied when it is committed.
    pub fn changed(&self, change: Change) {
        match &change {
            Change::Job(key, _) => drop(self.jobs.borrow_mut().insert(key.clone())),
            Change::JobsOf(_) => self.removed_jobs.set(true),
            Change::Control(..) | Change::Listed(..) => {}
        }
        self.changes.borrow_mut().push(change);
    }

    /// Runs a part. If it fails, its changes are dropped.
    pub fn part<T, E>(&self, part: impl FnOnce(&Self) -> Result<T, E>) -> Result<T, E> {
        let before = self.changes.borrow().len();
        part(self).inspect_err(|_| self.changes.borrow_mut().truncate(before))
    }

    pub fn into_changes(self) -> Vec<Change> {
        self.changes.into_inner()
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

/// What a transaction wrote.
pub(crate) enum Change {
    /// A control record, or its removal.
    Control(RunKey, Option<Box<Control>>),
    /// A job's record, or its removal.
    Job(JobKey, Option<Box<JobRecord>>),
    /// The removal of jobs of a run.
    JobsOf(RunKey),
    /// An item of work, with its number.
    Listed(u64, Box<Work>),
}

/// What is known of the listed work.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// The oldest item.
    Item(u64, Box<Work>),
    Nothing,
    /// The file must be read, and this passed to [`Recent::file_lists_none`] if it lists nothing.
    Unknown(Version),
}

/// Identifies the last changes that were applied. What was read from the file is kept only if no others were applied since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Version(u64);

/// The copies. The thread that writes changes them, and all others read them.
#[derive(Default)]
pub(crate) struct Recent {
    /// All work up to this number is done.
    done: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Increased by each transaction that changed any of it.
    version: u64,
    controls: HashMap<RunKey, Control>,
    jobs: HashMap<JobKey, JobRecord>,
    listed: VecDeque<(u64, Box<Work>)>,
    /// True if `listed` has all of the file's work that isn't done.
    lists_all: bool,
}

impl Recent {
    /// Applies the changes of a committed transaction, before its writes are answered.
    pub fn apply(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut kept = locked(&self.kept);
        kept.version += 1;
        for change in changes {
            match change {
                Change::Control(run, Some(control)) => keep(&mut kept.controls, CONTROLS, run, *control),
                Change::Control(run, None) => drop(kept.controls.remove(&run)),
                Change::Job(key, Some(job)) => keep(&mut kept.jobs, JOBS, key, *job),
                Change::Job(key, None) => drop(kept.jobs.remove(&key)),
                Change::JobsOf(run) => kept.jobs.retain(|key, _| key.run != run),
                Change::Listed(number, work) if kept.lists_all && kept.listed.len() < LISTED => {
                    kept.listed.push_back((number, work));
                }
                Change::Listed(..) => kept.lists_all = false,
            }
        }
        if !kept.lists_all {
            kept.listed.clear();
        }
    }

    /// Drops all, so that the file is read: the outcome of a transaction may be unknown.
    pub fn forget(&self) {
        let mut kept = locked(&self.kept);
        *kept = Kept { version: kept.version + 1, ..Kept::default() };
    }

    /// A control record, or what [`Self::keep_control`] needs after it was read from the file.
    pub fn control(&self, run: &RunKey) -> Result<Control, Version> {
        let kept = locked(&self.kept);
        kept.controls.get(run).cloned().ok_or(Version(kept.version))
    }

    /// Keeps a control record that was read from the file.
    pub fn keep_control(&self, version: Version, control: &Control) {
        let mut kept = locked(&self.kept);
        if version == Version(kept.version) {
            keep(&mut kept.controls, CONTROLS, control.run.clone(), control.clone());
        }
    }

    /// A job's record, if it is kept. Only transactions bring records here, so that none is older than the file's.
    pub fn job(&self, key: &JobKey) -> Option<JobRecord> {
        locked(&self.kept).jobs.get(key).cloned()
    }

    pub fn next_work(&self) -> Next {
        let kept = locked(&self.kept);
        match kept.listed.front() {
            Some((number, work)) => Next::Item(*number, work.clone()),
            None if kept.lists_all => Next::Nothing,
            None => Next::Unknown(Version(kept.version)),
        }
    }

    pub fn may_have_work(&self) -> bool {
        let kept = locked(&self.kept);
        !kept.lists_all || !kept.listed.is_empty()
    }

    /// Reports that the file lists no work.
    pub fn file_lists_none(&self, version: Version) {
        let mut kept = locked(&self.kept);
        kept.lists_all |= version == Version(kept.version);
    }

    /// All work up to this number is done.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Reports that work up to this number is done.
    pub fn work_done(&self, number: u64) {
        self.done.fetch_max(number, Ordering::Release);
        let mut kept = locked(&self.kept);
        while kept.listed.front().is_some_and(|(listed, _)| *listed <= number) {
            kept.listed.pop_front();
        }
    }
}

/// Adds a record. If there are too many, all others are dropped: what is still in use is read again.
fn keep<K: Eq + Hash, V>(kept: &mut HashMap<K, V>, most: usize, key: K, value: V) {
    if kept.len() >= most {
        kept.clear();
    }
    kept.insert(key, value);
}

#[cfg(test)]
mod tests {
    use engine::messages::{BatchKind, BatchTask};

    use super::*;

    fn listed(number: u64) -> Change {
        let task = BatchTask::new(RunKey::from_stored("r".to_owned()), BatchKind::Delete { jobs: 1 }, 0);
        Change::Listed(number, Box::new(Work::BatchTask(task)))
    }

    fn unknown(recent: &Recent) -> Version {
        match recent.next_work() {
            Next::Unknown(version) => version,
            known => panic!("{known:?}"),
        }
    }

    #[test]
    fn work_that_was_listed_while_the_file_was_read_is_not_missed() {
        let recent = Recent::default();
        let before = unknown(&recent);
        recent.apply(vec![listed(1)]);
        recent.file_lists_none(before);
        assert!(recent.may_have_work());
        recent.file_lists_none(unknown(&recent));
        assert_eq!((recent.next_work(), recent.may_have_work()), (Next::Nothing, false));
        recent.apply(vec![listed(2), listed(3)]);
        assert!(matches!(recent.next_work(), Next::Item(2, _)) && recent.may_have_work());
        recent.work_done(2);
        assert!(matches!(recent.next_work(), Next::Item(3, _)));
        recent.work_done(3);
        assert_eq!(recent.next_work(), Next::Nothing);
    }

    #[test]
    fn more_work_than_is_kept_is_read_from_the_file() {
        let recent = Recent::default();
        recent.file_lists_none(unknown(&recent));
        recent.apply((0..=LISTED as u64).map(listed).collect());
        unknown(&recent);
        recent.apply(vec![listed(5000)]);
        unknown(&recent);
    }
}
