//! A workflow's record, a run's control record, and the changes that the control may go through.

use std::time::Duration;

use protocol::{Millis, Status, WorkflowId};
use serde::{Deserialize, Serialize};

use crate::ids::RunKey;

/// A workflow: its name and which run is current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowRecord {
    /// Chosen by the engine.
    pub id: WorkflowId,
    /// From the definition.
    pub name: String,
    /// From the definition.
    pub trigger: String,
    /// When it was submitted.
    pub created_at: Millis,
    /// The current run.
    pub run: RunKey,
    /// The current run's number, from 1.
    pub number: u32,
    /// How the current run ended, once it has.
    pub ended: Option<RunEnd>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Success, failure or cancelled.
    pub status: Status,
    /// When.
    pub at: Millis,
}

/// A run's control record: what may happen in it. Read strongly wherever a decision hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which run.
    pub run: RunKey,
    /// Whose.
    pub workflow: WorkflowId,
    /// Its number, from 1.
    pub number: u32,
    /// How many jobs it has: indexes are below this.
    pub jobs: u32,
    /// What may happen.
    pub state: RunState,
    /// Every job with a smaller index has ended.
    pub done_below: u32,
    /// Whether one of those failed.
    pub failed: bool,
    /// Whether one of those was cancelled.
    pub cancelled: bool,
    /// When it was started.
    pub opened_at: Option<Millis>,
    /// When somebody looks at what is over in it.
    #[serde(default = "Timer::unknown")]
    pub timer: Timer,
}

/// A run's one timer: at the earliest time that anything in it is over, or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// There is nothing to look at: the run is new or final.
    Off,
    /// Somebody looks now, or stopped before setting it anew. Whoever has a due time sets it.
    Firing,
    /// Then.
    Due(Millis),
}

/// No timer is set further ahead: what a lost message or a clock that is wrong leaves undone is found by then, and no
/// queue delays a message longer.
pub const MAX_TIMER_DELAY: Duration = Duration::from_mins(15);

impl Timer {
    /// A stored run from before there were timers is looked at.
    fn unknown() -> Self {
        Self::Firing
    }

    /// As stores keep it: 0 while somebody looks, `None` if it is off.
    #[must_use]
    pub fn stored(self) -> Option<Millis> {
        match self {
            Self::Off => None,
            Self::Firing => Some(Millis(0)),
            Self::Due(at) => Some(at),
        }
    }

    /// Reads what [`Self::stored`] wrote.
    #[must_use]
    pub fn from_stored(stored: Option<Millis>) -> Self {
        match stored {
            None => Self::Off,
            Some(Millis(0)) => Self::Firing,
            Some(at) => Self::Due(at),
        }
    }

    fn is_later_than(self, due: Millis) -> bool {
        self == Self::Firing || matches!(self, Self::Due(at) if at > due)
    }

    fn is_due(self, by: Millis) -> bool {
        self == Self::Firing || matches!(self, Self::Due(at) if at <= by)
    }
}

/// What may happen in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Nothing: submitted, not started.
    New,
    /// Jobs start and end.
    Open,
    /// Nothing starts, no report counts; what hasn't ended is being cancelled.
    Cancelling,
    /// Nothing ever again.
    Final,
}

impl RunState {
    /// The word that stores keep.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Open => "open",
            Self::Cancelling => "cancelling",
            Self::Final => "final",
        }
    }

    /// Reads a stored word.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::New, Self::Open, Self::Cancelling, Self::Final].into_iter().find(|state| state.as_str() == text)
    }

    /// Whether jobs of the run may still end.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Open | Self::Cancelling)
    }
}

/// A conditional change of a control record: one write of any store. What it expects is part of what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunUpdate {
    /// Starts a new run.
    Open {
        /// When.
        at: Millis,
    },
    /// Begins to cancel a new or open run.
    Cancel {
        /// When; a run that was never open counts as begun then.
        at: Millis,
    },
    /// All below have ended; only ever forward.
    Advance(Progress),
    /// Sets the timer of an open or cancelling run, if nothing earlier is set.
    Arm {
        /// When it is due.
        due: Millis,
    },
    /// Whoever writes this looks at what is over in an open or cancelling run.
    Look {
        /// Only if the timer is due by then; `None`: in any case.
        by: Option<Millis>,
    },
    /// Closes an open or cancelling run.
    Finish,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every job with a smaller index has ended.
    pub done_below: u32,
    /// Whether one of those failed.
    pub failed: bool,
    /// Whether one of those was cancelled.
    pub cancelled: bool,
}

impl Progress {
    /// What the run's status is when all have ended.
    #[must_use]
    pub fn status(self) -> Status {
        match (self.failed, self.cancelled) {
            (true, _) => Status::Failure,
            (false, true) => Status::Cancelled,
            (false, false) => Status::Success,
        }
    }

    /// One more job has ended.
    pub fn pass(&mut self, status: Status) {
        self.done_below += 1;
        self.failed |= status == Status::Failure;
        self.cancelled |= status == Status::Cancelled;
    }
}

impl RunUpdate {
    /// The record after the change, or `None` if what it expects doesn't hold.
    #[must_use]
    pub fn apply(self, control: &Control) -> Option<Control> {
        let mut new = control.clone();
        match self {
            Self::Open { at } if control.state == RunState::New => {
                new.state = RunState::Open;
                new.opened_at = Some(at);
                new.timer = Timer::Due(at + MAX_TIMER_DELAY);
            }
            Self::Cancel { at } if matches!(control.state, RunState::New | RunState::Open) => {
                new.state = RunState::Cancelling;
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
            Self::Look { by } if control.state.is_active() && by.is_none_or(|by| control.timer.is_due(by)) => {
                new.timer = Timer::Firing;
            }
            Self::Finish if control.state.is_active() => {
                new.state = RunState::Final;
                new.timer = Timer::Off;
            }
            _ => return None,
        }
        Some(new)
    }
}

impl Control {
    /// How far it is, as stored.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { done_below: self.done_below, failed: self.failed, cancelled: self.cancelled }
    }
}
