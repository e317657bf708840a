//! Closes a run after all its jobs have ended.

use crate::Scheduling;
use crate::error::Result;
use crate::ids::RunKey;
use crate::planted::Bug;
use crate::ports::{Consistency, JobStore, RunStore};
use crate::run::{Progress, RunEnd, RunUpdate};

impl<P: RunStore + JobStore> Scheduling<'_, P> {
    /// Advances the run's progress past all ended jobs. If no job is left, closes the run.
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
        let progress = self.progress(run, control.progress(), control.jobs).await?;
        if progress.done_below < control.jobs {
            if progress.done_below > control.done_below && !self.engine.has(Bug::ProgressNotStored) {
                self.engine.ports.update_control(run, RunUpdate::Advance(progress)).await?;
            }
            return Ok(());
        }
        let end = RunEnd { status: progress.status(), at: self.engine.now() };
        self.engine.ports.end_workflow(&control.workflow, run, end).await?;
        self.engine.ports.update_control(run, RunUpdate::Finish(progress)).await?;
        Ok(())
    }

    async fn progress(self, run: &RunKey, mut progress: Progress, jobs: u32) -> Result<Progress> {
        if progress.done_below == jobs {
            return Ok(progress);
        }
        let how = if self.engine.has(Bug::WeakFinish) { Consistency::Eventual } else { Consistency::Strong };
        // Most checks stop at the first job or soon after it.
        let mut forward = self.engine.records().forward_from_few(run, progress.done_below, how);
        while let Some(job) = forward.next().await? {
            if !job.is_ended() || job.key.index != progress.done_below {
                break;
            }
            progress.pass(job.status());
        }
        Ok(progress)
    }
}
