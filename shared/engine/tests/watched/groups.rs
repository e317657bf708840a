//! What groups cost, and what happens if a step of an admission is missed.

use std::time::Duration;

use engine::ids::{GroupKey, Unit};
use engine::job::{JobRecord, Phase};
use engine::ports::{Consistency, GroupStore, StoreError};
use engine::run::{MAX_TIMER_DELAY, RunState};
use protocol::wire::WaitReason;
use protocol::{Label, Status, limits};

use crate::common::{Queues, submission};
use crate::store::Fault;
use crate::{World, at_once, ready};

/// The writes of jobs and of groups since the calls were forgotten.
fn writes(world: &World) -> usize {
    ["update", "put_place", "remove_place", "hold"].iter().map(|name| world.store().calls(name)).sum()
}

fn unavailable() -> Fault {
    Fault::Fails(StoreError::Unavailable("it is down".to_owned()))
}

fn is_ready(job: &JobRecord) -> bool {
    matches!(job.phase, Phase::Ready { .. })
}

/// The indexes of the ready jobs.
fn ready_jobs(world: &World) -> Vec<u32> {
    (0..world.control().jobs).filter(|index| is_ready(&world.job(*index))).collect()
}

#[tokio::test]
async fn job_of_a_group_takes_four_writes_more_and_others_none() {
    let writes_of = async |group: &str| {
        let world = ready(&format!("jobs: {{a: {{run: x}}, b: {{run: x, needs: a{group}}}}}")).await;
        let claimed = world.take("w").await;
        world.store().forget_calls();
        world.complete(&claimed).await.expect("accepted");
        let calls = (writes(&world), world.store().calls("holder") + world.store().calls("places"));
        assert_eq!(ready_jobs(&world), [1]);
        calls
    };
    assert_eq!(writes_of("").await, (2, 0));
    assert_eq!(writes_of(", concurrency: db").await, (6, 2));
}

#[tokio::test]
async fn next_job_of_a_group_is_admitted_after_any_step_of_an_admission_failed() {
    for call in ["put_place", "places", "holder", "hold", "update", "remove_place"] {
        for fault in [unavailable(), Fault::Unanswered] {
            let world = ready("jobs: {a: {run: x, concurrency: db}, b: {run: x, concurrency: db}}").await;
            assert_eq!(ready_jobs(&world).len(), 1, "one of them");
            let claimed = world.take("w").await;
            world.complete(&claimed).await.expect("accepted");
            world.store().next_calls(call, [fault]);
            let [event] = &world.events()[..] else { panic!("one job has ended") };
            // The feed repeats the event after a failure.
            drop(world.engine.scheduling().on_change(event).await);
            world.tell(std::slice::from_ref(event)).await;
            assert_eq!(ready_jobs(&world).len(), 1, "{call}");
            let next = world.take("w").await;
            assert_ne!(next.job.job_id, claimed.job.job_id);
        }
    }
}

#[tokio::test]
async fn timer_admits_what_the_change_feed_missed() {
    let world = ready("jobs: {a: {run: x, concurrency: db}, b: {run: x, concurrency: db}}").await;
    let claimed = world.take("w").await;
    world.complete(&claimed).await.expect("accepted");
    assert_eq!(ready_jobs(&world), Vec::<u32>::new());
    world.lose_events_and_fire_timers().await;
    assert_eq!(ready_jobs(&world).len(), 1);
}

#[tokio::test]
async fn places_of_jobs_that_wait_no_more_are_removed() {
    let jobs: Vec<String> = (0..700).map(|n| format!("j{n}: {{run: x, concurrency: db}}")).collect();
    let world = ready(&format!("jobs: {{{}}}", jobs.join(", "))).await;
    world.settle().await;
    let group = GroupKey::of_jobs(&Label::new("db").expect("a label"));
    let places = || at_once(world.store().places(&group, None, 10_000)).len();
    assert_eq!(places(), 699);
    world.engine.runs().cancel(&world.id).await.expect("cancelled");
    world.settle().await;
    assert_eq!((world.status().await, places()), (Status::Cancelled, 0));
}

/// One that waits doesn't wait longer than a run may be open.
#[tokio::test]
async fn run_that_waits_for_its_turn_for_30_days_is_cancelled() {
    let text = "concurrency: release\njobs: {a: {run: x}}";
    let world = ready(text).await;
    let second = world.engine.submissions().submit(submission(text, true)).await.expect("accepted");
    let second = World { engine: world.engine.clone(), clock: world.clock.clone(), id: second.workflow };
    second.settle().await;
    assert_eq!(second.control().state, RunState::Blocked);
    let waiting = second.now().await.waiting_for.expect("it waits");
    assert_eq!((waiting.reason, waiting.ahead), (WaitReason::Concurrency, Some(0)));
    assert_eq!(waiting.holder.map(|holder| holder.workflow), Some(world.id.clone()));
    second.clock.advance(limits::RUN_TIME.checked_sub(Duration::from_secs(1)).expect("longer than a second"));
    second.engine.scheduling().on_timer(&second.run(), true).await.expect("fired");
    assert_eq!(second.control().state, RunState::Blocked);
    second.clock.advance(MAX_TIMER_DELAY);
    second.engine.scheduling().on_timer(&second.run(), true).await.expect("fired");
    second.settle().await;
    assert_eq!(second.status().await, Status::Cancelled);
}

#[tokio::test]
async fn holder_whose_records_are_gone_has_no_group_any_more() {
    let text = "concurrency: release\njobs: {a: {run: x}}";
    let world = ready(text).await;
    let second = world.engine.submissions().submit(submission(text, true)).await.expect("accepted");
    let second = World { engine: world.engine.clone(), clock: world.clock.clone(), id: second.workflow };
    let group = second.control().group.expect("a group").key;
    assert_eq!(at_once(world.store().holder(&group, Consistency::Strong)), Some(Unit::Run(world.run())));
    crate::delete(world.store().memory(), &world.id);
    drop(world.events());
    second.lose_events_and_fire_timers().await;
    assert_eq!(second.control().state, RunState::Open);
}
