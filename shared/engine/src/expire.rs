//! What a run's timer does when it fires: it ends expired leases and attempts, and repeats what was missed.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::wire::Cause;
use protocol::{Millis, limits};

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{JobIndex, RunKey};
use crate::job::{
    Failure, JobRecord, JobUpdate, LastReport, LeaseRecord, NeedResult, Phase, Precondition, after_failure, lost_report,
};
use crate::messages::{BatchKind, BatchTask};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, Updated, WorkerRegistry};
use crate::run::{Control, MAX_TIMER_DELAY, RunState, RunUpdate, Timer};

/// The maximum difference between two functions' clocks. A timer that is due within this time counts as due. Otherwise
/// the handler would drop the message, and no other message would follow.
const SKEW: Duration = Duration::from_millis(2500);
/// Jobs expired concurrently.
const AT_ONCE: usize = 32;

/// What a scan has found in the run so far.
struct ScanState {
    began: Millis,
    too_old: bool,
    /// Tickets are sent again for jobs that became ready after this time.
    tickets_since: Millis,
    /// How needs ended. `None`: not yet, or cancelled.
    results: HashMap<JobIndex, Option<NeedResult>>,
    earliest: Option<Millis>,
    /// The first waiting job that a batch task must skip.
    skip_from: Option<JobIndex>,
    /// The jobs that wait for their turn.
    blocked: Vec<JobRecord>,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Handles a run's timer: ends expired leases and attempts, repeats missed steps, and arms the timer again.
    ///
    /// `again` is true if the message was received before. The earlier handler may have stopped after it marked the
    /// timer as firing, so a repeated message is never dropped.
    pub async fn on_timer(self, run: &RunKey, again: bool) -> Result<()> {
        let now = self.engine.now();
        let before = match self.engine.ports.control(run, Consistency::Strong).await? {
            Some(control) if control.state.is_active() => control,
            _ => return Ok(()),
        };
        let fire = RunUpdate::Fire { by: (!again).then_some(now + SKEW) };
        if fire.apply(&before).is_none() {
            return Ok(());
        }
        let late = self.engine.has(Bug::TimerClearedLate);
        let marked = if late { Updated::Done(before.clone()) } else { self.mark_firing(run, fire).await? };
        let Updated::Done(control) = marked else { return Ok(()) };
        let mut scan = ScanState::new(now, &before, &control);
        self.scan(&control, &mut scan).await?;
        if late {
            self.engine.ports.update_control(run, fire).await?;
        }
        if !self.engine.has(Bug::BlockedPassedBy) {
            self.place_and_admit_all(&scan.blocked).await?;
        }
        let unseen = self.engine.has(Bug::TimerGoesByFailed) && !control.failed;
        if let Some(from) = scan.skip_from.filter(|_| !unseen) {
            self.engine.ports.send_batch(BatchTask::new(run.clone(), BatchKind::Skip, from)).await?;
        }
        self.finish_if_done(run).await?;
        let latest = self.engine.now() + MAX_TIMER_DELAY;
        self.engine.timers().arm_after_write(run, scan.earliest.map_or(latest, |due| due.min(latest))).await
    }

    /// Marks the timer as firing. A refusal means that the timer was armed again after another handler's scan, or
    /// after this handler's own write whose response was lost. In the second case nobody has scanned the run, so the
    /// timer is marked unconditionally.
    async fn mark_firing(self, run: &RunKey, fire: RunUpdate) -> Result<Updated<Control>> {
        match self.engine.ports.update_control(run, fire).await? {
            Updated::ConditionFailed(Some(_)) => {
                Ok(self.engine.ports.update_control(run, RunUpdate::Fire { by: None }).await?)
            }
            marked => Ok(marked),
        }
    }

    async fn scan(self, control: &Control, scan: &mut ScanState) -> Result<()> {
        if control.state == RunState::Cancelling {
            let run = control.run.clone();
            return self.engine.timers().ask_for(BatchTask::new(run, BatchKind::Cancel, 0)).await;
        }
        if control.state == RunState::Blocked {
            return self.scan_blocked(control, scan).await;
        }
        let mut jobs = self.engine.records().forward(&control.run, control.done_below, Consistency::Strong);
        loop {
            let some = jobs.some(AT_ONCE).await?;
            if some.is_empty() {
                return Ok(());
            }
            for now in try_join_all(some.iter().map(|job| self.expire_job(job, scan))).await? {
                scan.see(&now);
            }
            for job in &some {
                self.resolve_if_missed(job, scan).await?;
                if matches!(job.phase, Phase::Ready { .. }) {
                    self.engine.workers().renew_pool(job).await?;
                }
            }
        }
    }

    /// A run that waits for its turn has no job that could expire. If it has waited too long, it is cancelled.
    async fn scan_blocked(self, control: &Control, scan: &ScanState) -> Result<()> {
        if control.blocked_at.is_some_and(|at| scan.began.since(at) >= limits::RUN_TIME) {
            self.engine.ports.update_control(&control.run, RunUpdate::Cancel { at: scan.began }).await?;
            return Ok(());
        }
        self.place_and_admit_run(control).await
    }

