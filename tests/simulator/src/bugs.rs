//! Faults planted on purpose, in the engine and in what stands between it and the store: a simulation that doesn't find
//! them within some seeds checks nothing.

use std::fmt;

use engine::ids::PoolId;
use engine::job::{Change, JobRecord, JobUpdate, Phase, Precondition, Used};
#[cfg(feature = "planted")]
use engine::planted;
use engine::ports::Consistency;
use engine::run::{Control, RunState};
use protocol::{LabelSet, Millis};

use crate::task::Task;
use crate::world::World;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A report counts under any fence.
    NoFence,
    /// A report counts after its lease's end.
    NoLeaseEnd,
    /// A job's needs are counted down instead of removed.
    Counter,
    /// Jobs are read eventually where it says strongly.
    WeakReads,
    /// What read a run's control before a cancel goes by that.
    NoCancelBarrier,
    /// A job that is tried again is in the pool of jobs without labels.
    LabelsForgottenOnRetry,
    /// What ended can end again.
    FinalIsNotFinal,
    /// A heartbeat sets a lease's end, be it earlier.
    HeartbeatShortens,
    /// One in the engine. Only an engine with the feature `planted` has them.
    #[cfg(feature = "planted")]
    Engine(planted::Bug),
    /// The write that ends a job doesn't say which job was given with the answer.
    NextForgotten,
    /// Every try is like the first.
    TriesForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::NoFence,
        Self::NoLeaseEnd,
        Self::Counter,
        Self::WeakReads,
        Self::NoCancelBarrier,
        Self::LabelsForgottenOnRetry,
        Self::FinalIsNotFinal,
        Self::HeartbeatShortens,
        #[cfg(feature = "planted")]
        Self::Engine(planted::Bug::AbsentMeansDone),
        #[cfg(feature = "planted")]
        Self::Engine(planted::Bug::PromoteBeforeWrite),
        #[cfg(feature = "planted")]
        Self::Engine(planted::Bug::WeakFinish),
        #[cfg(feature = "planted")]
        Self::Engine(planted::Bug::TimerClearedLate),
        Self::NextForgotten,
        Self::TriesForgotten,
    ];

    /// The bug of the engine, if it isn't planted here.
    #[cfg(feature = "planted")]
    pub(crate) fn in_the_engine(self) -> Option<planted::Bug> {
        if let Self::Engine(bug) = self { Some(bug) } else { None }
    }

    /// The change of a job as a store with this bug makes it.
    pub(crate) fn apply(self, update: &JobUpdate, job: &JobRecord) -> Option<JobRecord> {
        let mut update = update.clone();
        match (self, &mut update.expect, &job.phase) {
            (Self::NoFence, Precondition::HeldLive { fence, .. }, Phase::Running(lease)) => {
                *fence = lease.fence.clone();
            }
            (Self::NoLeaseEnd, Precondition::HeldLive { now, .. }, _) => *now = Millis(0),
            (Self::HeartbeatShortens, Precondition::HeldLiveUntil { until, .. }, _) => *until = Millis(u64::MAX),
            (Self::FinalIsNotFinal, Precondition::NotEnded, Phase::Ended(_)) => {
                let waiting =
                    JobRecord { phase: Phase::Waiting { on: std::collections::BTreeSet::new() }, ..job.clone() };
                return update.apply(&waiting);
            }
            _ => {}
        }
        let mut new = update.apply(job)?;
        match (self, &update.change, &mut new.phase) {
            (Self::Counter, Change::RemoveNeed(need), Phase::Waiting { on }) => {
                let absent = matches!(&job.phase, Phase::Waiting { on } if !on.contains(need));
                if absent {
                    on.pop_first();
                }
            }
            (Self::NextForgotten, Change::End(_), _) => new.next = None,
            (Self::TriesForgotten, Change::Retry { .. }, _) => new.used = Used::default(),
            (Self::LabelsForgottenOnRetry, Change::Retry { .. }, _) => new.pool = PoolId::of(&LabelSet::default()),
            _ => {}
        }
        Some(new)
    }
}

impl World {
    /// How fresh a read of jobs is that asks for this.
    pub(crate) fn how_jobs_are_read(&self, how: Consistency) -> Consistency {
        if self.bug == Some(Bug::WeakReads) { Consistency::Eventual } else { how }
    }

    /// A control record as a claim sees it.
    pub(crate) fn control_as_read(&self, control: Option<Control>) -> Option<Control> {
        let task = self.who.get(&self.gates.current).map(|who| &who.task);
        match (self.bug, task, control) {
            (Some(Bug::NoCancelBarrier), Some(Task::Claim { .. }), Some(control))
                if control.state == RunState::Cancelling =>
            {
                Some(Control { state: RunState::Open, ..control })
            }
            (_, _, control) => control,
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            #[cfg(feature = "planted")]
            Self::Engine(bug) => format!("{bug:?}"),
            bug => format!("{bug:?}"),
        };
        f.pad(&name)
    }
}
