//! What the change feed tells, and what follows from it. The feed is the guarantee: what a request left undone is
//! done here, and what it did is found done.

use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::error::Outcome;
use crate::ids::RunKey;
use crate::job::{JobRecord, Outcome as JobOutcome, Phase};
use crate::ports::{Consistency, Errand, Ports, Repair, Walk, WalkKind};
use crate::run::{Control, RunState};

/// A change that can't be handled so often in succession is set aside.
const TRIES: usize = 3;

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

impl Notice {
    /// Where it was.
    #[must_use]
    pub fn place(&self) -> Repair {
        match self {
            Self::JobEnded(job) => Repair::Job(job.key.clone()),
            Self::RunOpened(control) | Self::RunCancelling(control) => Repair::Run(control.run.clone()),
        }
    }
}

impl Repair {
    fn run(&self) -> &RunKey {
        match self {
            Self::Job(key) => &key.run,
            Self::Run(run) => run,
        }
    }
}

impl<P: Ports> Engine<P> {
    /// As [`Self::on_notice`]; what fails three times is set aside, so that the changes behind it go on.
    ///
    /// # Errors
    /// If it can't even be set aside: it must be told again.
    pub async fn on_notice_or_repair(&self, notice: &Notice) -> Outcome<()> {
        for tried in 1..=TRIES {
            match self.on_notice(notice).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(place = ?notice.place(), %error, tried, "a change could not be handled"),
            }
        }
        Ok(self.ports.repair(notice.place()).await?)
    }

    /// Handles what was set aside, as it is now.
    pub async fn on_repair(&self, repair: &Repair) -> Outcome<()> {
        match repair {
            Repair::Job(key) => match self.ports.job(key, Consistency::Strong).await? {
                Some(job) if job.is_ended() => self.on_notice(&Notice::JobEnded(Box::new(job))).await,
                _ => Ok(()),
            },
            Repair::Run(run) => {
                let Some(control) = self.ports.control(run, Consistency::Strong).await? else { return Ok(()) };
                match control.state {
                    RunState::Open => self.on_notice(&Notice::RunOpened(control)).await,
                    RunState::Cancelling => self.on_notice(&Notice::RunCancelling(control)).await,
                    RunState::New | RunState::Final => Ok(()),
                }
            }
        }
    }

    /// Does what a queue's message asks for. `again`: it was received before.
    pub async fn on_errand(&self, errand: Errand, again: bool) -> Outcome<()> {
        let (run, done) = match errand {
            Errand::Walk(walk) => (walk.run.clone(), Box::pin(self.walk_step(walk)).await),
            Errand::Timer(run) => (run.clone(), Box::pin(self.on_timer(&run, again)).await),
            Errand::Repair(repair) => (repair.run().clone(), self.on_repair(&repair).await),
        };
        match done {
            Err(error) if self.is_deleted(&run, &error).await? => Ok(()),
            done => done,
        }
    }

    /// Does what follows from a change. Repeating it does nothing more.
    pub async fn on_notice(&self, notice: &Notice) -> Outcome<()> {
        // Boxed, as below: the whole tree of futures is too deep for the compiler to lay out in one.
        match Box::pin(self.follow(notice)).await {
            Err(error) if self.is_deleted(notice.place().run(), &error).await? => Ok(()),
            done => done,
        }
    }

    async fn follow(&self, notice: &Notice) -> Outcome<()> {
        match notice {
            Notice::RunOpened(control) => {
                let walk = Walk { run: control.run.clone(), kind: WalkKind::Roots, from: 0 };
                Box::pin(self.walk_step(walk)).await
            }
            Notice::RunCancelling(control) => {
                let walk = Walk { run: control.run.clone(), kind: WalkKind::Cancel, from: 0 };
                self.ask_for(walk).await
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
            self.ask_for(Walk { run: run.clone(), kind: WalkKind::Skip, from: job.key.index + 1 }).await?;
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