    /// Ends or retries a job whose lease or queue timeout has expired, and sends a missed ticket. Returns the current
    /// record.
    async fn expire_job(self, job: &JobRecord, scan: &ScanState) -> Result<JobRecord> {
        let now = self.engine.now();
        let update = match &job.phase {
            Phase::Running(_) | Phase::Ready { .. } | Phase::Blocked { .. } if scan.too_old => {
                Some((Precondition::NotEnded, too_old_failure(job)))
            }
            Phase::Running(lease) if lease.until <= now => {
                let expect = Precondition::HeldOver { fence: lease.fence.clone(), until: lease.until };
                Some((expect, lease_failure(job, lease)))
            }
            Phase::Ready { until: Some(until), .. } if *until <= now => {
                Some((Precondition::ReadyOver { now }, untaken_failure(job)))
            }
            Phase::Ready { at, .. } if *at >= scan.tickets_since && *at <= now => {
                self.dispatch_or_place(job).await?;
                None
            }
            _ => None,
        };
        let Some((expect, failure)) = update else { return Ok(job.clone()) };
        let change = after_failure(job, self.engine.records().spec(job).await?.as_ref(), failure, now);
        let now = self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?.record();
        let now = now.unwrap_or_else(|| job.clone());
        self.dispatch_or_place(&now).await?;
        Ok(now)
    }

    /// Removes the needs of a waiting job that have all ended, or notes that a batch task must skip the job. `scan`
    /// knows the jobs read so far. Needs come first in the order, so only those below the run's `done_below` are unknown.
    /// The job of `on_failure` is left to the finish.
    async fn resolve_if_missed(self, job: &JobRecord, scan: &mut ScanState) -> Result<()> {
        let Phase::Waiting { on } = &job.phase else { return Ok(()) };
        if job.waits_for_run() {
            return Ok(());
        }
        let needs: Vec<JobIndex> = if job.sharded {
            self.engine.records().spec(job).await?.needs.clone()
        } else {
            on.iter().copied().collect()
        };
        let result = |record: Option<JobRecord>| record.and_then(|record| record.need_result());
        self.engine.records().look_up(&job.key.run, &needs, &mut scan.results, result).await?;
        let results: Vec<Option<NeedResult>> =
            needs.iter().map(|need| scan.results.get(need).copied().flatten()).collect();
        if results.iter().flatten().any(|result| !result.removes_need_of(job.condition)) {
            scan.skip_from = scan.skip_from.or(Some(job.key.index));
            return Ok(());
        }
        let Some(results) = results.into_iter().collect::<Option<Vec<_>>>() else { return Ok(()) };
        if needs.is_empty() {
            self.decide(job, job.need_failed).await?;
        }
        for (need, result) in needs.into_iter().zip(results) {
            self.resolve_need(&job.key, need, result).await?;
        }
        Ok(())
    }
}

impl ScanState {
    fn new(began: Millis, before: &Control, control: &Control) -> Self {
        let tickets_since = match before.timer {
            Timer::Due(at) => at - SKEW,
            // The due time of the previous scan isn't known.
            Timer::Firing | Timer::Off => Millis(0),
        };
        Self {
            began,
            too_old: control.opened_at.is_some_and(|at| began.since(at) >= limits::RUN_TIME),
            tickets_since,
            results: HashMap::new(),
            earliest: None,
            skip_from: None,
            blocked: Vec::new(),
        }
    }

    fn see(&mut self, job: &JobRecord) {
        self.results.insert(job.key.index, job.need_result());
        let due = match &job.phase {
            Phase::Waiting { .. } | Phase::Ended(_) => None,
            Phase::Blocked { .. } => {
                self.blocked.push(job.clone());
                None
            }
            Phase::Running(lease) => Some(lease.until),
            Phase::Ready { at, .. } if *at > self.began => Some(*at),
            Phase::Ready { until, .. } => *until,
        };
        self.earliest = self.earliest.into_iter().chain(due).min();
    }
}

/// Builds the failure of an attempt whose lease has expired.
fn lease_failure(job: &JobRecord, lease: &LeaseRecord) -> Failure {
    let timed_out = job.deadline().is_some_and(|deadline| lease.until >= deadline);
    let (cause, error) = match job.limits.timeout {
        Some(secs) if timed_out => (Cause::Timeout, format!("it ran longer than its timeout of {secs} s")),
        _ => (Cause::Lost, "the worker was lost: its lease ended without a report".to_owned()),
    };
    let last_report = Some(LastReport { fence: lease.fence.clone(), report: lost_report() });
    Failure { cause, error, exit_code: None, retryable: true, last_report }
}

fn too_old_failure(job: &JobRecord) -> Failure {
    let days = limits::RUN_TIME.as_secs() / (24 * 60 * 60);
    let (cause, last_report) = match job.lease() {
        Some(lease) => (Cause::Timeout, Some(LastReport { fence: lease.fence.clone(), report: lost_report() })),
        None => (Cause::QueueTimeout, None),
    };
    let error = format!("its run has been open for {days} days, the longest that one may be");
    Failure { cause, error, exit_code: None, retryable: false, last_report }
}

fn untaken_failure(job: &JobRecord) -> Failure {
    let secs = job.limits.queue_timeout.unwrap_or_default();
    let error = format!("no worker took it within its queue_timeout of {secs} s");
    Failure { cause: Cause::QueueTimeout, error, exit_code: None, retryable: false, last_report: None }
}
