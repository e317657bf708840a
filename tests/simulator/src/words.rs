//! Updates and messages as text, for the trace.

use engine::job::{Change, JobOutcome, JobUpdate, Precondition};
use engine::messages::{BatchKind, BatchTask, QueueMessage, Reconcile};
use engine::run::RunUpdate;

use crate::trace::Trace;

pub(crate) fn of_message(message: &QueueMessage, trace: &Trace) -> String {
    match message {
        QueueMessage::BatchTask(batch) => of_batch(batch, trace),
        QueueMessage::Timer(run) => format!("the timer of {}", trace.run(run)),
        QueueMessage::Reconcile(Reconcile::Run(run)) => format!("a reconcile of {}", trace.run(run)),
        QueueMessage::Reconcile(Reconcile::Job(job)) => format!("a reconcile of {}", trace.job(job)),
        QueueMessage::Reconcile(Reconcile::Report(run, _)) => format!("a report of {}", trace.run(run)),
        QueueMessage::ForgesDue => "what is due at forges".to_owned(),
    }
}

fn of_batch(batch: &BatchTask, trace: &Trace) -> String {
    let what = match &batch.kind {
        BatchKind::Roots => "the roots".to_owned(),
        BatchKind::Dependents { of } => format!("the dependents of #{of}"),
        BatchKind::Skip => "a skip".to_owned(),
        BatchKind::Cancel => "a cancel".to_owned(),
        BatchKind::Admit { group } => format!("an admission to {}", group.as_str()),
        BatchKind::Delete { .. } => "a delete".to_owned(),
    };
    format!("a batch task of {}: {what}, from #{} on", trace.run(&batch.run), batch.from)
}

pub(crate) fn of_run_update(update: &RunUpdate, trace: &Trace) -> String {
    match update {
        RunUpdate::Open { .. } => "opens".to_owned(),
        RunUpdate::Block { .. } => "starts, to wait for its turn,".to_owned(),
        RunUpdate::Admit { .. } => "opens in its turn".to_owned(),
        RunUpdate::Cancel { .. } => "begins to cancel".to_owned(),
        RunUpdate::Supersede { .. } => "begins to cancel, for a newer run,".to_owned(),
        RunUpdate::Advance(progress) => format!("records that all below #{} have ended, of", progress.done_below),
        RunUpdate::Arm { due } => format!("sets, if it is later, to {} the timer of", trace.at(*due)),
        RunUpdate::Fire { by: Some(by) } => format!("marks, if due by {}, as firing the timer of", trace.at(*by)),
        RunUpdate::Fire { by: None } => "marks as firing the timer of".to_owned(),
        RunUpdate::Finish(_) => "closes".to_owned(),
    }
}

pub(crate) fn of_job_update(update: &JobUpdate, trace: &Trace) -> String {
    let expect = match &update.expect {
        Precondition::Waiting => "if it waits".to_owned(),
        Precondition::WaitingOnlyOn(need) => format!("if it waits only for #{need}"),
        Precondition::WaitingOnNothing => "if it waits for nothing".to_owned(),
        Precondition::Ready { by, .. } => format!("if it is ready by {}", trace.at(*by)),
        Precondition::HeldLive { fence, now } => format!("if {:.4} leases it at {}", fence.as_str(), trace.at(*now)),
        Precondition::HeldLiveUntil { fence, now, .. } => {
            format!("if {:.4} leases it at {}, and not for longer", fence.as_str(), trace.at(*now))
        }
        Precondition::HeldOver { fence, until } => {
            format!("if {:.4} leased it until {}", fence.as_str(), trace.at(*until))
        }
        Precondition::Held { fence } => format!("if {:.4} leases it", fence.as_str()),
        Precondition::ReadyOver { now } => format!("if its queue timeout was at {}", trace.at(*now)),
        Precondition::Blocked => "if it waits for its turn".to_owned(),
        Precondition::NotEnded => "if it hasn't ended".to_owned(),
    };
    let change = match &update.change {
        Change::Block { .. } => "lets wait for its turn".to_owned(),
        Change::RemoveNeed { member, failed: false } => format!("drops need #{member}"),
        Change::RemoveNeed { member, failed: true } => format!("drops need #{member}, which failed"),
        Change::BecomeReady { until: Some(until), .. } => format!("makes ready, until {},", trace.at(*until)),
        Change::BecomeReady { .. } => "makes ready".to_owned(),
        Change::Start(lease) => {
            format!("leases {} to {} until {}", &lease.fence.as_str()[..4], lease.worker, trace.at(lease.until))
        }
        Change::Renew { until } => format!("renews until {}", trace.at(*until)),
        Change::Retry { attempt, error, at, .. } => {
            format!("retries as attempt {attempt} from {} on ({error:.24})", trace.at(*at))
        }
        Change::End(end) => match &end.outcome {
            JobOutcome::Success(_) => "ends as succeeded".to_owned(),
            JobOutcome::Failure { .. } => "ends as failed".to_owned(),
            JobOutcome::Skipped(because) => format!("skips because of {because:?}"),
            JobOutcome::Cancelled => "ends as cancelled".to_owned(),
        },
    };
    format!("{change}, {expect},")
}
