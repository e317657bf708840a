//! Planted bugs, in the engine and in the simulated store. A simulator that doesn't find them has no useful checks.

use std::fmt;

use engine::ids::PoolId;
use engine::job::{Change, JobRecord, JobUpdate, Phase, Precondition, Used};
#[cfg(feature = "planted")]
use engine::planted;
use protocol::{LabelSet, Millis};

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A report is accepted under any fence.
    NoFence,
    /// A report is accepted after its lease expired.
    NoLeaseEnd,
    /// A job's needs are counted down instead of removed.
    Counter,
    /// Jobs are read eventually where a strong read is required.
    WeakReads,
    /// A claim doesn't see a cancel.
    NoCancelBarrier,
    /// A retry goes to the pool of jobs without labels.
    LabelsForgottenOnRetry,
    /// A job that ended can end again.
    FinalIsNotFinal,
    /// A heartbeat sets the expiry of a lease, even to an earlier time.
    HeartbeatShortens,
    /// A bug in the engine. Only an engine with the feature `planted` has them.
    #[cfg(feature = "planted")]
    Engine(planted::Bug),
    /// The write that ends a job doesn't record the next job of the answer.
    NextForgotten,
    /// The number of used retries is lost.
    TriesForgotten,
    /// The forge is told the state of the change event, not that of the run.
    EventsStateTold,
}

/// The bugs of the simulated store.
const STORE: [Bug; 11] = [
    Bug::NoFence,
    Bug::NoLeaseEnd,
    Bug::Counter,
    Bug::WeakReads,
    Bug::NoCancelBarrier,
    Bug::LabelsForgottenOnRetry,
    Bug::FinalIsNotFinal,
    Bug::HeartbeatShortens,
    Bug::NextForgotten,
    Bug::TriesForgotten,
    Bug::EventsStateTold,
];
/// The bugs of the engine.
#[cfg(feature = "planted")]
const ENGINE: [planted::Bug; 31] = [
    planted::Bug::AbsentMeansDone,
    planted::Bug::PromoteBeforeWrite,
    planted::Bug::WeakFinish,
    planted::Bug::TimerClearedLate,
    planted::Bug::WritesNotCounted,
    planted::Bug::TimerNotSent,
    planted::Bug::ProgressNotStored,
    planted::Bug::WorkerAlwaysRead,
    planted::Bug::WorkerNeverSeen,
    planted::Bug::StatusReadsTwice,
    planted::Bug::EndAdmitsNobody,
    planted::Bug::HolderNotAdmitted,
    planted::Bug::ReadyFreesGroup,
    planted::Bug::RetryFreesGroup,
    planted::Bug::HolderReadEventually,
    planted::Bug::BlockedPassedBy,
    planted::Bug::NextTakesGroup,
    planted::Bug::RerunOpensAtOnce,
    planted::Bug::FlagWrittenLater,
    planted::Bug::ConditionalUntold,
    planted::Bug::NoSkipBelowCondition,
    planted::Bug::KeepsAllPassed,
    planted::Bug::HandlerAtOnce,
    planted::Bug::HandlerForgotten,
    planted::Bug::AllowedFailureFails,
    planted::Bug::TimerGoesByFailed,
    planted::Bug::IdsAlone,
    planted::Bug::OvertakenForgotten,
    planted::Bug::NoReporterLease,
    planted::Bug::GoneReporterTrusted,
    planted::Bug::LeaseReturnedAfterTimeout,
];

impl Bug {
    /// All bugs. Without the feature `planted`, those of the simulated store.
    pub fn all() -> impl Iterator<Item = Self> {
        #[cfg(feature = "planted")]
        let engine = ENGINE.map(Self::Engine);
        #[cfg(not(feature = "planted"))]
        let engine = [];
        STORE.into_iter().chain(engine)
    }

    /// The engine's bug, if it is one.
    #[cfg(feature = "planted")]
    pub(crate) fn in_the_engine(self) -> Option<planted::Bug> {
        if let Self::Engine(bug) = self { Some(bug) } else { None }
    }

    /// Applies an update of a job with this bug.
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
            (Self::Counter, Change::RemoveNeed { member: need, .. }, Phase::Waiting { on }) => {
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
