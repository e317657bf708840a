//! The states that a forge is told.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::forge::event::Signal;
use engine::forge::names::RepositoryKey;
use engine::forge::ports::ForgeError;
use engine::forge::records::DeliveryState::{Accepted, Failed, Ignored};
use engine::forge::records::{ReportRecord, ReportSource};
use engine::forge::state::TargetState;
use engine::forge::store::ForgeStore;
use engine::forges::ForgeChange;
use engine::ports::AuditStore;
use engine::run::MAX_TIMER_DELAY;
use protocol::access::AuditAction;

use crate::world::{LINK, World, commit, link, main};

const CHAIN: &str = "on: push
jobs:
  build: {labels: linux, run: make}
  lint: {labels: linux, run: make lint, allow_failure: true, needs: build}
  deploy: {labels: linux, run: make deploy, needs: build}
";

async fn pushed(text: &str) -> World {
    let world = World::linked().await;
    world.file('B', "ci", text);
    world.at(&main(), 'B');
    world.push(&main(), Some('A'), 'B', None).await;
    world
}

#[tokio::test]
async fn the_commit_shows_the_states_of_the_run_and_its_jobs() {
    let world = pushed(CHAIN).await;
    world.told().await;
    assert_eq!(
        world.forge.shown(),
        ["ci (push): running", "ci / build (push): queued", "ci / deploy (push): queued", "ci / lint (push): queued"]
    );
    for _ in 0..3 {
        world.run_job_unless("linux", "lint").await;
        world.told().await;
    }
    assert_eq!(
        world.forge.shown(),
        [
            "ci (push): success",
            "ci / build (push): success",
            "ci / deploy (push): success",
            "ci / lint (push): failure_allowed"
        ]
    );
    let state = world.forge.state();
    let last = state.told.last().expect("told");
    assert!(last.url.as_deref().is_some_and(|url| url.starts_with("https://ci.example.com/")), "{last:?}");
    assert!(last.id.is_some(), "a state that was told before is changed: {last:?}");
}

#[tokio::test]
async fn a_job_skipped_because_of_a_failure_is_not_told_as_passed() {
    let world = pushed(CHAIN).await;
    world.told().await;
    world.run_job("linux", false).await;
    world.told().await;
    assert_eq!(
        world.forge.shown(),
        [
            "ci (push): failure",
            "ci / build (push): failure",
            "ci / deploy (push): need_failed",
            "ci / lint (push): need_failed"
        ]
    );
}

#[tokio::test]
async fn report_run_tells_the_run_alone() {
    let world = pushed("on: push\nreport: run\njobs: {a: {run: x}, b: {run: x}}\n").await;
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (push): running"]);
    let world = pushed("on: push\nreport: [b]\njobs: {a: {run: x}, b: {run: x}}\n").await;
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (push): running", "ci / b (push): queued"]);
}

/// As function `forge` on AWS does it, which gets the changes of runs in batches.
#[tokio::test]
async fn batch_of_changes_is_told_at_once_and_one_that_changes_no_state_writes_nothing() {
    let world = pushed("on: push\nreport: run\njobs: {a: {run: x}, b: {run: x, needs: a}}\n").await;
    world.told().await;
    let repository = RepositoryKey { link: crate::world::link(), repository: 7 };
    let stored = async || {
        let mut reports = world.engine.ports().reports_of(&repository, &commit('B')).await.expect("read");
        reports.pop().expect("a report")
    };
    let batch = async |key| {
        let followed = world.engine.forges().on_changes(&[ForgeChange::Report(key)]).await;
        assert!(followed.failed.is_empty() && followed.next.is_none(), "{followed:?}");
    };
    let before = stored().await;
    batch(before.key.clone()).await;
    assert_eq!(stored().await.version, before.version, "the run runs as before");
    let claimed = world.claim("").await.expect("a job");
    let fail = serde_json::json!({ "error": "it broke", "retryable": false });
    let fail = serde_json::from_value(fail).expect("a report");
    world.engine.reports().fail(&claimed.lease.lease_id.0, fail).await.expect("accepted");
    world.engine.scheduling().drain().await.expect("memory answers");
    batch(before.key).await;
    assert_eq!(world.forge.shown(), ["ci (push): failure"]);
}

#[tokio::test]
async fn of_fifty_one_jobs_the_run_alone_is_told() {
    let jobs: Vec<String> = (0..51).map(|n| format!("j{n}: {{run: x}}")).collect();
    let world = pushed(&format!("on: push\njobs: {{{}}}\n", jobs.join(", "))).await;
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (push): running"]);
}

