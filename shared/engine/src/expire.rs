//! What a run's timer does when it fires: it ends expired leases and attempts, and repeats what was missed.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::try_join_all;
use protocol::Millis;
use protocol::wire::Cause;

use crate::Scheduling;
use crate::error::Result;
use crate::ids::{JobIndex, RunKey};
use crate::job::{
    Failure, JobRecord, JobUpdate, LastReport, LeaseRecord, Phase, Precondition, after_failure, lost_report,
};
use crate::messages::{BatchKind, BatchTask};
use crate::planted::Bug;
use crate::ports::{Consistency, Dispatcher, JobStore, RunStore, Updated, WorkerRegistry};
use crate::run::{Control, MAX_TIMER_DELAY, RunState, RunUpdate, Timer};

/// Functions' clocks differ by less than this. A timer that is due within it, by the clock of whoever is told, counts as
/// due: else the message would be dropped and no other come.
const SKEW: Duration = Duration::from_millis(2500);
/// What is still open after this ends as failed: a run that nobody can finish is not looked at for ever.
pub const OPEN_AT_MOST: Duration = Duration::from_hours(30 * 24);
/// Jobs that are expired at once.
const AT_ONCE: usize = 32;

/// What a look has seen of the run so far.
struct ScanState {
    began: Millis,
    too_old: bool,
    /// Tickets are sent for jobs that may start since then.
    tickets_since: Millis,
    succeeded: HashMap<JobIndex, bool>,
    earliest: Option<Millis>,
    blocked_from: Option<JobIndex>,
    any_waits: bool,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Scheduling<'_, P> {
    /// Looks at a run whose timer is due: ends what is over, does what was missed, and sets the timer again.
    ///
    /// `again`: the message was received before. Whoever did so may have stopped after it said that it looks, so it is
    /// never dropped.
    pub async fn on_timer(self, run: &RunKey, again: bool) -> Result<()> {
        let now = self.engine.now();
        let before = match self.engine.ports.control(run, Consistency::Strong).await? {
            Some(control) if control.state.is_active() => control,
            _ => return Ok(()),
        };
        let look = RunUpdate::Look { by: (!again).then_some(now + SKEW) };
        if look.apply(&before).is_none() {
            return Ok(());
        }
        let late = self.engine.has(Bug::TimerClearedLate);
        let said = if late { Updated::Done(before.clone()) } else { self.say_that_it_looks(run, look).await? };
        let Updated::Done(control) = said else { return Ok(()) };
        let mut seen = ScanState::new(now, &before, &control);
        self.look(&control, &mut seen).await?;
        if late {
            self.engine.ports.update_control(run, look).await?;
        }
        if let (Some(from), true) = (seen.blocked_from, seen.any_waits) {
            self.engine.ports.send_batch(BatchTask { run: run.clone(), kind: BatchKind::Skip, from }).await?;
        }
        self.finish_if_done(run).await?;
        let latest = self.engine.now() + MAX_TIMER_DELAY;
        self.engine.timers().arm_after_write(run, seen.earliest.map_or(latest, |due| due.min(latest))).await
    }

    /// Refused though it was due: somebody set the timer anew, after another looked, or after our own write, whose answer
    /// was lost. In the second case nobody has looked, so it is said whatever is set.
    async fn say_that_it_looks(self, run: &RunKey, look: RunUpdate) -> Result<Updated<Control>> {
        match self.engine.ports.update_control(run, look).await? {
            Updated::ConditionFailed(Some(_)) => {
                Ok(self.engine.ports.update_control(run, RunUpdate::Look { by: None }).await?)
            }
            said => Ok(said),
        }
    }

    async fn look(self, control: &Control, seen: &mut ScanState) -> Result<()> {
        if control.state == RunState::Cancelling {
            let run = control.run.clone();
            return self.engine.timers().ask_for(BatchTask { run, kind: BatchKind::Cancel, from: 0 }).await;
        }
        let mut jobs = self.engine.records().forward(&control.run, control.done_below, Consistency::Strong);
        loop {
            let some = jobs.some(AT_ONCE).await?;
            if some.is_empty() {
                return Ok(());
            }
            for now in try_join_all(some.iter().map(|job| self.end_what_is_over(job, seen))).await? {
                seen.see(&now);
            }
            for job in &some {
                self.promote_if_missed(job, seen).await?;
            }
        }
    }

