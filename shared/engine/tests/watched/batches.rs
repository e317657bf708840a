//! What a batch costs, and where the next one starts.

use std::fmt::Write;

use engine::Tuning;
use engine::messages::{BatchKind, BatchTask, ChangeEvent};
use engine::ports::{Dispatcher, JobStore};
use protocol::Status;

use crate::common::Queues;
use crate::store::Watched;
use crate::{World, at_once, engine, engine_on, ready, started};

/// `count` jobs with these needs.
fn jobs(first: &str, count: usize, needs: &str) -> String {
    let mut yaml = format!("jobs:\n{first}");
    for n in 0..count {
        let _ = writeln!(yaml, "  j{n}: {{run: x, needs: [{needs}]}}");
    }
    yaml
}

async fn started_with(tuning: Tuning, yaml: &str) -> World {
    let (engine, clock) = engine();
    World::started_on(engine.with_tuning(tuning), clock, yaml).await
}

impl World {
    async fn batch(&self, kind: BatchKind, from: u32) -> Option<BatchTask> {
        let batch = BatchTask::new(self.run(), kind, from);
        self.engine.scheduling().run_batch(batch).await.expect("the store answers");
        self.store().memory().next_batch()
    }
}

#[tokio::test]
async fn jobs_of_a_batch_are_updated_32_at_once_up_to_its_number_of_writes() {
    for (writes, at_once) in [(500, 32), (20, 20)] {
        let world = started_with(Tuning { batch_writes: writes, ..Tuning::default() }, &jobs("", 40, "")).await;
        world.tell(&world.events()).await;
        assert_eq!(world.store().updates_at_once(), at_once, "{writes} writes");
    }
}

#[tokio::test]
async fn next_batch_starts_where_the_last_one_stopped() {
    let world = started_with(Tuning { batch_writes: 2, ..Tuning::default() }, &jobs("", 5, "")).await;
    drop(world.events());
    let mut from = 0;
    for expected in [2, 4] {
        from = world.batch(BatchKind::Roots, from).await.expect("more").from;
        assert_eq!(from, expected);
    }
    assert_eq!(world.batch(BatchKind::Roots, from).await, None);
}

#[tokio::test]
async fn repeated_batch_of_roots_sends_the_tickets_again() {
    let (engine, clock) = engine_on(Watched::with_queues());
    let world = World::started_on(engine, clock, "jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
    let events = world.events();
    world.tell(&events).await;
    world.tell(&events).await;
    assert_eq!(world.store().tickets().iter().map(|(_, job)| *job).collect::<Vec<_>>(), [0, 0]);
}

/// Dependents of two jobs, more than two times as many as are promoted at once. Their needs are stored in shards.
async fn sharded(writes: usize) -> World {
    let tuning = Tuning { shard: 1, batch_writes: writes, inline_promotions: 0, ..Tuning::default() };
    let world = started_with(tuning, &jobs("  a: {run: x}\n  b: {run: x}\n", 70, "a, b")).await;
    world.tell(&world.events()).await;
    for _ in 0..2 {
        let claimed = world.take("w").await;
        world.complete(&claimed).await.expect("accepted");
    }
    drop(world.events());
    world
}

#[tokio::test]
async fn every_write_of_a_promotion_counts_towards_the_batch() {
    // The first need leaves its shard and the job's record: 2 writes. After the second the job is also made ready: 3 writes.
    for (of, writes) in [(0, 2), (1, 3)] {
        let world = sharded(32 * writes).await;
        if of == 1 {
            let mut from = Some(0);
            while let Some(at) = from {
                from = world.batch(BatchKind::Dependents { of: 0 }, at).await.map(|batch| batch.from);
            }
        }
        let next = world.batch(BatchKind::Dependents { of }, 0).await;
        assert_eq!(next.map(|batch| batch.from), Some(32), "need {of}");
    }
}

#[tokio::test]
async fn promotion_of_jobs_that_wait_on_does_not_look_for_the_end_of_the_run() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}, c: {run: x, needs: [a, d]}, d: {run: x}}").await;
    let claimed = world.take("w").await;
    let of = world.key(claimed_index(&world, claimed.job.job_id.as_str())).index;
    world.complete(&claimed).await.expect("accepted");
    world.store().forget_calls();
    assert_eq!(world.batch(BatchKind::Dependents { of }, 0).await, None);
    // The control record is read for the run's state, and once more for the end of the run.
    assert_eq!((world.store().calls("control"), world.store().calls("jobs_at")), (1, 0));
}

