//! Planted bugs: deliberate defects that the simulator must find. Only the simulator enables the feature `planted`;
//! without it there are no bugs.

use crate::Engine;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A need that is absent from the needs of a waiting job counts as succeeded.
    AbsentMeansDone,
    /// Dependents are promoted before the write that ends their need.
    PromoteBeforeWrite,
    /// A run is finished on the evidence of an eventual read.
    WeakFinish,
    /// The timer is marked as firing after the scan instead of before.
    TimerClearedLate,
    /// A batch step never counts its writes.
    WritesNotCounted,
    /// After a lost answer the message of a timer isn't sent.
    TimerNotSent,
    /// The progress of a run isn't stored.
    ProgressNotStored,
    /// Every claim reads its worker's record.
    WorkerAlwaysRead,
    /// A worker's record isn't written again.
    WorkerNeverSeen,
    /// A status reads each job again.
    StatusReadsTwice,
    /// The end of a job or a run admits nobody.
    EndAdmitsNobody,
    /// A holder that still waits is left as it is.
    HolderNotAdmitted,
    /// A job that is ready, but not given out yet, doesn't keep its group.
    ReadyFreesGroup,
    /// A job that is tried again doesn't keep its group.
    RetryFreesGroup,
    /// The units of a group are read eventually.
    HolderReadEventually,
    /// Whoever finds a blocked job passes it by.
    BlockedPassedBy,
    /// A job of a group is given out with the completion of its need.
    NextTakesGroup,
    /// A re-run of a group opens at once.
    RerunOpensAtOnce,
    /// The flag of a failed need is set by a write of its own, after the removal of the need.
    FlagWrittenLater,
    /// A job that failed or was skipped doesn't tell the dependents that have an `if`.
    ConditionalUntold,
    /// A job that its own condition skipped doesn't begin the skipping of the jobs below it.
    NoSkipBelowCondition,
    /// A re-run with `only: failed` keeps every job that passed, whether or not its needs are kept.
    KeepsAllPassed,
    /// `on_failure` becomes ready with the first jobs.
    HandlerAtOnce,
    /// Only a report of a job's end starts `on_failure`, never the finish.
    HandlerForgotten,
    /// An allowed failure fails the run.
    AllowedFailureFails,
    /// The timer looks for jobs to skip only where the run is known to have failed.
    TimerGoesByFailed,
    /// Only ids tell apart whether a delivery of a forge is a repeat.
    IdsAlone,
    /// A change that another one overtook before its files were read is forgotten.
    OvertakenForgotten,
    /// Whoever reports states takes the lease, also if somebody has it.
    NoReporterLease,
    /// The states that a reporter sent that is gone are taken as sent.
    GoneReporterTrusted,
    /// The lease is returned after a request without an answer.
    LeaseReturnedAfterTimeout,
}

impl<P> Engine<P> {
    #[cfg(feature = "planted")]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.tuning.planted == Some(bug)
    }

    #[cfg(not(feature = "planted"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) const fn has(&self, _bug: Bug) -> bool {
        false
    }
}