    /// The job as it is then.
    async fn end_what_is_over(self, job: &JobRecord, seen: &ScanState) -> Result<JobRecord> {
        let now = self.engine.now();
        let update = match &job.phase {
            Phase::Running(_) | Phase::Ready { .. } if seen.too_old => {
                Some((Precondition::NotEnded, too_old_failure(job)))
            }
            Phase::Running(hold) if hold.until <= now => {
                let expect = Precondition::HeldOver { fence: hold.fence.clone(), until: hold.until };
                Some((expect, lease_failure(job, hold)))
            }
            Phase::Ready { until: Some(until), .. } if *until <= now => {
                Some((Precondition::ReadyOver { now }, untaken_failure(job)))
            }
            Phase::Ready { at, .. } if *at >= seen.tickets_since && *at <= now => {
                self.dispatch_if_ready(job).await?;
                None
            }
            _ => None,
        };
        let Some((expect, failure)) = update else { return Ok(job.clone()) };
        let change = after_failure(job, self.engine.records().spec(job).await?.as_ref(), failure, now);
        let now = self.engine.ports.update(&job.key, JobUpdate { expect, change }).await?.record();
        let now = now.unwrap_or_else(|| job.clone());
        self.dispatch_if_ready(&now).await?;
        Ok(now)
    }

    /// `seen` knows the jobs of this run that were read before; needs come first, so only those below the run's
    /// `done_below` are unknown.
    async fn promote_if_missed(self, job: &JobRecord, seen: &mut ScanState) -> Result<()> {
        let Phase::Waiting { on } = &job.phase else { return Ok(()) };
        let needs: Vec<JobIndex> = if job.sharded {
            self.engine.records().spec(job).await?.needs.clone()
        } else {
            on.iter().copied().collect()
        };
        let unknown: Vec<JobIndex> = needs.iter().copied().filter(|need| !seen.succeeded.contains_key(need)).collect();
        for page in unknown.chunks(100) {
            let records = self.engine.ports.jobs_at(&job.key.run, page, Consistency::Strong).await?;
            for (index, record) in page.iter().zip(records) {
                seen.succeeded.insert(*index, record.is_some_and(|record| record.outputs().is_some()));
            }
        }
        if !needs.iter().all(|need| seen.succeeded.get(need) == Some(&true)) {
            return Ok(());
        }
        if needs.is_empty() {
            self.make_ready(job).await?;
        }
        for need in needs {
            self.promote(&job.key, need).await?;
        }
        Ok(())
    }
}
impl ScanState {
    fn new(began: Millis, before: &Control, control: &Control) -> Self {
        let tickets_since = match before.timer {
            Timer::Due(at) => at - SKEW,
            // How long ago whoever looked before was told isn't known.
            Timer::Firing | Timer::Off => Millis(0),
        };
        Self {
            began,
            too_old: control.opened_at.is_some_and(|at| began.since(at) >= OPEN_AT_MOST),
            tickets_since,
            succeeded: HashMap::new(),
            earliest: None,
            blocked_from: control.failed.then_some(0),
            any_waits: false,
        }
    }

    fn see(&mut self, job: &JobRecord) {
        self.succeeded.insert(job.key.index, job.outputs().is_some());
        if job.blocks_dependents() {
            self.blocked_from = self.blocked_from.or(Some(job.key.index));
        }
        let due = match &job.phase {
            Phase::Waiting { .. } => {
                self.any_waits = true;
                None
            }
            Phase::Running(hold) => Some(hold.until),
            Phase::Ready { at, .. } if *at > self.began => Some(*at),
            Phase::Ready { until, .. } => *until,
            Phase::Ended(_) => None,
        };
        self.earliest = self.earliest.into_iter().chain(due).min();
    }
}

/// How an attempt failed whose lease is over.
fn lease_failure(job: &JobRecord, hold: &LeaseRecord) -> Failure {
    let timed_out = job.deadline().is_some_and(|deadline| hold.until >= deadline);
    let (cause, error) = match job.limits.timeout {
        Some(secs) if timed_out => (Cause::Timeout, format!("it ran longer than its timeout of {secs} s")),
        _ => (Cause::Lost, "the worker was lost: its lease ended without a report".to_owned()),
    };
    let last_report = Some(LastReport { fence: hold.fence.clone(), report: lost_report() });
    Failure { cause, error, exit_code: None, retryable: true, last_report }
}

fn too_old_failure(job: &JobRecord) -> Failure {
    let days = OPEN_AT_MOST.as_secs() / (24 * 60 * 60);
    let (cause, last_report) = match job.lease() {
        Some(hold) => (Cause::Timeout, Some(LastReport { fence: hold.fence.clone(), report: lost_report() })),
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
