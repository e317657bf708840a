//! Records of workflows and runs, and the changes that a run's control record can go through.

use std::time::Duration;

use protocol::wire::RunSource;
use protocol::{Label, Millis, Status, WorkflowId};
use serde::{Deserialize, Serialize};
use strum::AsRefStr;

use crate::ids::forge::ReportKey;
use crate::ids::{GroupKey, RunKey};

/// A workflow: its name and its current run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRecord {
    /// The id that the engine chose.
    pub id: WorkflowId,
    /// The name from the definition.
    pub name: String,
    /// The trigger from the definition.
    pub trigger: String,
    /// When it was submitted.
    pub created_at: Millis,
    /// The current run.
    pub run: RunKey,
    /// The current run's number, from 1.
    pub number: u32,
    /// How the current run ended, once it has.
    pub ended: Option<RunEnd>,
    /// What started it, if a forge did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<RunSource>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Success, failure or cancelled.
    pub status: Status,
    /// When.
    pub at: Millis,
    /// The number of jobs, all of which have ended. 0 if the record was written before this was stored.
    #[serde(default)]
    pub jobs: u32,
    /// When the run was started.
    #[serde(default)]
    pub started_at: Option<Millis>,
}

/// A run's control record: decides what may happen in the run. Read strongly before every decision that depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The run.
    pub run: RunKey,
    /// The run's workflow.
    pub workflow: WorkflowId,
    /// The run's number, from 1.
    pub number: u32,
    /// The number of jobs. All indexes are smaller.
    pub jobs: u32,
    /// The run's state.
    pub state: RunState,
    /// Every job with a smaller index has ended.
    pub done_below: u32,
    /// True if a job below `done_below` failed without `allow_failure`.
    pub failed: bool,
    /// True if a job below `done_below` was cancelled.
    pub cancelled: bool,
    /// When the run was started. A run of a group: when it got its turn.
    pub opened_at: Option<Millis>,
    /// The group of the run, if it has one. The run waits for its turn before it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupOfRun>,
    /// When the run began to wait for its turn. It stays after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_at: Option<Millis>,
    /// The random number of the request that started a new run. The request recognises its own write by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opener: Option<u64>,
    /// The report that tells a forge the run's states, if a forge started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportKey>,
    /// True if a newer run of the group cancelled this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub superseded: bool,
    /// The run's timer.
    pub timer: Timer,
}

/// The group of a run, as laid out with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOfRun {
    /// The group's key.
    pub key: GroupKey,
    /// The fixed part of the name. A token must allow it.
    pub name: Label,
    /// The name for people, with the values of inputs.
    pub shown: String,
    /// True if a newer run of the group cancels this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yields: bool,
}

/// A run's only timer. It is due no later than the first expiry in the run. Stored as [`Timer::stored`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Millis>", into = "Option<Millis>")]
pub enum Timer {
    /// Not armed: the run is new or final.
    Off,
    /// A handler scans the run now, or stopped before it armed the timer again. A process that has a due time arms the
    /// timer.
    Firing,
    /// Armed for this time.
    Due(Millis),
}

/// The maximum delay of a timer. Bounds the damage of a lost message or a wrong clock. No queue delays a message
/// longer.
pub const MAX_TIMER_DELAY: Duration = Duration::from_mins(15);

impl Timer {
    /// The timer's stored form: 0 while firing, `None` if off.
    #[must_use]
    pub fn stored(self) -> Option<Millis> {
        match self {
            Self::Off => None,
            Self::Firing => Some(Millis(0)),
            Self::Due(at) => Some(at),
        }
    }

    fn is_later_than(self, due: Millis) -> bool {
        self == Self::Firing || matches!(self, Self::Due(at) if at > due)
    }

    fn is_due(self, by: Millis) -> bool {
        self == Self::Firing || matches!(self, Self::Due(at) if at <= by)
    }
}

impl From<Option<Millis>> for Timer {
    /// Reads what [`Timer::stored`] wrote.
    fn from(stored: Option<Millis>) -> Self {
        match stored {
            None => Self::Off,
            Some(Millis(0)) => Self::Firing,
            Some(at) => Self::Due(at),
        }
    }
}

impl From<Timer> for Option<Millis> {
    fn from(timer: Timer) -> Self {
        timer.stored()
    }
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, AsRefStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// Submitted but not started.
    New,
    /// Started, and waiting for its turn in its group: no job starts.
    Blocked,
    /// Started: jobs start and end.
    Open,
    /// Cancelled: no job starts and no report is accepted. The remaining jobs are being marked as cancelled.
    Cancelling,
    /// Ended: nothing changes.
    Final,
}

