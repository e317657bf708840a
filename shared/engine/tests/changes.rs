//! Tests of the change feed: repeated events change nothing, and the timer makes up for lost events.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::World;
use engine::clock::Clock;
use engine::messages::{ChangeEvent, Delivered, Work};
use engine::ports::LocalWork;
use engine::run::MAX_TIMER_DELAY;
use protocol::requests::Only;
use protocol::{Millis, Status, limits};

mod common;

const DIAMOND: &str = "jobs: {top: {run: x}, left: {run: x, needs: top}, right: {run: x, needs: top}, \
                       end: {run: x, needs: [left, right]}}";

fn fan_in(width: usize) -> String {
    let mut text = String::from("jobs:\n");
    let names: Vec<String> = (0..width).map(|n| format!("w{n}")).collect();
    for name in &names {
        let _ = writeln!(text, "  {name}: {{run: x}}");
    }
    let _ = writeln!(text, "  end: {{run: x, needs: [{}]}}", names.join(", "));
    text
}

#[tokio::test]
async fn repeated_or_reordered_change_events_change_nothing() {
    let world = World::started(DIAMOND).await;
    let mut events = Vec::new();
    for step in 0.. {
        let new = world.events();
        world.tell(&new).await;
        world.send_batch().await;
        events.extend(new);
        let before = world.now().await;
        for _ in 0..2 {
            world.tell(&events).await;
            world.tell(&events[events.len() / 2..]).await;
            events.reverse();
            world.tell(&events).await;
            events.reverse();
            world.send_batch().await;
        }
        assert_eq!(world.now().await, before, "after step {step}");
        assert!(world.events().is_empty(), "something more happened after step {step}");
        match world.claim("w").await {
            Some(claimed) => world.complete(&claimed).await.expect("held"),
            None => break,
        }
    }
    assert_eq!(world.status().await, Status::Success);
}

#[tokio::test]
async fn change_event_of_an_older_run_does_not_affect_the_newer_run() {
    let world = World::started("jobs: {bad: {run: x}, next: {run: x, needs: bad}}").await;
    let opened = world.events();
    world.tell(&opened).await;
    let bad = world.claim("w").await.expect("ready");
    world.fail(&bad, false).await.expect("held");
    let failed = world.events();
    world.tell(&failed).await;
    world.send_batch().await;
    let rest = world.events();
    world.tell(&rest).await;
    assert_eq!(world.status().await, Status::Failure);

    world.engine.runs().start(&world.id, None, None).await.expect("it has ended");
    let reopened = world.events();
    world.tell(&reopened).await;
    let fresh = world.now().await;
    for events in [&opened, &failed, &rest] {
        world.tell(events).await;
        world.send_batch().await;
    }
    assert_eq!(world.now().await, fresh, "notices of an older run touched the newer one");
}

#[tokio::test]
async fn workflow_ends_even_if_all_its_change_events_are_lost() {
    for yaml in [DIAMOND.to_owned(), fan_in(40), fan_in(450)] {
        let world = World::started(&yaml).await;
        let mut done = 0;
        for _ in 0..20 {
            world.lose_events_and_fire_timers().await;
            while let Some(claimed) = world.claim("w").await {
                world.complete(&claimed).await.expect("held");
                done += 1;
            }
        }
        let ended = world.now().await;
        assert_eq!((ended.status, done), (Status::Success, ended.jobs.len()));
    }
}

