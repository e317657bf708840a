//! What a promotion costs, and the tickets and timers that follow it.

use std::time::Duration;

use engine::ports::{Pool, PoolQueue, QUEUE_WANTED};
use engine::run::Timer;
use protocol::requests::Claim;
use protocol::{LabelSet, Millis};

use crate::store::Watched;
use crate::{World, claim_of, ready, ready_on};

async fn complete_next(world: &World) -> usize {
    let claimed = world.take("w").await;
    world.store().forget_calls();
    world.complete(&claimed).await.expect("accepted");
    world.store().calls("update")
}

#[tokio::test]
async fn promotion_takes_one_write_for_each_need() {
    let world = ready("jobs: {a: {run: x}, b: {run: x}, end: {run: x, needs: [a, b]}}").await;
    // Each completion is one write too.
    assert_eq!([complete_next(&world).await, complete_next(&world).await], [2, 2]);
}

#[tokio::test]
async fn ticket_goes_to_the_queue_of_the_jobs_pool() {
    let yaml = "jobs: {a: {run: x, labels: gpu}, b: {run: x, labels: arm}, c: {run: x}}";
    let world = ready_on(Watched::with_queues(), yaml).await;
    let mut tickets = world.store().tickets();
    tickets.sort();
    let mut expected: Vec<_> = ["gpu", "arm", ""].map(str::to_owned).into_iter().zip(0..).collect();
    for (queue, index) in &mut expected {
        *index = (0..3).find(|at| world.job(*at).pool == pool(queue).id).expect("its job");
    }
    expected.sort();
    assert_eq!(tickets, expected);
}

fn pool(labels: &str) -> Pool {
    Pool::of(LabelSet::from_comma_separated(labels).expect("labels"))
}

#[test]
fn queue_is_used_until_an_hour_after_a_worker_registered_for_it() {
    let queue = PoolQueue { url: "q".to_owned(), wanted_at: Millis(1_000) };
    let pool = Pool { queue: Some(queue.clone()), ..pool("") };
    let end = Millis(1_000) + QUEUE_WANTED;
    assert_eq!(pool.live_queue(end - Duration::from_millis(1)), Some(&queue));
    assert_eq!(pool.live_queue(end), None);
}

#[tokio::test]
async fn pool_of_a_ready_job_is_listed_again_before_it_would_be_forgotten() {
    for (after, writes) in [(Duration::from_mins(1), 0), (Duration::from_hours(1), 1)] {
        let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
        let claim = Claim { lease_ttl_secs: 7200, ..claim_of("w") };
        let claimed = world.engine.claims().claim(claim).await.expect("answered").expect("ready");
        world.clock.advance(after);
        world.store().forget_calls();
        world.complete(&claimed).await.expect("accepted");
        assert_eq!(world.store().calls("add_pools"), writes, "{after:?} after the submission");
    }
}

#[tokio::test]
async fn timer_of_a_delayed_job_is_due_when_the_job_may_start() {
    let yaml = "jobs: {a: {run: x, retry: {max: 1, delay: 60}}}";
    let world = ready(yaml).await;
    let claimed = world.take("w").await;
    world.fail(&claimed, true).await.expect("accepted");
    let starts = world.time() + Duration::from_mins(1);
    // The timer of the lease comes first. It finds the delayed job.
    world.clock.advance(Duration::from_secs(30));
    world.engine.scheduling().run_timers().await.expect("the store answers");
    assert_eq!(world.control().timer, Timer::Due(starts));
}