fn claimed_index(world: &World, id: &str) -> u32 {
    let jobs = at_once(world.store().memory().jobs_from(&world.run(), 0, 1000, engine::ports::Consistency::Strong));
    jobs.iter().find(|job| job.id.as_str() == id).expect("it is there").key.index
}

#[tokio::test]
async fn dependents_of_a_cancelled_run_are_not_looked_at_further_before_they_have_ended() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
    let claimed = world.take("w").await;
    world.complete(&claimed).await.expect("accepted");
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    world.store().forget_calls();
    assert_eq!(world.batch(BatchKind::Dependents { of: 0 }, 0).await, None);
    assert_eq!((world.store().calls("control"), world.store().calls("jobs_at")), (1, 1));
    world.settle().await;
    assert_eq!(world.status().await, Status::Cancelled);
}

async fn failed(yaml: &str) -> World {
    let world = ready(yaml).await;
    let claimed = world.take("w").await;
    world.fail(&claimed, false).await.expect("accepted");
    world.store().forget_calls();
    world
}

fn event_of(world: &World, index: u32) -> ChangeEvent {
    ChangeEvent::JobEnded(Box::new(world.job(index)))
}

#[tokio::test]
async fn jobs_are_skipped_from_the_job_behind_the_failed_one_on() {
    let world = failed("jobs: {a: {run: x}, b: {run: x, needs: a}, c: {run: x, needs: b}}").await;
    world.tell(&[event_of(&world, 0)]).await;
    let batch = world.store().memory().next_batch().expect("queued");
    assert_eq!((batch.kind.clone(), batch.from), (BatchKind::Skip, 1));
    // The timer of the batch reads the control record; no end of the run is looked for while a dependent waits.
    assert_eq!((world.store().calls("control"), world.store().calls("jobs_at")), (1, 1));
    world.store().memory().send_batch(batch).await.expect("queued");
    world.send_batch().await;
    let skipped = event_of(&world, 1);
    world.store().forget_calls();
    world.tell(&[skipped]).await;
    assert_eq!(world.store().calls("send_batch"), 0, "one batch skips all jobs behind the failed one");
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn failure_of_a_job_without_dependents_queues_no_batch() {
    let world = failed("jobs: {a: {run: x}, b: {run: x}}").await;
    world.tell(&world.events()).await;
    assert_eq!(world.store().calls("send_batch"), 0);
}

#[tokio::test]
async fn repeated_event_of_a_failed_job_whose_dependents_have_ended_closes_the_run() {
    let world = failed("jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
    drop(world.events());
    let end = engine::job::End::unreported(
        engine::job::JobOutcome::Skipped(protocol::wire::SkippedBecause::Condition),
        world.time(),
    );
    let update =
        engine::job::JobUpdate { expect: engine::job::Precondition::Waiting, change: engine::job::Change::End(end) };
    at_once(world.store().memory().update(&world.key(1), update));
    world.tell(&[event_of(&world, 0)]).await;
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn progress_of_a_run_is_written_only_where_it_advanced() {
    let world = started("jobs: {a: {run: x}, b: {run: x}, c: {run: x}}").await;
    world.tell(&world.events()).await;
    let mut ended = Vec::new();
    for _ in 0..3 {
        let claimed = world.take("w").await;
        world.complete(&claimed).await.expect("accepted");
        ended.push(claimed_index(&world, claimed.job.job_id.as_str()));
    }
    drop(world.events());
    // As if the process had stopped after the progress was written.
    let progress = engine::run::Progress { done_below: 3, failed: false, cancelled: false };
    world.store().forget_calls();
    at_once(engine::ports::RunStore::update_control(
        world.store().memory(),
        &world.run(),
        engine::run::RunUpdate::Advance(progress),
    ));
    world.tell(&[event_of(&world, ended[0])]).await;
    assert_eq!(world.store().calls("update_control"), 1, "only the end");
    assert_eq!(world.status().await, Status::Success);
}

#[tokio::test]
async fn event_that_advances_no_progress_writes_none() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}, c: {run: x}}").await;
    let claims = [world.take("w").await, world.take("w").await];
    let last = claims.iter().find(|claimed| claimed.job.job_id.as_str() == "c").expect("claimed");
    world.fail(last, false).await.expect("accepted");
    let events = world.events();
    world.store().forget_calls();
    world.tell(&events).await;
    assert_eq!(world.store().calls("update_control"), 0);
}
