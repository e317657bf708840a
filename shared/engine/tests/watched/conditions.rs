//! What conditions cost, and what a job that has an `if` is given.

use engine::job::Phase;
use protocol::wire::SkippedBecause;
use protocol::{JobId, Status};
use serde_json::json;

use crate::{World, ready};

impl World {
    fn statuses(&self) -> Vec<Status> {
        (0..self.control().jobs).map(|index| self.job(index).status()).collect()
    }

    /// Lets every ready job fail or succeed, until none is ready.
    async fn run_all(&self, fails: &[&str]) {
        self.settle().await;
        while let Some(claimed) = self.claim("w").await {
            if fails.contains(&claimed.job.job_id.as_str()) {
                self.fail(&claimed, false).await.expect("accepted");
            } else {
                self.complete(&claimed).await.expect("accepted");
            }
            self.settle().await;
        }
    }
}

#[tokio::test]
async fn job_for_failures_takes_one_write_for_each_need() {
    for fails in [&["a"][..], &["b"], &["a", "b"]] {
        let world = ready("jobs: {a: {run: x}, b: {run: x}, undo: {run: x, needs: [a, b], if: failure}}").await;
        let (first, second) = (world.take("w").await, world.take("w").await);
        world.store().forget_calls();
        for claimed in [first, second] {
            if fails.contains(&claimed.job.job_id.as_str()) {
                world.fail(&claimed, false).await.expect("accepted");
            } else {
                world.complete(&claimed).await.expect("accepted");
            }
            world.settle().await;
        }
        assert_eq!(world.store().calls("update"), 4, "{fails:?}: two reports, and one write for each need");
        assert!(matches!(world.job(2).phase, Phase::Ready { .. }), "{fails:?}");
    }
}

#[tokio::test]
async fn handler_of_the_run_takes_one_write() {
    for (fails, status) in [(&[][..], Status::Skipped), (&["a"], Status::Queued)] {
        let world = ready("jobs: {a: {run: x}}\non_failure: {run: x}").await;
        let claimed = world.take("w").await;
        world.store().forget_calls();
        if fails.is_empty() {
            world.complete(&claimed).await.expect("accepted");
        } else {
            world.fail(&claimed, false).await.expect("accepted");
        }
        world.settle().await;
        assert_eq!((world.store().calls("update"), world.job(1).status()), (2, status));
    }
}

#[tokio::test]
async fn skip_names_the_job_that_failed_above_and_a_condition_begins_another() {
    let yaml = "jobs:
  a: {run: x}
  b: {run: x, needs: a}
  c: {run: x, needs: b}
  undo: {run: x, needs: b, if: failure}
  after: {run: x, needs: undo}
  any: {run: x, needs: after, if: always}
";
    let world = ready(yaml).await;
    world.run_all(&["a"]).await;
    let (skipped, job) = (Status::Skipped, |id: &str| SkippedBecause::Job(id.parse().expect("an id")));
    assert_eq!(world.statuses(), [Status::Failure, skipped, skipped, skipped, skipped, Status::Success]);
    let shown = world.now().await;
    let because: Vec<_> = shown.jobs.into_iter().map(|job| job.skipped_because).collect();
    let condition = Some(SkippedBecause::Condition);
    assert_eq!(because, [None, Some(job("a")), Some(job("a")), condition.clone(), condition, None]);
    assert_eq!(world.status().await, Status::Failure);
}

#[tokio::test]
async fn job_with_a_condition_is_given_the_ends_of_its_needs_and_empty_outputs_of_what_did_not_succeed() {
    let yaml = "jobs:
  a-1: {run: x}
  b: {run: x, needs: a-1}
  end: {run: x, needs: [a-1, b], if: always, env: {V: {from: a-1.v}}}
";
    let world = ready(yaml).await;
    let claimed = world.take("w").await;
    world.fail(&claimed, false).await.expect("accepted");
    world.settle().await;
    let end = world.take("w").await.job;
    assert_eq!(json!(end.upstream_status), json!({ "a-1": "failure", "b": "skipped" }));
    assert_eq!(json!(end.upstream_outputs), json!({ "a-1": {}, "b": {} }));
    assert_eq!(json!(end.env), json!({ "NEEDS_A_1": "failure", "NEEDS_B": "skipped", "V": "" }));
}

#[tokio::test]
async fn next_job_is_one_whose_condition_holds_after_the_success() {
    let yaml = "jobs:
  a: {run: x}
  undo: {run: x, needs: a, if: failure}
  always: {run: x, needs: a, if: always}
";
    let world = ready(yaml).await;
    let claimed = world.take("w").await;
    let next = serde_json::from_value(json!({ "worker_id": "w" })).expect("a request");
    let lease = &claimed.lease.lease_id.0;
    let next = world.engine.reports().complete(lease, [].into(), Some(next)).await.expect("accepted");
    assert_eq!(next.map(|claimed| claimed.job.job_id.to_string()), Some("always".to_owned()));
    world.settle().await;
    assert_eq!(world.job(1).status(), Status::Skipped);
}

#[tokio::test]
async fn waiting_handler_names_the_jobs_that_have_not_ended() {
    let world = ready("jobs: {a: {run: x}, b: {run: x, needs: a}}\non_failure: {run: x}").await;
    let handler = world.now().await.jobs.pop().expect("the last job");
    let needs = handler.waiting_for.expect("it waits").needs.expect("for jobs");
    assert_eq!(needs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn handler_of_the_run_waits_for_the_jobs_that_have_not_ended_in_every_view() {
    let world = ready("jobs: {a: {run: x}, b: {run: x}}\non_failure: {run: x}").await;
    let claimed = world.take("w").await;
    world.complete(&claimed).await.expect("accepted");
    world.settle().await;
    let handler = JobId::new("on_failure").expect("an id");
    let alone = world.engine.queries().job(&world.id, &handler).await.expect("found");
    let listed = world.now().await.jobs.into_iter().find(|job| job.id == handler).expect("listed");
    for job in [alone, listed] {
        let needs = job.waiting_for.expect("it waits").needs.expect("for jobs");
        assert_eq!(needs.len(), 1);
        assert_ne!(needs[0], claimed.job.job_id);
    }
}
