//! The slow look at every open run: leases that are over end, and what a lost message left undone is done.

use std::collections::HashMap;

use crate::Engine;
use crate::error::Outcome;
use crate::ids::{JobIndex, ReportHash, RunKey};
use crate::job::{Expect, Failure, JobRecord, JobUpdate, LastReport, Phase, after_failure};
use crate::ports::{Consistency, Ports, Updated, Walk, WalkKind};
use crate::run::RunState;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Open runs looked at.
    pub runs: usize,
    /// Leases it ended.
    pub leases_ended: usize,
    /// Jobs it promoted, which should have been before.
    pub promoted: usize,
}

/// What a job's error says when its worker was lost.
const LOST: &str = "the worker was lost: its lease ended without a report";

/// What a record keeps in place of a report when the end of the lease ended the attempt.
pub(crate) fn lost_report() -> ReportHash {
    ReportHash::of(["lost"])
}

impl<P: Ports> Engine<P> {
    /// Looks at every open run.
    pub async fn sweep(&self) -> Outcome<Swept> {
        let mut swept = Swept::default();
        for run in self.ports.open_runs().await? {
            swept.runs += 1;
            self.sweep_run(&run, &mut swept).await?;
        }
        Ok(swept)
    }

    async fn sweep_run(&self, run: &RunKey, swept: &mut Swept) -> Outcome<()> {
        let Some(control) = self.ports.control(run, Consistency::Strong).await? else { return Ok(()) };
        match control.state {
            RunState::New | RunState::Final => return Ok(()),
            RunState::Cancelling => {
                self.ports.walk(Walk { run: run.clone(), kind: WalkKind::Cancel, from: 0 }).await?;
                return Ok(());
            }
            RunState::Open => {}
        }
        let mut poisoned_from = control.failed.then_some(0);
        let mut any_waits = false;
        let mut succeeded = HashMap::new();
        let mut jobs = self.forward(run, control.done_below, Consistency::Strong);
        while let Some(job) = jobs.next().await? {
            succeeded.insert(job.key.index, job.outputs().is_some());
            if job.poisons() {
                poisoned_from = poisoned_from.or(Some(job.key.index));
            }
            any_waits |= matches!(job.phase, Phase::Waiting { .. });
            self.end_if_over(&job, swept).await?;
            self.promote_if_missed(&job, &mut succeeded, swept).await?;
        }
        if let (Some(from), true) = (poisoned_from, any_waits) {
            self.ports.walk(Walk { run: run.clone(), kind: WalkKind::Skip, from }).await?;
        }
        self.finish_if_done(run).await
    }

    pub(crate) async fn end_if_over(&self, job: &JobRecord, swept: &mut Swept) -> Outcome<()> {
        let now = self.ports.now();
        let Phase::Running(hold) = &job.phase else { return Ok(()) };
        if hold.until > now {
            return Ok(());
        }
        let spec = self.spec(job).await?;
        let last_report = LastReport { fence: hold.fence.clone(), report: lost_report() };
        let failure = Failure { error: LOST.to_owned(), exit_code: None, retryable: true, last_report };
        let expect = Expect::HeldOver { fence: hold.fence.clone(), now };
        let change = after_failure(job, &spec, failure, now);
        if let Updated::Done(job) = self.ports.update(&job.key, JobUpdate { expect, change }).await? {
            swept.leases_ended += 1;
            self.dispatch_if_ready(&job).await?;
        }
        Ok(())
    }

    /// `succeeded` knows the jobs of this run that were read before; needs come first, so only those below the run's
    /// `done_below` are unknown.
    async fn promote_if_missed(
        &self,
        job: &JobRecord,
        succeeded: &mut HashMap<JobIndex, bool>,
        swept: &mut Swept,
    ) -> Outcome<()> {
        let Phase::Waiting { on } = &job.phase else { return Ok(()) };
        let needs: Vec<JobIndex> =
            if job.sharded { self.spec(job).await?.needs.clone() } else { on.iter().copied().collect() };
        let unknown: Vec<JobIndex> = needs.iter().copied().filter(|need| !succeeded.contains_key(need)).collect();
        for page in unknown.chunks(100) {
            let records = self.ports.jobs_at(&job.key.run, page, Consistency::Strong).await?;
            for (index, record) in page.iter().zip(records) {
                succeeded.insert(*index, record.is_some_and(|record| record.outputs().is_some()));
            }
        }
        if !needs.iter().all(|need| succeeded.get(need) == Some(&true)) {
            return Ok(());
        }
        swept.promoted += 1;
        if needs.is_empty() {
            self.make_ready(job).await?;
        }
        for need in needs {
            self.promote(&job.key, need).await?;
        }
        Ok(())
    }
}