#[tokio::test]
async fn at_most_sixty_states_are_sent_in_a_minute_and_all_are_right_in_the_end() {
    let jobs: Vec<String> = (0..22).map(|n| format!("j{n}: {{run: x}}")).collect();
    let world = World::linked().await;
    for file in ["a", "b", "c"] {
        world.file('B', file, &format!("on: push\njobs: {{{}}}\n", jobs.join(", ")));
    }
    world.at(&main(), 'B');
    let (mut most, mut before) = (0, 0);
    world.push(&main(), Some('A'), 'B', None).await;
    for _ in 0..5 {
        let minute = world.engine.now().0 / 60_000;
        while world.engine.now().0 / 60_000 == minute {
            world.drain().await;
            world.clock.advance(Duration::from_secs(5));
        }
        let told = world.forge.state().told.len();
        most = most.max(told - before);
        before = told;
    }
    assert!(most <= 60, "{most}");
    // 66 jobs, three runs; and the run and the job of the file that every commit has.
    assert_eq!(world.forge.shown().len(), 71);
}

#[tokio::test]
async fn a_busy_forge_is_told_later_and_a_lost_answer_makes_all_states_unsure() {
    let world = World::linked().await;
    world.file('B', "ci", "on: push\njobs: {a: {labels: linux, run: x}}\n");
    world.at(&main(), 'B');
    let busy = ForgeError::Busy { text: "429".to_owned(), retry_after: Some(Duration::from_secs(30)) };
    world.forge.state().answers.extend([busy]);
    world.push(&main(), Some('A'), 'B', None).await;
    world.told().await;
    assert_eq!(world.forge.shown().len(), 1, "one of the two was refused");
    world.clock.advance(Duration::from_secs(31));
    world.drain().await;
    assert_eq!(world.forge.shown(), ["ci (push): running", "ci / a (push): queued"]);
    world.forge.state().answers.push_back(ForgeError::NoAnswer("cut off".to_owned()));
    world.run_job("linux", true).await;
    world.told().await;
    let told = world.forge.state().told.len();
    world.drain().await;
    assert_eq!(world.forge.state().told.len(), told, "nothing follows under the same lease");
    world.clock.advance(Duration::from_secs(61));
    world.drain().await;
    assert_eq!(world.forge.shown(), ["ci (push): success", "ci / a (push): success"]);
    assert_eq!(world.forge.state().told.len(), told + 2, "both are sent again");
}

#[tokio::test]
async fn what_is_gone_is_told_nothing_more() {
    let world = pushed(CHAIN).await;
    world.told().await;
    world.forge.state().answers.extend([ForgeError::Gone("404".to_owned())]);
    world.run_job("linux", true).await;
    world.told().await;
    let told = world.forge.state().told.len();
    world.run_job("linux", true).await;
    world.told().await;
    assert_eq!(world.forge.state().told.len(), told);
    let entries = world.engine.ports().entries(None, 10).await.expect("read");
    let [(_, entry)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.action, AuditAction::GiveUp);
    assert_eq!(entry.workflow, Some(world.workflows().await[0].id.clone()));
    assert_eq!(entry.about, Some(format!("ci (push) of acme/app at {}", commit('B'))));
    assert!(entry.reason.as_deref().is_some_and(|reason| reason.contains("404")), "{entry:?}");
}

#[tokio::test]
async fn states_that_are_refused_for_a_day_are_given_up_and_audited() {
    let world = World::linked().await;
    world.at(&main(), 'B');
    let refused = || ForgeError::Refused("403: not accessible".to_owned());
    world.forge.state().answers.extend((0..2000).map(|_| refused()));
    world.push(&main(), Some('A'), 'B', None).await;
    for _ in 0..25 * 6 {
        world.clock.advance(Duration::from_mins(10));
        world.drain().await;
    }
    let entries = world.engine.ports().entries(None, 10).await.expect("read");
    let reasons: Vec<_> = entries.iter().filter_map(|(_, entry)| entry.reason.clone()).collect();
    assert_eq!(reasons.len(), 1, "{entries:?}");
    assert!(reasons[0].contains("for too long") && reasons[0].contains("403: not accessible"), "{reasons:?}");
}

#[tokio::test]
async fn run_that_a_newer_one_cancels_says_so() {
    let world = World::linked().await;
    for letter in ['B', 'C'] {
        world.pull_at(12, letter, false);
        world.pull(12, letter).await;
        world.told().await;
        world.clock.advance(Duration::from_secs(6));
    }
    let state = world.forge.state();
    let last = |name: &str| {
        let mut of = state.told.iter().filter(|update| update.commit == commit('B') && update.name == name);
        of.next_back().map(|update| (update.state, update.description.clone())).expect("told")
    };
    for name in ["ci (pull_request)", "ci / test (pull_request)"] {
        let (state, description) = last(name);
        assert_eq!(state, TargetState::Cancelled, "{name}");
        assert!(description.starts_with("newer: "), "{name}: {description}");
    }
}

