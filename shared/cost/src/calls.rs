//! The billed time that is assumed for each kind of invocation.
//!
//! An emulator's times say nothing about AWS, so these are stated and not measured. `docs/costs.md` lists them.

use serde::{Deserialize, Serialize};

/// A kind of invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// A submission.
    Submit,
    /// A claim that gets a job.
    Claim,
    /// A claim that finds none.
    ClaimNothing,
    /// A worker's report that a job succeeded or failed.
    Complete,
    /// The same, answered with the next job.
    CompleteNext,
    /// A heartbeat of a job.
    Heartbeat,
    /// A heartbeat of a worker.
    WorkerHeartbeat,
    /// A push of log lines.
    Logs,
    /// A batch of stream records.
    Schedule,
    /// A timer of a run that has ended.
    Timer,
    /// A timer of an open run, and a batch task.
    Look,
    /// The sweep that runs every minute.
    Sweep,
    /// A read of what changed in a run, by the page.
    Events,
    /// A question about the caller's own token, by the page.
    Me,
    /// A delivery of a forge.
    Hook,
    /// A delivery that is handled: four requests to the forge, and a submission.
    Forge,
    /// States that a forge is told: one request.
    Tell,
}

impl Call {
    /// The function that serves the call.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Claim | Self::ClaimNothing | Self::WorkerHeartbeat => "claim",
            Self::Complete | Self::CompleteNext | Self::Heartbeat | Self::Logs => "complete",
            Self::Schedule => "schedule",
            Self::Timer | Self::Look | Self::Sweep => "expire",
            Self::Events | Self::Me => "query",
            Self::Hook => "hook",
            Self::Forge | Self::Tell => "forge",
        }
    }

    /// The assumed billed time, in milliseconds.
    #[must_use]
    pub fn stated_ms(self) -> u32 {
        match self {
            Self::Forge => 500,
            Self::Tell => 130,
            Self::Submit => 40,
            Self::CompleteNext | Self::Look => 30,
            Self::Claim | Self::Events => 25,
            Self::Complete | Self::Schedule => 20,
            Self::Logs | Self::Hook => 15,
            Self::ClaimNothing | Self::Heartbeat | Self::WorkerHeartbeat => 12,
            Self::Timer | Self::Sweep | Self::Me => 8,
        }
    }
}