#[tokio::test]
async fn failure_skips_its_dependents_even_if_its_change_event_is_lost() {
    let world = World::started("jobs: {bad: {run: x}, one: {run: x, needs: bad}, two: {run: x, needs: one}}").await;
    world.lose_events_and_fire_timers().await;
    let bad = world.claim("w").await.expect("the timer found it");
    world.fail(&bad, false).await.expect("held");
    world.lose_events_and_fire_timers().await;
    let statuses: Vec<Status> = world.now().await.jobs.iter().map(|job| job.status).collect();
    assert_eq!(statuses, [Status::Failure, Status::Skipped, Status::Skipped]);
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn conditions_are_decided_even_if_change_events_are_lost() {
    let yaml = "jobs:
  good: {run: x}
  undo: {run: x, needs: good, if: failure}
  after: {run: x, needs: undo}
  any: {run: x, needs: after, if: always}
on_failure: {run: x}
";
    let world = World::started(yaml).await;
    world.lose_events_and_fire_timers().await;
    let good = world.claim("w").await.expect("the timer found it");
    world.complete(&good).await.expect("held");
    for _ in 0..3 {
        world.lose_events_and_fire_timers().await;
    }
    let any = world.claim("w").await.expect("all its needs have ended");
    world.complete(&any).await.expect("held");
    world.lose_events_and_fire_timers().await;
    let statuses: Vec<Status> = world.now().await.jobs.iter().map(|job| job.status).collect();
    let (success, skipped) = (Status::Success, Status::Skipped);
    assert_eq!(statuses, [success, skipped, skipped, success, skipped]);
    assert_eq!(world.status().await, success);
}

#[tokio::test]
async fn cancel_ends_the_run_even_if_its_change_event_is_lost() {
    let world = World::started(DIAMOND).await;
    world.lose_events_and_fire_timers().await;
    let top = world.claim("w").await.expect("ready");
    world.engine.runs().cancel(&world.id).await.expect("memory answers");
    assert!(world.complete(&top).await.is_err(), "a report after the cancel counts for nothing");
    world.lose_events_and_fire_timers().await;
    assert_eq!(world.status().await, Status::Cancelled);
}

#[tokio::test]
async fn job_claimed_while_its_run_is_cancelled_is_not_given_out() {
    let world = World::started("jobs: {a: {run: x}, b: {run: x}}").await;
    world.tell(&world.events()).await;
    world.engine.runs().cancel(&world.id).await.expect("memory answers");
    // The cancelling batch has not run: the jobs are still in their ready lists.
    assert_eq!(world.claim("w").await, None);
    assert_eq!(world.claim("w").await, None);
    world.tell(&world.events()).await;
    world.send_batch().await;
    assert_eq!(world.status().await, Status::Cancelled);
    assert!(world.now().await.jobs.iter().all(|job| job.status == Status::Cancelled));
}

#[tokio::test]
async fn rerun_of_a_wide_fan_in_waits_only_for_jobs_that_were_not_kept() {
    let world = World::started(&fan_in(450)).await;
    world.engine.scheduling().drain().await.expect("memory answers");
    while let Some(claimed) = world.claim("w").await {
        let id = claimed.job.job_id.as_str();
        if ["w3", "w201"].contains(&id) {
            world.fail(&claimed, false).await.expect("held");
        } else {
            world.complete(&claimed).await.expect("held");
        }
        world.engine.scheduling().drain().await.expect("memory answers");
    }
    assert_eq!(world.status().await, Status::Failure);

    world.engine.runs().start(&world.id, Some(Only::Failed), None).await.expect("it has ended");
    let mut ran = Vec::new();
    loop {
        world.engine.scheduling().drain().await.expect("memory answers");
        let Some(claimed) = world.claim("w").await else { break };
        ran.push(claimed.job.job_id.to_string());
        if claimed.job.job_id.as_str() == "end" {
            assert_eq!(claimed.job.upstream_outputs.len(), 450);
        }
        world.complete(&claimed).await.expect("held");
    }
    ran[..2].sort();
    assert_eq!(ran, ["w201", "w3", "end"]);
    assert_eq!(world.status().await, Status::Success);
}

#[tokio::test]
async fn batch_task_whose_message_is_lost_runs_a_minute_later() {
    let cancelled = World::started(DIAMOND).await;
    cancelled.tell(&cancelled.events()).await;
    cancelled.engine.runs().cancel(&cancelled.id).await.expect("memory answers");
    let failed = World::started("jobs: {bad: {run: x}, one: {run: x, needs: bad}, two: {run: x, needs: one}}").await;
    failed.tell(&failed.events()).await;
    let bad = failed.claim("w").await.expect("ready");
    failed.fail(&bad, false).await.expect("held");
    for (world, end) in [(cancelled, Status::Cancelled), (failed, Status::Failure)] {
        world.tell(&world.events()).await;
        assert!(world.engine.ports().next_batch().is_some(), "it was asked for, and is lost here");
        world.clock.advance(Duration::from_secs(61));
        world.engine.scheduling().run_timers().await.expect("memory answers");
        world.send_batch().await;
        world.tell(&world.events()).await;
        assert_eq!(world.status().await, end);
    }
}

#[tokio::test]
async fn run_open_for_30_days_fails_with_a_reason() {
    let world =
        World::started("jobs: {one: {run: x, retries: 9}, two: {run: x, retries: 9}, next: {run: x, needs: two}}")
            .await;
    world.tell(&world.events()).await;
    let held = world.claim("w").await.expect("ready");
    world.clock.advance(limits::RUN_TIME.saturating_sub(Duration::from_secs(10)));
    world.engine.scheduling().run_timers().await.expect("memory answers");
    assert_eq!(world.status().await, Status::Running);
    let again = world.claim("w").await.expect("the lease was over long ago");
    assert_ne!(held.lease.lease_id, again.lease.lease_id);
    world.clock.advance(MAX_TIMER_DELAY);
    world.engine.scheduling().run_timers().await.expect("memory answers");
    world.send_batch().await;
    world.tell(&world.events()).await;
    world.send_batch().await;
    let ended = world.now().await;
    let statuses: Vec<Status> = ended.jobs.iter().map(|job| job.status).collect();
    assert_eq!(
        (ended.status, statuses.as_slice()),
        (Status::Failure, &[Status::Failure, Status::Failure, Status::Skipped][..])
    );
    assert!(ended.jobs[1].error.as_ref().is_some_and(|error| error.contains("30 days")), "{ended:#?}");
}

const WIDTH: usize = 40;

/// A fan-in whose first jobs have ended, and the changes of these.
async fn ended_fan_in() -> (World, Vec<Delivered>) {
    let (engine, clock) = common::engine();
    let engine = engine.with_tuning(engine::Tuning { inline_promotions: 0, ..engine::Tuning::default() });
    let world = World::started_on(engine, clock, &fan_in(WIDTH)).await;
    world.tell(&world.events()).await;
    for _ in 0..WIDTH {
        let claimed = world.claim("w").await.expect("ready");
        world.complete(&claimed).await.expect("held");
    }
    let changes: Vec<Delivered> = world.events().into_iter().map(Delivered::Event).collect();
    assert_eq!(changes.len(), WIDTH);
    (world, changes)
}

/// Takes the queued reconciles. Returns their number.
async fn reconciles(world: &World) -> usize {
    let mut count = 0;
    while let Some((number, work)) = world.engine.ports().next_work().await.expect("memory answers") {
        let Work::Reconcile(reconcile) = work else { panic!("{work:?}") };
        world.engine.scheduling().on_reconcile(&reconcile).await.expect("memory answers");
        world.engine.ports().work_done(number).await.expect("memory answers");
        count += 1;
    }
    count
}

/// A clock that goes on by a tenth of a second whenever it is read.
struct TickingClock(AtomicU64);

impl Clock for TickingClock {
    fn now(&self) -> Millis {
        Millis(self.0.fetch_add(100, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn changes_are_queued_from_15_s_before_the_deadline_on() {
    for (left, queued) in [(Duration::from_secs(15), WIDTH), (Duration::from_millis(15_001), 0)] {
        let (world, changes) = ended_fan_in().await;
        let deadline = world.engine.now() + left;
        let failed = world.engine.scheduling().on_changes(&changes, deadline).await;
        assert!(failed.is_empty(), "{failed:?}");
        let was_ready = world.claim("w").await;
        assert_eq!(was_ready.is_some(), queued == 0);
        assert_eq!(reconciles(&world).await, queued);
        let end = match was_ready {
            Some(claimed) => claimed,
            None => world.claim("w").await.expect("the reconciles made it ready"),
        };
        assert_eq!(end.job.job_id.as_str(), "end");
    }
}

#[tokio::test]
async fn changes_that_are_left_when_the_time_is_over_are_queued_and_none_is_lost() {
    let (world, changes) = ended_fan_in().await;
    let clock = Arc::new(TickingClock(AtomicU64::new(world.engine.now().0)));
    let ticking = world.engine.clone().with_clock(clock.clone());
    let deadline = ticking.now() + Duration::from_secs(16);
    let failed = ticking.scheduling().on_changes(&changes, deadline).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(world.claim("w").await.is_none(), "needs are left");
    let queued = reconciles(&world).await;
    assert!((1..WIDTH).contains(&queued), "{queued}");
    assert_eq!(world.claim("w").await.expect("ready").job.job_id.as_str(), "end");
}

#[tokio::test]
async fn unreadable_change_is_queued_and_the_others_are_handled() {
    let (world, mut changes) = ended_fan_in().await;
    changes[3] = Delivered::Unreadable(changes[3].place());
    let failed = world.engine.scheduling().on_changes(&changes, Millis(u64::MAX)).await;
    assert!(failed.is_empty(), "{failed:?}");
    assert!(world.claim("w").await.is_none(), "one need is left");
    assert_eq!(reconciles(&world).await, 1);
    assert_eq!(world.claim("w").await.expect("ready").job.job_id.as_str(), "end");
}

#[tokio::test]
async fn changes_of_one_run_are_handled_in_their_order() {
    let world = World::started(DIAMOND).await;
    let mut changes = world.events();
    world.engine.runs().cancel(&world.id).await.expect("memory answers");
    changes.extend(world.events());
    let [ChangeEvent::RunOpened(_), ChangeEvent::RunCancelling(_)] = &changes[..] else { panic!("{changes:?}") };
    let changes: Vec<Delivered> = changes.into_iter().map(Delivered::Event).collect();
    let failed = world.engine.scheduling().on_changes(&changes, Millis(u64::MAX)).await;
    assert!(failed.is_empty(), "{failed:?}");
    world.send_batch().await;
    assert_eq!(world.status().await, Status::Cancelled);
}
