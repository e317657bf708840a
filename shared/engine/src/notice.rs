//! What the change feed tells, and what follows from it. The feed is the guarantee: what a request left undone is
//! done here, and what it did is found done.

use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::error::Outcome;
use crate::job::{JobRecord, Outcome as JobOutcome, Phase};
use crate::ports::{Consistency, Ports, Walk, WalkKind};
use crate::run::Control;

/// A change that something follows from. Told at least once, maybe again, in the order of changes of one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A job ended, with the record as it was then.
    JobEnded(Box<JobRecord>),
    /// A run was opened.
    RunOpened(Control),
    /// A run began to be cancelled.
    RunCancelling(Control),
}

impl<P: Ports> Engine<P> {
    /// Does what follows from a change. Repeating it does nothing more.
    pub async fn on_notice(&self, notice: &Notice) -> Outcome<()> {
        match notice {
            Notice::RunOpened(control) => {
                let walk = Walk { run: control.run.clone(), kind: WalkKind::Roots, from: 0 };
                // Boxed: the whole tree of futures below is too deep for the compiler to lay out in one.
                Box::pin(self.walk_step(walk)).await
            }
            Notice::RunCancelling(control) => {
                let walk = Walk { run: control.run.clone(), kind: WalkKind::Cancel, from: 0 };
                Ok(self.ports.walk(walk).await?)
            }
            Notice::JobEnded(job) => self.on_job_ended(job).await,
        }
    }

    async fn on_job_ended(&self, job: &JobRecord) -> Outcome<()> {
        let Phase::Ended(ending) = &job.phase else { return Ok(()) };
        let run = job.key.run.clone();
        if matches!(ending.outcome, JobOutcome::Success(_)) {
            let kind = WalkKind::Dependents { of: job.key.index };
            return Box::pin(self.walk_step(Walk { run, kind, from: 0 })).await;
        }
        let spec = self.spec(job).await?;
        if matches!(ending.outcome, JobOutcome::Failure { .. }) && !spec.dependents.is_empty() {
            self.ports.walk(Walk { run: run.clone(), kind: WalkKind::Skip, from: job.key.index + 1 }).await?;
        }
        for page in spec.dependents.chunks(100) {
            let dependents = self.ports.jobs_at(&run, page, Consistency::Eventual).await?;
            if !dependents.iter().flatten().all(JobRecord::is_ended) {
                return Ok(());
            }
        }
        self.finish_if_done(&run).await
    }
}