#[tokio::test]
async fn check_run_whose_creator_was_not_answered_is_changed_not_created_again() {
    let world = World::with(&LINK.replace("token: FORGE_TOKEN_ACME", "app: {id: 12, installation: 34}")).await;
    world.at(&main(), 'B');
    world.forge.state().answers.extend([ForgeError::NoAnswer("cut off".to_owned())]);
    world.push(&main(), Some('A'), 'B', None).await;
    world.told().await;
    world.clock.advance(Duration::from_secs(61));
    world.drain().await;
    assert_eq!(world.forge.shown(), ["ci (push): running", "ci / test (push): queued"]);
    let state = world.forge.state();
    for name in ["ci (push)", "ci / test (push)"] {
        let ids: Vec<_> = state.told.iter().filter(|update| update.name == name).map(|update| &update.id).collect();
        assert_eq!(ids.iter().filter(|id| id.is_none()).count(), 1, "{name}: {ids:?}");
    }
}

#[tokio::test]
async fn re_run_at_the_forge_runs_failed_jobs_again_and_shows_it() {
    let world = pushed(CHAIN).await;
    let again = || Signal::Rerequested { commit: commit('B'), check: None, actor: "alice".to_owned() };
    assert_eq!(world.deliver(again(), None).await.state, Ignored, "it runs");
    world.run_job("linux", false).await;
    world.told().await;
    assert_eq!(world.deliver(again(), None).await.state, Accepted);
    world.told().await;
    assert_eq!(world.forge.shown()[..2], ["ci (push): running", "ci / build (push): queued"]);
    assert_eq!(world.workflows().await[0].run, 2);
}

#[tokio::test]
async fn run_is_reported_whose_submitter_stopped_before_it_named_the_run() {
    let world = pushed(CHAIN).await;
    let key = RepositoryKey { link: link(), repository: 7 };
    let report = world.engine.ports().reports_of(&key, &commit('B')).await.expect("read").remove(0);
    let source = ReportSource::Workflow { id: None };
    let unnamed = ReportRecord { source, version: report.version + 1, sent: BTreeMap::new(), ..report };
    assert!(world.engine.ports().put_report(unnamed).await.expect("written"));
    world.run_job("linux", false).await;
    world.told().await;
    assert_eq!(world.forge.shown()[..2], ["ci (push): failure", "ci / build (push): failure"]);
}

#[tokio::test]
async fn ends_are_told_before_beginnings() {
    let world = pushed(CHAIN).await;
    world.told().await;
    let told = world.forge.state().told.len();
    world.run_job("linux", false).await;
    world.told().await;
    let state = world.forge.state();
    assert!(state.told[told..].iter().all(|update| update.state.is_end()));
    assert!(state.told.iter().any(|update| update.state == TargetState::NeedFailed));
}

#[tokio::test]
async fn last_states_are_right_though_changes_are_lost() {
    let world = pushed(CHAIN).await;
    world.told().await;
    let lose = || while world.engine.ports().next_event().is_some() {};
    // Nobody hears that a job began, that it ended, or that the run may be over.
    while let Some(job) = world.claim("linux").await {
        lose();
        world.engine.reports().complete(&job.lease.lease_id.0, BTreeMap::new(), None).await.expect("completed");
        lose();
    }
    world.clock.advance(MAX_TIMER_DELAY);
    world.engine.scheduling().run_timers().await.expect("memory answers");
    world.told().await;
    assert!(world.forge.shown().iter().all(|shown| shown.ends_with(": success")), "{:?}", world.forge.shown());
}

#[tokio::test]
async fn last_states_are_right_though_changes_come_twice_and_in_the_wrong_order() {
    let world = pushed(CHAIN).await;
    world.told().await;
    let mut events = Vec::new();
    while let Some(job) = world.claim("linux").await {
        world.engine.reports().complete(&job.lease.lease_id.0, BTreeMap::new(), None).await.expect("completed");
        events.extend(std::iter::from_fn(|| world.engine.ports().next_event()));
    }
    for event in events.iter().rev().chain(&events) {
        world.engine.scheduling().on_change(event).await.expect("memory answers");
        world.engine.forges().run_due().await.expect("memory answers");
    }
    world.told().await;
    assert!(world.forge.shown().iter().all(|shown| shown.ends_with(": success")), "{:?}", world.forge.shown());
}

#[tokio::test]
async fn refused_re_run_is_told_as_failed_until_one_is_allowed() {
    let world = pushed(CHAIN).await;
    world.run_job("linux", false).await;
    world.told().await;
    let again = || Signal::Rerequested { commit: commit('B'), check: None, actor: "alice".to_owned() };
    world.engine.forges().add(&link(), &LINK.replace("linux", "other")).await.expect("linked");
    let refused = world.deliver(again(), None).await;
    assert!(refused.state == Failed && refused.reason.expect("why").contains("`linux`"));
    world.told().await;
    assert_eq!(world.forge.shown()[..2], ["ci (push): invalid", "ci / build (push): failure"]);
    world.engine.forges().add(&link(), LINK).await.expect("linked");
    assert_eq!(world.deliver(again(), None).await.state, Accepted);
    world.told().await;
    assert_eq!(world.forge.shown()[..2], ["ci (push): running", "ci / build (push): queued"]);
}
