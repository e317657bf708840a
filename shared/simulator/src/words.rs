//! Changes in words, for the story.

use engine::job::{Change, Expect, JobUpdate, Outcome};
use engine::ports::{Errand, Repair, Walk, WalkKind};
use engine::run::RunUpdate;

use crate::tale::Tale;

pub(crate) fn of_errand(errand: &Errand, tale: &Tale) -> String {
    match errand {
        Errand::Walk(walk) => of_walk(walk, tale),
        Errand::Timer(run) => format!("a look at {}", tale.run(run)),
        Errand::Repair(Repair::Run(run)) => format!("a repair of {}", tale.run(run)),
        Errand::Repair(Repair::Job(job)) => format!("a repair of {}", tale.job(job)),
    }
}

fn of_walk(walk: &Walk, tale: &Tale) -> String {
    let what = match walk.kind {
        WalkKind::Roots => "the roots".to_owned(),
        WalkKind::Dependents { of } => format!("the dependents of #{of}"),
        WalkKind::Skip => "a skip".to_owned(),
        WalkKind::Cancel => "a cancel".to_owned(),
        WalkKind::Delete { .. } => "a delete".to_owned(),
    };
    format!("a walk of {}: {what}, from #{} on", tale.run(&walk.run), walk.from)
}

pub(crate) fn of_run_update(update: &RunUpdate, tale: &Tale) -> String {
    match update {
        RunUpdate::Open { .. } => "opens".to_owned(),
        RunUpdate::Cancel { .. } => "begins to cancel".to_owned(),
        RunUpdate::Advance(progress) => format!("notes that all below #{} have ended, of", progress.done_below),
        RunUpdate::Arm { due } => format!("sets, if it is later, to {} the timer of", tale.at(*due)),
        RunUpdate::Look { by: Some(by) } => format!("says, if it is due by {}, that it looks at", tale.at(*by)),
        RunUpdate::Look { by: None } => "says that it looks at".to_owned(),
        RunUpdate::Finish => "closes".to_owned(),
    }
}

pub(crate) fn of_job_update(update: &JobUpdate, tale: &Tale) -> String {
    let expect = match &update.expect {
        Expect::Waiting => "if it waits".to_owned(),
        Expect::WaitingOnlyOn(need) => format!("if it waits only for #{need}"),
        Expect::WaitingOnNothing => "if it waits for nothing".to_owned(),
        Expect::Ready { by, .. } => format!("if it is ready by {}", tale.at(*by)),
        Expect::HeldLive { fence, now } => format!("if {:.4} holds it at {}", fence.as_str(), tale.at(*now)),
        Expect::HeldLiveUntil { fence, now, .. } => {
            format!("if {:.4} holds it at {}, and not for longer", fence.as_str(), tale.at(*now))
        }
        Expect::HeldOver { fence, until } => format!("if {:.4} held it until {}", fence.as_str(), tale.at(*until)),
        Expect::Held { fence } => format!("if {:.4} holds it", fence.as_str()),
        Expect::ReadyOver { now } => format!("if nobody took it by {}", tale.at(*now)),
        Expect::NotEnded => "if it hasn't ended".to_owned(),
    };
    let change = match &update.change {
        Change::DropNeed(need) => format!("drops need #{need}"),
        Change::BecomeReady { until: Some(until), .. } => format!("makes ready, until {},", tale.at(*until)),
        Change::BecomeReady { .. } => "makes ready".to_owned(),
        Change::Start(hold) => {
            format!("gives {} to {} until {}", &hold.fence.as_str()[..4], hold.worker, tale.at(hold.until))
        }
        Change::Renew { until } => format!("renews until {}", tale.at(*until)),
        Change::TryAgain { attempt, error, at, .. } => {
            format!("begins try {attempt} from {} on ({error:.24})", tale.at(*at))
        }
        Change::End(end) => match &end.outcome {
            Outcome::Success(_) => "ends well".to_owned(),
            Outcome::Failure { .. } => "ends as failed".to_owned(),
            Outcome::Skipped => "skips".to_owned(),
            Outcome::Cancelled => "ends as cancelled".to_owned(),
        },
    };
    format!("{change}, {expect},")
}
