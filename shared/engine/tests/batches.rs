//! Tests of batches: each is bounded by its writes, and the batches together do all of the work.

use std::fmt::Write;

use common::World;
use engine::ids::RunKey;
use engine::job::Phase;
use engine::messages::{BatchKind, BatchTask};
use engine::ports::{Consistency, Dispatcher, JobStore, RunStore};
use engine::{Engine, EngineError, Tuning};
use memory::Memory;
use protocol::{Status, WorkflowId};

mod common;

/// Jobs, more than three times as many as are updated at once.
const JOBS: usize = 100;

/// A workflow of [`JOBS`] jobs, all of which `need` another one, on an engine whose batches end after two writes.
async fn world(need: Option<&str>) -> World {
    let mut yaml = String::from("jobs:\n");
    if let Some(need) = need {
        let _ = writeln!(yaml, "  {need}: {{run: x}}");
    }
    for n in 0..JOBS {
        let needs = need.map(|need| format!(", needs: {need}")).unwrap_or_default();
        let _ = writeln!(yaml, "  j{n}: {{run: x{needs}}}");
    }
    let (engine, clock) = common::engine();
    let tuning = Tuning { batch_writes: 2, inline_promotions: 0, ..Tuning::default() };
    World::started_on(engine.with_tuning(tuning), clock, &yaml).await
}

async fn run_of(engine: &Engine<Memory>, id: &WorkflowId) -> RunKey {
    engine.ports().workflow(id, Consistency::Strong).await.expect("memory answers").expect("it is there").run
}

impl World {
    async fn count(&self, is: impl Fn(&Phase) -> bool) -> usize {
        let run = run_of(&self.engine, &self.id).await;
        let jobs = self.engine.ports().jobs_from(&run, 0, 1000, Consistency::Strong).await.expect("memory answers");
        jobs.iter().filter(|job| is(&job.phase)).count()
    }

    /// Runs one batch. Returns the number of jobs that it changed, and the next batch.
    async fn one_batch(&self, batch: BatchTask, is: impl Fn(&Phase) -> bool) -> (usize, Option<BatchTask>) {
        let before = self.count(&is).await;
        self.engine.scheduling().run_batch(batch).await.expect("memory answers");
        (self.count(&is).await - before, self.engine.ports().next_batch())
    }

    /// Runs a batch task to its end. Returns the number of jobs that each batch changed.
    async fn batches(&self, kind: BatchKind, is: impl Fn(&Phase) -> bool + Copy) -> Vec<usize> {
        let mut next = Some(BatchTask::new(run_of(&self.engine, &self.id).await, kind, 0));
        let mut changed = Vec::new();
        while let Some(batch) = next {
            let (count, then) = self.one_batch(batch, is).await;
            changed.push(count);
            next = then;
        }
        changed
    }
}

fn is_ready(phase: &Phase) -> bool {
    matches!(phase, Phase::Ready { .. })
}

fn is_ended(phase: &Phase) -> bool {
    matches!(phase, Phase::Ended(_))
}

#[tokio::test]
async fn batch_of_roots_ends_after_its_writes() {
    let world = world(None).await;
    assert_eq!(world.batches(BatchKind::Roots, is_ready).await, [2; JOBS / 2]);
}

#[tokio::test]
async fn batch_of_dependents_ends_after_its_writes() {
    let world = world(Some("root")).await;
    world.tell(&world.events()).await;
    let root = world.claim("w").await.expect("ready");
    world.complete(&root).await.expect("accepted");
    assert_eq!(world.batches(BatchKind::Dependents { of: 0 }, is_ready).await, [32, 32, 32, 4]);
}

#[tokio::test]
async fn batch_of_cancelled_jobs_ends_after_its_writes() {
    let world = world(None).await;
    world.engine.runs().cancel(&world.id).await.expect("memory answers");
    assert_eq!(world.batches(BatchKind::Cancel, is_ended).await, [2; JOBS / 2]);
    assert_eq!(world.status().await, Status::Cancelled);
}

#[tokio::test]
async fn batch_of_skipped_jobs_ends_after_its_writes() {
    let world = world(Some("root")).await;
    world.tell(&world.events()).await;
    let root = world.claim("w").await.expect("ready");
    world.fail(&root, false).await.expect("accepted");
    let changed = world.batches(BatchKind::Skip, is_ended).await;
    assert!(changed.iter().all(|&count| count <= 2), "{changed:?}");
    assert_eq!(changed.iter().sum::<usize>(), JOBS);
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn progress_of_a_run_is_stored_as_jobs_end() {
    let world = World::ready("jobs: {a: {run: x}, b: {run: x}}").await;
    let run = run_of(&world.engine, &world.id).await;
    let first = world.claim("w").await.expect("ready");
    world.complete(&first).await.expect("accepted");
    let second = world.claim("w").await.expect("ready");
    world.tell(&world.events()).await;
    let control = world.engine.ports().control(&run, Consistency::Strong).await.expect("read").expect("there");
    // The jobs are claimed in any order; progress is made when the first of the graph has ended.
    assert_eq!(control.done_below, u32::from(first.job.job_id.as_str() == "a"));
    world.complete(&second).await.expect("accepted");
    world.tell(&world.events()).await;
    let control = world.engine.ports().control(&run, Consistency::Strong).await.expect("read").expect("there");
    assert_eq!(control.done_below, 2);
}

#[tokio::test]
async fn task_that_does_not_end_is_given_up_after_ten_thousand_batches() {
    let world = world(None).await;
    let run = run_of(&world.engine, &world.id).await;
    let task = BatchTask { batches: 9_999, ..BatchTask::new(run.clone(), BatchKind::Roots, 0) };
    let (done, next) = world.one_batch(task, is_ready).await;
    let next = next.expect("work is left");
    assert_eq!((done, next.batches), (2, 10_000));
    let error = world.engine.scheduling().run_batch(next.clone()).await.expect_err("given up");
    assert!(matches!(error, EngineError::EndlessTask { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("10000 batches") && text.contains(run.as_str()) && text.contains("wfg redrive"), "{text}");
    assert_eq!((world.count(is_ready).await, world.engine.ports().next_batch()), (2, None), "nothing more was done");

    let counted_anew = next.counted_anew();
    assert_eq!(world.one_batch(counted_anew, is_ready).await.0, 2, "it goes on");
}

#[tokio::test]
async fn endless_task_does_not_block_the_work_of_one_process() {
    let world = world(None).await;
    let run = run_of(&world.engine, &world.id).await;
    let endless = BatchTask { batches: 10_000, ..BatchTask::new(run, BatchKind::Cancel, 0) };
    world.engine.ports().send_batch(endless).await.expect("memory answers");
    world.engine.scheduling().drain().await.expect("it is dropped");
    assert_eq!(world.count(is_ready).await, JOBS, "the other work was done");
}
