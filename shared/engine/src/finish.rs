//! Closes a run after all its jobs have ended, and starts its `on_failure` before.

use crate::Scheduling;
use crate::error::Result;
use crate::ids::RunKey;
use crate::job::{JobRecord, Phase};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};
use crate::run::{Control, Progress, RunEnd, RunState, RunUpdate};

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Advances the run's progress past all ended jobs. Starts or skips the job of `on_failure` if only that is left. If no
    /// job is left, closes the run.
    ///
    /// Progress is stored, so each job is read about once in a run's life. The workflow record is written before the
    /// control record: after a crash in between, the run is still open and this is repeated. The control record is
    /// closed even if the update of the workflow record is refused: the workflow may already be ended, or a newer run
    /// may be current.
    pub(crate) async fn finish_if_done(self, run: &RunKey) -> Result<()> {
        let Some(control) = self.engine.ports.control(run, Consistency::Strong).await? else { return Ok(()) };
        if !control.state.has_begun() {
            return Ok(());
        }
        let progress = self.progress(&control).await?;
        if progress.done_below < control.jobs {
            if progress.done_below > control.done_below && !self.engine.has(Bug::ProgressNotStored) {
                self.engine.ports.update_control(run, RunUpdate::Advance(progress)).await?;
            }
            return Ok(());
        }
        let end = RunEnd {
            status: progress.status(),
            at: self.engine.now(),
            jobs: control.jobs,
            started_at: control.opened_at,
        };
        self.engine.ports.end_workflow(&control.workflow, run, end).await?;
        self.engine.ports.update_control(run, RunUpdate::Finish(progress)).await?;
        Ok(())
    }

    async fn progress(self, control: &Control) -> Result<Progress> {
        let mut progress = control.progress();
        if progress.done_below == control.jobs {
            return Ok(progress);
        }
        let how = if self.engine.has(Bug::WeakFinish) { Consistency::Eventual } else { Consistency::Strong };
        // Most checks stop at the first job or soon after it.
        let mut forward = self.engine.records().forward_from_few(&control.run, progress.done_below, how);
        while let Some(mut job) = forward.next().await? {
            if job.key.index != progress.done_below {
                break;
            }
            if !job.is_ended() && job.waits_for_run() && !self.engine.has(Bug::HandlerForgotten) {
                match self.start_handler(control, progress, job).await? {
                    Some(current) => job = current,
                    None => break,
                }
            }
            if !job.is_ended() {
                break;
            }
            progress.pass(job.status(), job.allow_failure && !self.engine.has(Bug::AllowedFailureFails));
        }
        Ok(progress)
    }

    /// Starts the job of `on_failure`, or skips it if no other job failed. It is the last job, and all others have ended.
    /// After a cancel it stays as it is. Returns the current record.
    async fn start_handler(self, control: &Control, progress: Progress, job: JobRecord) -> Result<Option<JobRecord>> {
        match &job.phase {
            Phase::Waiting { .. } if control.state == RunState::Open && !progress.cancelled => {
                self.decide(&job, progress.failed).await
            }
            _ => {
                self.dispatch_or_place(&job).await?;
                Ok(Some(job))
            }
        }
    }
}