impl RunState {
    /// Returns true if the run was started and is not final. Its timer is armed.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Blocked | Self::Open | Self::Cancelling)
    }

    /// Returns true if jobs of the run may still end.
    #[must_use]
    pub fn has_begun(self) -> bool {
        matches!(self, Self::Open | Self::Cancelling)
    }
}

/// A conditional change of a control record. Every store applies it as one write. Each variant implies its own
/// precondition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunUpdate {
    /// Starts a new run of a group: it waits for its turn.
    Block {
        /// The time from which on it waits.
        at: Millis,
        /// A random number that identifies the request.
        opener: u64,
    },
    /// Opens a run that waits for its turn.
    Admit {
        /// The start time.
        at: Millis,
    },
    /// Starts a new run without a group.
    Open {
        /// The start time.
        at: Millis,
        /// A random number that identifies the request.
        opener: u64,
    },
    /// Cancels a run that is new, blocked or open.
    Cancel {
        /// The time of the cancel. A run that was never open counts as opened then.
        at: Millis,
    },
    /// As [`Self::Cancel`], because a newer run of the group takes the turn.
    Supersede {
        /// The time of the cancel.
        at: Millis,
    },
    /// Advances the progress. Progress never moves back.
    Advance(Progress),
    /// Arms the timer of an active run, unless an earlier time is set.
    Arm {
        /// When it is due.
        due: Millis,
    },
    /// Marks the timer of an active run as firing. The writer then scans the run.
    Fire {
        /// Applied only if the timer is due by this time. `None`: always applied.
        by: Option<Millis>,
    },
    /// Makes an open or cancelling run final, with the progress past all jobs.
    Finish(Progress),
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every job with a smaller index has ended.
    pub done_below: u32,
    /// True if a job below `done_below` failed without `allow_failure`.
    pub failed: bool,
    /// True if a job below `done_below` was cancelled.
    pub cancelled: bool,
}

impl Progress {
    /// Returns the run's status after all jobs have ended.
    #[must_use]
    pub fn status(self) -> Status {
        match (self.failed, self.cancelled) {
            (true, _) => Status::Failure,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Success,
        }
    }

    /// Counts one more ended job.
    pub fn pass(&mut self, status: Status, allow_failure: bool) {
        self.done_below += 1;
        self.failed |= status == Status::Failure && !allow_failure;
        self.cancelled |= status == Status::Cancelled;
    }
}

impl RunUpdate {
    /// Returns the record after the change, or `None` if the precondition doesn't hold.
    #[must_use]
    pub fn apply(self, control: &Control) -> Option<Control> {
        let mut new = control.clone();
        match self {
            Self::Block { at, opener } if control.state == RunState::New && control.group.is_some() => {
                new.state = RunState::Blocked;
                new.blocked_at = Some(at);
                new.opener = Some(opener);
                new.timer = Timer::Due(at + MAX_TIMER_DELAY);
            }
            Self::Admit { at } if control.state == RunState::Blocked => {
                new.state = RunState::Open;
                new.opened_at = Some(at);
            }
            Self::Open { at, opener } if control.state == RunState::New && control.group.is_none() => {
                new.state = RunState::Open;
                new.opened_at = Some(at);
                new.opener = Some(opener);
                new.timer = Timer::Due(at + MAX_TIMER_DELAY);
            }
            Self::Cancel { at } | Self::Supersede { at }
                if matches!(control.state, RunState::New | RunState::Blocked | RunState::Open) =>
            {
                new.state = RunState::Cancelling;
                new.superseded = matches!(self, Self::Supersede { .. });
                new.opened_at = control.opened_at.or(Some(at));
                if control.timer == Timer::Off {
                    new.timer = Timer::Firing;
                }
            }
            Self::Advance(progress) if control.state != RunState::Final && control.done_below < progress.done_below => {
                new.done_below = progress.done_below;
                new.failed = progress.failed;
                new.cancelled = progress.cancelled;
            }
            Self::Arm { due } if control.state.is_active() && control.timer.is_later_than(due) => {
                new.timer = Timer::Due(due);
            }
            Self::Fire { by } if control.state.is_active() && by.is_none_or(|by| control.timer.is_due(by)) => {
                new.timer = Timer::Firing;
            }
            Self::Finish(progress) if control.state.has_begun() => {
                new.done_below = progress.done_below;
                new.failed = progress.failed;
                new.cancelled = progress.cancelled;
                new.state = RunState::Final;
                new.timer = Timer::Off;
            }
            _ => return None,
        }
        Some(new)
    }
}

impl Control {
    /// The status of a run that was started and is not final.
    #[must_use]
    pub fn status_while_active(&self) -> Status {
        if self.state == RunState::Blocked { Status::Queued } else { Status::Running }
    }

    /// Returns the stored progress.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { done_below: self.done_below, failed: self.failed, cancelled: self.cancelled }
    }
}
