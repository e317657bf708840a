//! Submissions, starts and re-runs: lost answers, retries, and what a start keeps.

use std::sync::Arc;
use std::time::Duration;

use engine::EngineError;
use engine::clock::Rng;
use engine::ids::{Random, RunKey};
use engine::ports::{Commit, Consistency, RunStore};
use engine::run::{Control, MAX_TIMER_DELAY, RunState, RunUpdate, Timer, WorkflowRecord};
use memory::Memory;
use protocol::requests::Only;
use protocol::{Status, WorkflowId};

use crate::common::submission;
use crate::store::{Fault, after, unavailable};
use crate::{ONE, World, at_once, engine, ready, record_in, started};

async fn new_workflow() -> World {
    let (engine, clock) = engine();
    World::submitted(engine, clock, ONE, false).await
}

#[tokio::test]
async fn submission_whose_commit_is_sent_twice_is_accepted() {
    let (engine, _) = engine();
    engine.ports().next_calls("commit", [Fault::SentTwice]);
    let submitted = engine.submissions().submit(submission(ONE, true)).await.expect("the commit is its own");
    assert!(submitted.created.is_some());
}

#[tokio::test]
async fn submission_writes_its_records_three_times_before_it_gives_up() {
    let (engine, _) = engine();
    engine.ports().next_calls("put_new", [unavailable(), unavailable()]);
    engine.submissions().submit(submission(ONE, true)).await.expect("the third time");
    engine.ports().forget_calls();
    engine.ports().next_calls("put_new", [unavailable(), unavailable(), unavailable()]);
    let error = engine.submissions().submit(submission(ONE, true)).await.expect_err("three times");
    assert!(matches!(error, EngineError::Store(_)), "{error}");
    assert_eq!(engine.ports().calls("put_new"), 3);
}

#[tokio::test]
async fn timer_of_a_started_run_is_due_after_the_longest_delay() {
    let world = started(ONE).await;
    let due = world.time() + MAX_TIMER_DELAY;
    assert_eq!(world.control().timer, Timer::Due(due));
    assert_eq!(world.store().timers(), [due]);
}

/// Random bits that are the same each time.
struct Fixed(Random);

impl Rng for Fixed {
    fn random(&self) -> Random {
        self.0
    }
}

async fn opener(random: Random) -> Option<u64> {
    let (engine, clock) = engine();
    let world = World::submitted(engine.with_rng(Arc::new(Fixed(random))), clock, ONE, false).await;
    world.engine.runs().start(&world.id, None, None).await.expect("new");
    world.control().opener
}

#[tokio::test]
async fn request_that_starts_a_run_is_known_by_64_random_bits() {
    let one = opener([7; 16]).await.expect("it was started");
    assert_eq!(opener([7; 16]).await, Some(one), "they are the engine's");
    for at in 0..8 {
        let mut other = [7; 16];
        other[at] = 8;
        assert_ne!(opener(other).await, Some(one), "byte {at}");
    }
}

#[tokio::test]
async fn start_whose_update_is_sent_twice_is_accepted_and_sends_the_timer() {
    let world = new_workflow().await;
    world.store().next_calls("update_control", [Fault::SentTwice]);
    world.engine.runs().start(&world.id, None, None).await.expect("the update is its own");
    assert_eq!(world.store().timers(), [world.time() + MAX_TIMER_DELAY]);
}

#[tokio::test]
async fn start_that_another_start_overtakes_is_refused() {
    let world = new_workflow().await;
    let (run, at) = (world.run(), world.time());
    let other = move |memory: &Memory| drop(at_once(memory.update_control(&run, RunUpdate::Open { at, opener: 1 })));
    world.store().next_calls("update_control", [after(other)]);
    let error = world.engine.runs().start(&world.id, None, None).await.expect_err("the other one started it");
    assert!(matches!(error, EngineError::InvalidState { status: Status::Running, .. }), "{error}");
    assert!(world.store().timers().is_empty(), "the other one sends its timer");
}

#[tokio::test]
async fn workflow_submitted_a_day_before_its_start_is_kept_from_the_start_on() {
    let day = Duration::from_hours(24);
    for (age, renewals) in [(Duration::ZERO, 0), (day.saturating_sub(Duration::from_millis(1)), 0), (day, 1)] {
        let world = new_workflow().await;
        world.clock.advance(age);
        world.engine.runs().start(&world.id, None, None).await.expect("new");
        assert_eq!(world.store().calls("renew"), renewals, "{age:?}");
        world.clock.advance(day);
        world.engine.runs().start(&world.id, None, None).await.expect_err("it runs");
        assert_eq!(world.store().calls("renew"), renewals, "a run that is open is kept anyway");
    }
}

/// A workflow of one job that succeeded.
async fn succeeded() -> World {
    let world = ready(ONE).await;
    let claimed = world.take("w").await;
    world.complete_with(&claimed, &[("n", "1")]).await;
    world.settle().await;
    world
}

#[tokio::test]
async fn rerun_has_the_next_number_and_its_commit_may_be_sent_twice() {
    let world = succeeded().await;
    world.store().next_calls("commit", [Fault::SentTwice]);
    world.engine.runs().start(&world.id, None, None).await.expect("the commit is its own");
    let now = world.now().await;
    assert_eq!((now.run, now.status), (2, Status::Running));
    assert_eq!(world.control().number, 2);
}

/// Re-runs a workflow as another request does.
fn rerun(memory: &Memory, id: &WorkflowId) {
    let old = record_in(memory, id);
    let run = RunKey::new([9; 16]);
    let control = at_once(memory.control(&old.run, Consistency::Strong)).expect("it is there");
    let control = Control { run: run.clone(), number: 2, state: RunState::Open, done_below: 0, ..control };
    let workflow = WorkflowRecord { run, number: 2, ended: None, ..old.clone() };
    at_once(memory.commit(Commit { workflow, replaces: Some(old.run), control, idempotency: None }));
}

#[tokio::test]
async fn rerun_that_another_rerun_overtakes_is_refused() {
    let world = succeeded().await;
    let id = world.id.clone();
    world.store().next_calls("commit", [after(move |memory| rerun(memory, &id))]);
    let error = world.engine.runs().start(&world.id, None, None).await.expect_err("the other one is current");
    assert!(matches!(error, EngineError::Moved(_)), "{error}");
    assert_eq!(world.run(), RunKey::new([9; 16]));
}

#[tokio::test]
async fn rerun_of_failed_jobs_that_keeps_all_of_them_ends_at_once() {
    let world = succeeded().await;
    world.engine.runs().start(&world.id, Some(Only::Failed), None).await.expect("it has ended");
    world.settle().await;
    let now = world.now().await;
    assert_eq!((now.run, now.status, now.jobs[0].exit_code), (2, Status::Success, None), "no attempt was made");
}
