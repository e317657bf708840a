//! How often and how long a job is tried.

use std::time::Duration;

use protocol::Millis;
use protocol::wire::Backoff;
use serde::{Deserialize, Serialize};

/// How often, and after what delay, a failed job is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Tries after the first.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u32,
    /// Tries of their own for some causes of failure.
    #[serde(skip_serializing_if = "is_default")]
    pub budgets: Budgets,
    /// Tries of their own for some exit codes. No code is in two of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exit: Vec<ExitBudget>,
    /// The delay between tries.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Backoff,
}

/// Whether a field has its default value, so that it need not be stored.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Tries that a cause of failure has of its own; `None`: it uses those of [`Retry::max`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budgets {
    /// Of attempts whose worker was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u32>,
    /// Of attempts that ran too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// Tries that attempts with one of these exit codes have of their own, in place of those of [`Retry::max`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitBudget {
    /// The lowest code, from 1.
    pub first: u8,
    /// The highest code.
    pub last: u8,
    /// Tries after the first; 0: such an attempt isn't tried again.
    pub tries: u32,
}

impl ExitBudget {
    /// Returns true if the budget is that of attempts with this exit code.
    #[must_use]
    pub fn is_of(&self, code: i32) -> bool {
        (i32::from(self.first)..=i32::from(self.last)).contains(&code)
    }
}

/// How long a job may take, in seconds. Stored in the job's record, so that a claim reads it without the spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeLimits {
    /// Of an attempt, from when it is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// In its pool's ready list, from when it may be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<u32>,
}

impl TimeLimits {
    /// These, and each one that is missing from `others`.
    pub(super) fn or(self, others: Self) -> Self {
        Self { timeout: self.timeout.or(others.timeout), queue_timeout: self.queue_timeout.or(others.queue_timeout) }
    }

    /// When an attempt that began then is over.
    #[must_use]
    pub fn deadline(self, started_at: Millis) -> Option<Millis> {
        self.timeout.map(|secs| started_at + Duration::from_secs(secs.into()))
    }

    /// Until when a job waits that may be taken from then on.
    #[must_use]
    pub fn ready_until(self, at: Millis) -> Option<Millis> {
        self.queue_timeout.map(|secs| at + Duration::from_secs(secs.into()))
    }
}
