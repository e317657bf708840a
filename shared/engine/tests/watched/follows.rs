//! What following a run and a list of summaries read.

use std::time::Duration;

use engine::view::changes::ReadPosition;
use engine::view::summary::Filter;
use protocol::wire::{Job, WaitReason};
use protocol::{Status, limits};

use crate::common::submission;
use crate::{World, engine, ready};

/// Lanes of two jobs beside each other.
fn lanes(count: usize) -> String {
    let lane = |n| format!("  a{n}: {{run: x}}\n  b{n}: {{run: x, needs: a{n}}}\n");
    format!("jobs:\n{}", (0..count).map(lane).collect::<String>())
}

/// The jobs that a read of the changes returns, the records of jobs that it reads, and where the next one begins.
async fn poll(world: &World, seen: Option<ReadPosition>) -> (usize, usize, ReadPosition) {
    world.store().forget_calls();
    let changes = world.engine.queries().changes(&world.id, seen).await.expect("answered");
    assert_eq!((world.store().calls("workflow"), world.store().calls("control")), (1, 1));
    (changes.jobs.len(), world.store().jobs_read(), changes.seen)
}

#[tokio::test]
async fn poll_reads_the_jobs_from_the_first_that_was_not_shown_as_ended_and_returns_those_that_changed() {
    let world = ready(&lanes(20)).await;
    let (returned, read, seen) = poll(&world, None).await;
    assert_eq!((returned, read, seen.from), (40, 40, 0));
    world.clock.advance(Duration::from_secs(6));
    let (returned, read, seen) = poll(&world, Some(seen)).await;
    assert_eq!((returned, read), (20, 40), "those that became ready less than 5 s before the last read");
    let (returned, _, _) = poll(&world, Some(seen)).await;
    assert_eq!(returned, 0, "nothing changed");

    // A claim takes one of the oldest eight jobs, so the first one may stay for long.
    let mut taken = 0;
    while taken < 20 || !world.now().await.jobs[0].status.is_final() {
        let claimed = world.take("w").await;
        world.complete(&claimed).await.expect("accepted");
        taken += 1;
    }
    world.settle().await;
    // A claim takes a dependent that became ready as well as a root, so that the numbers of both vary.
    let is_ready = |job: &Job| job.waiting_for.as_ref().is_some_and(|why| why.reason != WaitReason::Needs);
    let changed = |job: &&Job| job.status.is_final() || (job.id.as_str().starts_with('b') && is_ready(job));
    let expected = world.now().await.jobs.iter().filter(changed).count();
    let (returned, read, seen) = poll(&world, Some(seen)).await;
    assert_eq!((returned, read), (expected, 40), "those that ended, and those that became ready");
    let (_, read, _) = poll(&world, Some(seen)).await;
    let left = world.now().await.jobs.iter().filter(|job| !job.status.is_final()).count();
    assert_eq!((seen.from as usize, read), (40 - read, read));
    assert!(read >= left && read < 40, "{read} records for {left} unfinished jobs");

    while let Some(claimed) = world.claim("w").await {
        world.complete(&claimed).await.expect("accepted");
        world.settle().await;
    }
    assert_eq!(world.status().await, Status::Success);
    let (_, _, seen) = poll(&world, Some(seen)).await;
    assert_eq!((seen.from, poll(&world, Some(seen)).await.1), (40, 0), "an ended run costs no read of jobs");
}

#[tokio::test]
async fn job_that_waits_for_its_next_attempt_is_returned_when_the_last_one_ended_and_not_until_the_delay_is_over() {
    let world = ready("jobs: {a: {run: x, retry: {max: 1, delay: 1h}}}").await;
    let claimed = world.take("w").await;
    let (_, _, seen) = poll(&world, None).await;
    world.clock.advance(Duration::from_secs(10));
    world.fail(&claimed, true).await.expect("accepted");
    let (returned, _, seen) = poll(&world, Some(seen)).await;
    assert_eq!(returned, 1);
    world.clock.advance(Duration::from_secs(10));
    let (_, _, seen) = poll(&world, Some(seen)).await;
    assert_eq!(poll(&world, Some(seen)).await.0, 0);
}

#[tokio::test]
async fn list_of_summaries_reads_at_most_1000_records() {
    let (engine, clock) = engine();
    for n in 0..1200 {
        let text = if n % 50 == 0 { lanes(30) } else { "jobs: {a: {run: x}}".to_owned() };
        engine.submissions().submit(submission(&text, n % 2 == 0)).await.expect("accepted");
        clock.advance(Duration::from_millis(1));
    }
    engine.scheduling().drain().await.expect("memory answers");
    let filters = [
        Filter::default(),
        Filter { text: Some("workflow".to_owned()), status: None },
        Filter { text: None, status: Some(Status::Running) },
        Filter { text: Some("nothing".to_owned()), status: None },
    ];
    for filter in filters {
        let (mut after, mut found, mut pages) = (None, 0, 0);
        loop {
            engine.ports().forget_calls();
            let page = engine.queries().summaries(after, limits::LIST, 0, &filter).await.expect("answered");
            let store = engine.ports();
            let read = store.workflows_read() + store.calls("control") + store.jobs_read();
            assert!(read <= limits::SUMMARY_RECORDS, "{read} records for {filter:?}");
            found += page.workflows.len();
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected = match &filter {
            Filter { status: Some(_), .. } => 600,
            Filter { text: Some(text), .. } if text == "nothing" => 0,
            Filter { .. } => 1200,
        };
        assert_eq!(found, expected, "{filter:?} in {pages} pages");
    }
}

#[tokio::test]
async fn run_with_more_jobs_than_may_be_read_is_counted_as_far_as_that_goes() {
    let world = ready(&lanes(1000)).await;
    let summary = async || {
        world.store().forget_calls();
        let page = world.engine.queries().summaries(None, 10, 0, &Filter::default()).await.expect("answered");
        page.workflows[0].clone()
    };
    let first = summary().await;
    assert_eq!((first.jobs, first.done, first.done_is_least), (2000, 0, true));
    for _ in 0..3 {
        let claimed = world.take("w").await;
        world.complete(&claimed).await.expect("accepted");
    }
    let then = summary().await;
    assert!(then.done <= 3, "{then:?}");
    assert!(world.store().jobs_read() <= limits::SUMMARY_RECORDS);
}
