//! Deletions, and what is under way while a workflow is deleted.

use engine::EngineError;
use engine::error::LeaseLost;
use engine::messages::{BatchKind, BatchTask, ChangeEvent, QueueMessage, Reconcile};
use engine::ports::{Dispatcher, LocalWork, RunStore};
use engine::run::RunUpdate;
use protocol::Status;
use protocol::requests::Fail;

use crate::common::Queues;
use crate::store::{Fault, after, corrupt, unavailable};
use crate::{ONE, World, at_once, delete, engine, ready, started};

/// A workflow whose only job has a specification that is stored apart from its record.
async fn large() -> World {
    let text = "x".repeat(2000);
    ready(&format!("jobs: {{a: {{run: {text}}}}}")).await
}

fn deletes(world: &World) -> Fault {
    let id = world.id.clone();
    after(move |memory| delete(memory, &id))
}

#[tokio::test]
async fn status_of_a_workflow_that_is_deleted_meanwhile_is_not_found() {
    let world = large().await;
    world.store().next_calls("specs", [deletes(&world)]);
    let error = world.engine.queries().workflow(&world.id).await.expect_err("it is gone");
    assert!(matches!(error, EngineError::WorkflowNotFound(_)), "{error}");
}

#[tokio::test]
async fn status_of_a_workflow_with_an_unreadable_record_is_an_error_of_the_store() {
    let world = large().await;
    for fault in [corrupt(), unavailable()] {
        world.store().next_calls("specs", [fault]);
        let error = world.engine.queries().workflow(&world.id).await.expect_err("not readable");
        assert!(matches!(error, EngineError::Store(_)), "{error}");
    }
}

#[tokio::test]
async fn report_of_a_job_whose_workflow_is_deleted_meanwhile_has_lost_its_lease() {
    let world = large().await;
    let claimed = world.take("w").await;
    world.store().next_calls("specs", [deletes(&world)]);
    let fail = Fail { error: "it broke".to_owned(), retryable: true, exit_code: None, cause: None };
    let error = world.engine.reports().fail(&claimed.lease.lease_id.0, fail).await.expect_err("it is gone");
    assert!(matches!(error, EngineError::LeaseLost(LeaseLost::Ended)), "{error}");
}

#[tokio::test]
async fn messages_and_events_of_a_deleted_run_are_dropped_and_of_others_kept() {
    let world = ready(ONE).await;
    let run = world.run();
    let batch = || BatchTask::new(run.clone(), BatchKind::Dependents { of: 0 }, 0);
    let event = ChangeEvent::RunOpened(world.control());
    let handle = async || {
        world.store().next_calls("job", [corrupt()]);
        let message = world.engine.scheduling().on_message(QueueMessage::BatchTask(batch()), false).await;
        world.store().next_calls("control", [corrupt()]);
        [message, world.engine.scheduling().on_change(&event).await].map(|done| done.is_ok())
    };
    assert_eq!(handle().await, [false, false], "an unreadable record is not a deletion");
    delete(world.store().memory(), &world.id);
    assert_eq!(handle().await, [true, true]);
}

#[tokio::test]
async fn delete_whose_answer_is_lost_succeeds_and_removes_the_records() {
    let world = started("jobs: {a: {run: x}, b: {run: x}}").await;
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    world.settle().await;
    world.store().next_calls("delete_workflow", [Fault::SentTwice]);
    world.store().forget_calls();
    world.engine.runs().delete(&world.id).await.expect("the deletion is its own");
    assert_eq!(world.store().calls("send_batch"), 1);
    let batch = world.store().memory().next_batch().expect("queued");
    assert_eq!(batch.kind, BatchKind::Delete { jobs: 2 });
}

#[tokio::test]
async fn workflow_that_was_never_started_is_deleted_and_a_running_one_is_not() {
    for run in [false, true] {
        let (engine, clock) = engine();
        let world = World::submitted(engine, clock, ONE, run).await;
        assert_eq!(world.engine.runs().delete(&world.id).await.is_err(), run);
        let found = world.engine.queries().workflow(&world.id).await;
        assert_eq!(found.is_ok(), run);
    }
}

#[tokio::test]
async fn workflow_that_starts_while_it_is_deleted_stays() {
    let (engine, clock) = engine();
    let world = World::submitted(engine, clock, ONE, false).await;
    let (run, at) = (world.run(), world.time());
    let start = move |memory: &memory::Memory| {
        at_once(memory.update_control(&run, RunUpdate::Open { at, opener: 1 }));
    };
    world.store().next_calls("delete_workflow", [after(start)]);
    let error = world.engine.runs().delete(&world.id).await.expect_err("it runs");
    assert!(matches!(error, EngineError::InvalidState { status: Status::Running, .. }), "{error}");
    world.now().await;
}

#[tokio::test]
async fn records_of_a_deleted_workflow_are_queued_for_deletion_again_after_an_error() {
    let world = started(ONE).await;
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    world.settle().await;
    world.store().forget_calls();
    world.store().next_calls("send_batch", [unavailable(), unavailable()]);
    world.engine.runs().delete(&world.id).await.expect("it has ended");
    assert_eq!(world.store().calls("send_batch"), 3);
}

#[tokio::test]
async fn record_that_was_queued_for_reconciliation_is_processed_as_it_is_by_then() {
    let world = started("jobs: {a: {run: x}, b: {run: x, needs: a}}").await;
    let reconcile = async |what: Reconcile| {
        drop(world.events());
        world.store().memory().send_reconcile(what).await.expect("queued");
        world.settle().await;
    };
    reconcile(Reconcile::Run(world.run())).await;
    let claimed = world.take("w").await;
    reconcile(Reconcile::Job(world.key(0))).await;
    assert_eq!(world.now().await.jobs[0].status, Status::Running);
    world.complete(&claimed).await.expect("accepted");
    assert!(world.claim("w").await.is_some(), "promoted at the completion");
    world.engine.runs().cancel(&world.id).await.expect("it runs");
    reconcile(Reconcile::Run(world.run())).await;
    assert_eq!(world.status().await, Status::Cancelled);
}

#[tokio::test]
async fn ended_job_that_was_queued_for_reconciliation_promotes_its_dependents() {
    let (engine, clock) = engine();
    let tuning = engine::Tuning { inline_promotions: 0, ..engine::Tuning::default() };
    let yaml = "jobs: {a: {run: x}, b: {run: x, needs: a}}";
    let world = World::started_on(engine.with_tuning(tuning), clock, yaml).await;
    world.settle().await;
    let claimed = world.take("w").await;
    world.complete(&claimed).await.expect("accepted");
    drop(world.events());
    assert!(world.claim("w").await.is_none());
    world.store().memory().send_reconcile(Reconcile::Job(world.key(0))).await.expect("queued");
    world.settle().await;
    assert!(world.claim("w").await.is_some());
}

#[tokio::test]
async fn every_expired_workflow_is_deleted_however_many_there_are() {
    let (engine, clock) = engine();
    for _ in 0..201 {
        engine.submissions().submit(crate::common::submission(ONE, false)).await.expect("accepted");
    }
    clock.advance(protocol::limits::RETENTION);
    engine.scheduling().expire_workflows().await.expect("the store answers");
    let left = async || at_once(engine.ports().memory().expired(engine.now(), 1000)).len();
    assert_eq!(left().await, 201, "kept to the end of the time");
    clock.advance(std::time::Duration::from_millis(1));
    engine.scheduling().expire_workflows().await.expect("the store answers");
    assert_eq!(left().await, 0);
}
