//! Timers: what they scan, write and send, and the sweep.

use std::time::Duration;

use engine::messages::QueueMessage;
use engine::ports::{Consistency, RunStore};
use engine::run::{MAX_TIMER_DELAY, RunUpdate, Timer};
use protocol::limits;

use crate::common::Queues;
use crate::store::{Fault, Watched, corrupt};
use crate::{ONE, World, at_once, ready, ready_on, started};

impl World {
    async fn timer(&self, again: bool) {
        let message = QueueMessage::Timer(self.run());
        self.engine.scheduling().on_message(message, again).await.expect("the store answers");
    }
}

#[tokio::test]
async fn timer_that_is_not_due_is_dropped_unless_its_message_is_repeated() {
    let world = ready(ONE).await;
    world.store().forget_calls();
    world.timer(false).await;
    assert_eq!((world.store().calls("update_control"), world.store().calls("jobs_from")), (0, 0));
    world.timer(true).await;
    assert!(world.store().calls("jobs_from") > 0, "the handler before may have stopped halfway");
    assert_eq!(world.control().timer, Timer::Due(world.time() + MAX_TIMER_DELAY));
}

#[tokio::test]
async fn timer_writes_nothing_to_a_job_that_is_not_due() {
    let world = ready("jobs: {a: {run: x, queue_timeout: 2h}}").await;
    world.clock.advance(MAX_TIMER_DELAY);
    world.store().forget_calls();
    world.engine.scheduling().run_timers().await.expect("the store answers");
    assert!(world.store().calls("jobs_from") > 0);
    assert_eq!(world.store().calls("update"), 0);
}

#[tokio::test]
async fn timer_sends_the_ticket_of_a_job_that_became_ready_since_the_last_one() {
    let yaml = "jobs: {a: {run: x}, b: {run: x, needs: a}}";
    let world = ready_on(Watched::with_queues(), yaml).await;
    world.store().forget_calls();
    world.clock.advance(MAX_TIMER_DELAY);
    world.engine.scheduling().run_timers().await.expect("the store answers");
    assert!(world.store().tickets().is_empty(), "ready since long before the timer was due");
    // The claim's lease ends in 30 s. So does the timer.
    let claimed = world.take("w").await;
    world.clock.advance(Duration::from_secs(29));
    world.complete(&claimed).await.expect("accepted");
    world.store().forget_calls();
    world.clock.advance(Duration::from_secs(1));
    world.engine.scheduling().run_timers().await.expect("the store answers");
    assert_eq!(world.store().tickets().iter().map(|(_, job)| *job).collect::<Vec<_>>(), [1], "ready a second ago");
}

#[tokio::test]
async fn timer_sends_no_ticket_for_a_job_that_may_not_start_yet() {
    let yaml = "jobs: {a: {run: x, retry: {max: 1, delay: 600}}}";
    let world = ready_on(Watched::with_queues(), yaml).await;
    let claimed = world.take("w").await;
    world.fail(&claimed, true).await.expect("accepted");
    world.store().forget_calls();
    world.clock.advance(Duration::from_mins(1));
    world.timer(true).await;
    assert!(world.store().tickets().is_empty());
    assert_eq!(
        world.store().calls("control"),
        3,
        "read before the scan, for the end of the run, and for the next timer"
    );
}

#[tokio::test]
async fn sweep_sends_the_timers_that_are_overdue_and_no_others() {
    let world = ready(ONE).await;
    let Timer::Due(due) = world.control().timer else { panic!("armed") };
    world.store().forget_calls();
    let left = due.since(world.time());
    world.clock.advance(left + Duration::from_secs(9));
    assert_eq!(world.engine.timers().sweep().await.expect("the store answers"), 0);
    assert!(world.store().timers().is_empty());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.engine.timers().sweep().await.expect("the store answers"), 1);
    assert_eq!(world.store().timers(), [world.time()]);
}

#[tokio::test]
async fn start_of_a_process_fires_the_timers_of_all_open_runs() {
    let world = ready("jobs: {a: {run: x, retries: 1}}").await;
    world.take("w").await;
    world.clock.advance(Duration::from_secs(30));
    world.engine.scheduling().fire_all_timers().await.expect("the store answers");
    assert_eq!(world.take("w").await.job.attempt, 1, "the lease had expired");
}

#[tokio::test]
async fn run_whose_records_are_unreadable_is_looked_at_again_after_the_longest_delay() {
    let world = started(ONE).await;
    world.clock.advance(MAX_TIMER_DELAY);
    world.store().next_calls("jobs_from", [corrupt(), corrupt()]);
    let next = world.engine.scheduling().run_timers().await.expect("other runs go on");
    assert_eq!((next, world.store().calls("jobs_from")), (Some(world.time() + MAX_TIMER_DELAY), 1));
}

#[tokio::test]
async fn run_whose_control_record_is_unreadable_does_not_stop_the_timers_of_others() {
    let world = started(ONE).await;
    let run = world.run();
    let timers = world.store().calls("update_control");
    world.clock.advance(MAX_TIMER_DELAY);
    // Its message, and the arming for later.
    world.store().next_calls("control", [corrupt(), corrupt()]);
    world.store().next_calls("update_control", [corrupt(), corrupt()]);
    let next = world.engine.scheduling().run_timers().await.expect("other runs go on");
    assert_eq!(next, Some(world.time() + Duration::from_secs(1)), "{run} is tried again, but not at once");
    assert!(world.store().calls("update_control") > timers);
    let next = world.engine.scheduling().run_timers().await.expect("it can be read again");
    assert!(next.is_some_and(|next| next > world.time() + Duration::from_secs(1)), "{next:?}");
}

#[tokio::test]
async fn run_that_is_open_for_the_longest_time_fails_and_one_just_before_does_not() {
    let world = ready(ONE).await;
    world.clock.advance(limits::RUN_TIME.saturating_sub(Duration::from_millis(1)));
    world.timer(true).await;
    assert_eq!(world.status().await, protocol::Status::Running);
    world.clock.advance(Duration::from_millis(1));
    world.timer(true).await;
    let ended = world.now().await;
    assert_eq!(ended.status, protocol::Status::Failure);
    assert!(ended.jobs[0].error.as_deref().expect("an error").contains("open for 30 days"), "{ended:#?}");
}

#[tokio::test]
async fn claim_whose_write_is_in_doubt_arms_the_timer_that_fired_meanwhile() {
    let world = ready(ONE).await;
    let run = world.run();
    let fires = move |memory: &memory::Memory| {
        at_once(memory.update_control(&run, RunUpdate::Fire { by: None }));
    };
    // The update is applied, its answer is lost, and the timer fires between the first arming and the update.
    world.store().next_calls("update", [Fault::Then(Box::new(fires), Box::new(Fault::Unanswered))]);
    world.store().forget_calls();
    world.engine.claims().claim(crate::claim_of("w")).await.expect_err("its answer was lost");
    let until = world.job(0).lease().expect("it runs").until;
    assert_eq!(world.control().timer, Timer::Due(until));
    assert_eq!(world.store().timers().last(), Some(&until));
    let read = at_once(world.store().memory().control(&world.run(), Consistency::Strong)).expect("there");
    assert_eq!(read.timer, Timer::Due(until));
}
