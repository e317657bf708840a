//! `next`: a completion that asks for the worker's next job.

use harness::{Cancelled, Cloud, Success, graph};
use serde_json::json;

#[tokio::test]
async fn a_chain_needs_one_request_per_job_and_carries_outputs() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a", "c: b"])).await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    let b = a.complete_for_next(&[("v", "from a")], &worker).await.expect("accepted").expect("b is next");
    assert_eq!((b.job.job_id.as_str(), b.job.attempt), ("b", 0));
    assert_eq!(b.received().await, json!({ "a": { "v": "from a" } }));
    assert!(b.job.enqueued_at_ms >= a.job.enqueued_at_ms);
    assert_eq!(run.job("b").await.worker_id.as_ref(), Some(worker.id()));
    b.heartbeat().await.expect("it is held");
    let c = b.complete_for_next(&[], &worker).await.expect("accepted").expect("c is next");
    assert_eq!(c.complete_for_next(&[], &worker).await.expect("accepted").map(|hold| hold.job.job_id), None);
    run.until(Success).await;
}

#[tokio::test]
async fn a_repeated_completion_gets_the_same_next_lease_until_it_expires() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a", "c: b"])).await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    let first = a.complete_for_next(&[("v", "1")], &worker).await.expect("accepted").expect("b is next");
    for _ in 0..2 {
        let again = a.complete_for_next(&[("v", "1")], &worker).await.expect("recognised").expect("the same");
        assert_eq!(again.lease.lease_id, first.lease.lease_id);
        assert_eq!(again.job, first.job);
    }
    a.completes(&[("v", "1")]).await;
    let other = a.complete_for_next(&[("v", "2")], &worker).await.expect_err("it said otherwise before");
    assert!(other.is(409, "already_reported"), "{other:?}");
    first.completes(&[]).await;
    assert!(a.complete_for_next(&[("v", "1")], &worker).await.expect("recognised").is_none(), "b is done");
    worker.claims("c").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_dependent_with_other_needs_or_labels_is_not_the_next_job() {
    let cloud = Cloud::connect();
    let jobs = "jobs:
  a: {run: x, labels: '{label}'}
  slow: {run: x, labels: '{label}'}
  join: {run: x, labels: '{label}', needs: [a, slow]}
  gpu: {run: x, labels: ['{label}', '{label}-gpu'], needs: a}
";
    let run = cloud.submit(jobs).await;
    let worker = cloud.worker("w");
    let (one, other) = (worker.claims_any().await, worker.claims_any().await);
    let (a, slow) = if one.job.job_id.as_str() == "a" { (one, other) } else { (other, one) };
    assert!(a.complete_for_next(&[], &worker).await.expect("accepted").is_none());
    let join = slow.complete_for_next(&[], &worker).await.expect("accepted").expect("its last need");
    assert_eq!(join.job.job_id.as_str(), "join");
    join.completes(&[]).await;
    worker.finds_nothing().await;
    cloud.worker("gpu").labelled("{label},{label}-gpu").claims("gpu").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn other_dependents_become_ready_beside_the_next_job() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a", "c: a", "d: a"])).await;
    let worker = cloud.worker("w");
    let next = worker.claims("a").await.complete_for_next(&[], &worker).await.expect("accepted").expect("one of them");
    let (one, other) = (worker.claims_any().await, worker.claims_any().await);
    let mut given = [&next, &one, &other].map(|hold| hold.job.job_id.to_string());
    given.sort();
    assert_eq!(given, ["b", "c", "d"]);
    for hold in [next, one, other] {
        hold.completes(&[]).await;
    }
    run.until(Success).await;
}

#[tokio::test]
async fn after_a_cancel_there_is_no_next_job_and_an_earlier_one_is_cancelled() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a", "c: b"])).await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    let b = a.complete_for_next(&[], &worker).await.expect("accepted").expect("b is next");
    run.cancel().await;
    let refused = b.complete_for_next(&[], &worker).await.expect_err("it was cancelled");
    assert!(refused.is(409, "cancelled"), "{refused:?}");
    assert!(a.complete_for_next(&[], &worker).await.expect("recognised").is_none());
    run.until(Cancelled).await;
}

#[tokio::test]
async fn an_invalid_next_request_is_refused_and_the_completion_does_not_count() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a"])).await;
    let worker = cloud.worker("w");
    let a = worker.claims("a").await;
    let refused = a.complete_for_next(&[], &worker.clone().ttl(0)).await.expect_err("no such ttl");
    assert!(refused.is(422, "out_of_range") && refused.message.contains("lease_ttl_secs"), "{refused:?}");
    a.completes(&[]).await;
    run.until(Success).await;
}
