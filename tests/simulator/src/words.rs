//! Changes in words, for the story.

use engine::job::{Change, JobOutcome, JobUpdate, Precondition};
use engine::messages::{BatchKind, BatchTask, QueueMessage, Reconcile};
use engine::run::RunUpdate;

use crate::trace::Trace;

pub(crate) fn of_errand(message: &QueueMessage, trace: &Trace) -> String {
    match message {
        QueueMessage::BatchTask(batch) => of_walk(batch, trace),
        QueueMessage::Timer(run) => format!("a look at {}", trace.run(run)),
        QueueMessage::Reconcile(Reconcile::Run(run)) => format!("a repair of {}", trace.run(run)),
        QueueMessage::Reconcile(Reconcile::Job(job)) => format!("a repair of {}", trace.job(job)),
    }
}

fn of_walk(batch: &BatchTask, trace: &Trace) -> String {
    let what = match batch.kind {
        BatchKind::Roots => "the roots".to_owned(),
        BatchKind::Dependents { of } => format!("the dependents of #{of}"),
        BatchKind::Skip => "a skip".to_owned(),
        BatchKind::Cancel => "a cancel".to_owned(),
        BatchKind::Delete { .. } => "a delete".to_owned(),
    };
    format!("a walk of {}: {what}, from #{} on", trace.run(&batch.run), batch.from)
}

pub(crate) fn of_run_update(update: &RunUpdate, trace: &Trace) -> String {
    match update {
        RunUpdate::Open { .. } => "opens".to_owned(),
        RunUpdate::Cancel { .. } => "begins to cancel".to_owned(),
        RunUpdate::Advance(progress) => format!("notes that all below #{} have ended, of", progress.done_below),
        RunUpdate::Arm { due } => format!("sets, if it is later, to {} the timer of", trace.at(*due)),
        RunUpdate::Look { by: Some(by) } => format!("says, if it is due by {}, that it looks at", trace.at(*by)),
        RunUpdate::Look { by: None } => "says that it looks at".to_owned(),
        RunUpdate::Finish => "closes".to_owned(),
    }
}

pub(crate) fn of_job_update(update: &JobUpdate, trace: &Trace) -> String {
    let expect = match &update.expect {
        Precondition::Waiting => "if it waits".to_owned(),
        Precondition::WaitingOnlyOn(need) => format!("if it waits only for #{need}"),
        Precondition::WaitingOnNothing => "if it waits for nothing".to_owned(),
        Precondition::Ready { by, .. } => format!("if it is ready by {}", trace.at(*by)),
        Precondition::HeldLive { fence, now } => format!("if {:.4} holds it at {}", fence.as_str(), trace.at(*now)),
        Precondition::HeldLiveUntil { fence, now, .. } => {
            format!("if {:.4} holds it at {}, and not for longer", fence.as_str(), trace.at(*now))
        }
        Precondition::HeldOver { fence, until } => {
            format!("if {:.4} held it until {}", fence.as_str(), trace.at(*until))
        }
        Precondition::Held { fence } => format!("if {:.4} holds it", fence.as_str()),
        Precondition::ReadyOver { now } => format!("if nobody took it by {}", trace.at(*now)),
        Precondition::NotEnded => "if it hasn't ended".to_owned(),
    };
    let change = match &update.change {
        Change::RemoveNeed(need) => format!("drops need #{need}"),
        Change::BecomeReady { until: Some(until), .. } => format!("makes ready, until {},", trace.at(*until)),
        Change::BecomeReady { .. } => "makes ready".to_owned(),
        Change::Start(hold) => {
            format!("gives {} to {} until {}", &hold.fence.as_str()[..4], hold.worker, trace.at(hold.until))
        }
        Change::Renew { until } => format!("renews until {}", trace.at(*until)),
        Change::Retry { attempt, error, at, .. } => {
            format!("begins try {attempt} from {} on ({error:.24})", trace.at(*at))
        }
        Change::End(end) => match &end.outcome {
            JobOutcome::Success(_) => "ends well".to_owned(),
            JobOutcome::Failure { .. } => "ends as failed".to_owned(),
            JobOutcome::Skipped => "skips".to_owned(),
            JobOutcome::Cancelled => "ends as cancelled".to_owned(),
        },
    };
    format!("{change}, {expect},")
}
