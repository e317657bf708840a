//! Each job is done once: by many workers, each a process of its own, and whatever is said after its end.

use std::collections::BTreeSet;

use crate::common::World;
use crate::common::process::WorkerProcess;
use client::{Client, ClientError};
use worker::protocol::requests::{Claim, Complete};
use worker::protocol::{LabelSet, Status, WorkerId, WorkflowId};

const JOBS: usize = 1000;
const WORKERS: usize = 8;

#[tokio::test]
async fn a_thousand_jobs_run_once_each_on_eight_workers() {
    let jobs = (0..JOBS).map(|n| format!("  j{n}: {{run: 'echo {n} >> ran'}}\n")).collect::<String>();
    let world = World::with("many.yml", &format!("jobs:\n{jobs}")).await;
    let workers: Vec<_> = (0..WORKERS).map(|n| WorkerProcess::start(&world, &format!("w{n}"), &[])).collect();
    let id = world.submit("many.yml").await;
    world.ended(&id).await;
    let ran = std::fs::read_to_string(world.path("ran")).expect("written");
    let mut ran: Vec<usize> = ran.lines().map(|line| line.parse().expect("a number")).collect();
    ran.sort_unstable();
    assert!(ran == (0..JOBS).collect::<Vec<_>>(), "{} beginnings", ran.len());
    let client = Client::new(&world.server.url(), None).expect("its address");
    let done = client.workflow(&WorkflowId::new(id).expect("an id")).await.expect("it answers");
    assert!(done.jobs.iter().all(|job| job.status == Status::Success && job.attempt == 0));
    let by: BTreeSet<_> = done.jobs.iter().map(|job| &job.worker_id).collect();
    assert!(by.len() > 1, "one worker did it all: {by:?}");
    for worker in workers {
        worker.signal("TERM").await;
        let (status, said) = worker.end().await;
        assert!(status.success(), "{said}");
    }
}

#[tokio::test]
async fn a_heartbeat_after_the_completion_changes_nothing() {
    let world = World::with("one.yml", "jobs: {a: {run: x}}\n").await;
    let id = WorkflowId::new(world.submit("one.yml").await).expect("an id");
    let client = Client::new(&world.server.url(), None).expect("its address");
    let claim = Claim {
        worker_id: WorkerId::new("w1").expect("an id"),
        labels: LabelSet::default(),
        lease_ttl_secs: 30,
        wait_secs: 20,
        exclusive: false,
        ticket: None,
    };
    let lease = client.claim(&claim).await.expect("it answers").expect("a job").lease.lease_id;
    client.heartbeat(&lease).await.expect("it lives");
    let outputs = [("v".to_owned(), "1".to_owned())].into();
    client.complete(&lease, &Complete { outputs, next: None }).await.expect("accepted");
    world.ended(id.as_str()).await;
    let before = client.workflow(&id).await.expect("it answers");
    assert_eq!(before.status, Status::Success);
    for _ in 0..3 {
        let refused = client.heartbeat(&lease).await.expect_err("the lease is over");
        assert!(matches!(refused, ClientError::Refused { status: 409, .. }), "{refused}");
    }
    assert_eq!(client.workflow(&id).await.expect("it answers"), before);
}
