//! Claims and leases: a job has one lease at a time, and only reports under it count.

use std::time::Duration;

use engine::ids::{LeaseToken, PoolId, Principal, Ticket};
use futures::future::join_all;
use harness::{Cloud, Failure, HeldLease, Success, eventually, graph};
use protocol::{LabelSet, Millis};
use serde_json::{Value, json};

#[tokio::test]
async fn twenty_claimers_race_for_ten_jobs_and_each_job_has_one_lease() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph((0..10).map(|n| format!("j{n}")))).await;
    run.until_ready("j9").await;
    let race = (0..20).map(|n| {
        let worker = cloud.worker(&format!("w{n}"));
        async move {
            let mut held = Vec::new();
            // Enough for a claimer that loses a race to try again.
            for _ in 0..5 {
                held.extend(worker.claims_once().await);
            }
            held
        }
    });
    let mut held: Vec<HeldLease> = join_all(race).await.concat();
    let worker = cloud.worker("late");
    while held.len() < 10 {
        held.push(worker.claims_any().await);
    }
    worker.finds_nothing().await;

    let mut names: Vec<&str> = held.iter().map(|hold| hold.job.job_id.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["j0", "j1", "j2", "j3", "j4", "j5", "j6", "j7", "j8", "j9"]);
    for hold in &held {
        hold.completes(&[]).await;
    }
    run.until(Success).await;
}

#[tokio::test]
async fn a_claim_has_every_field_that_a_worker_needs() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "name: '{label}'
env: {WHO: world}
jobs:
  build: {name: The build, run: 'echo \"hello $WHO\"', labels: '{label}', retries: 2, env: {QUOTE: \"it's\"}}",
        )
        .await;
    let worker = cloud.worker("w").ttl(77);
    let HeldLease { job, lease, .. } = worker.claims("build").await;
    assert_eq!((job.name.as_str(), job.workflow_id.as_str(), job.run), ("The build", run.id.as_str(), 1));
    assert_eq!((job.attempt, job.retry_policy.max_retries, job.delayed_until_ms), (0, 2, Millis(0)));
    assert_eq!((job.env["WHO"].as_str(), job.env["QUOTE"].as_str()), ("world", "it's"));
    assert!(job.command.contains("export WHO=") && job.command.contains("echo \"hello $WHO\""), "{}", job.command);
    assert_eq!((&lease.worker_id, lease.ttl_secs), (worker.id(), 77));
    assert_eq!((&lease.job_id, &lease.workflow_id), (&job.job_id, &run.id));
    assert!(
        Millis::now().since(lease.granted_at_ms) < Duration::from_secs(30) && lease.granted_at_ms >= job.enqueued_at_ms
    );
    run.cancel().await;
}

#[tokio::test]
async fn a_leased_job_is_running_and_shows_its_worker() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let worker = cloud.worker("w");
    let build = worker.claims("build").await;
    let shown = run.job("build").await;
    assert_eq!((shown.status, shown.worker_id.as_ref()), (harness::Running, Some(worker.id())));
    build.completes(&[]).await;
    let shown = run.job("build").await;
    assert_eq!((shown.status, shown.exit_code, shown.error), (Success, Some(0), None));
    assert!(shown.started_at.is_some() && shown.finished_at_ms >= shown.started_at && shown.duration_secs.is_some());
}

#[tokio::test]
async fn a_ticket_gives_its_job_to_a_worker_with_the_labels_and_a_stale_ticket_gives_nothing() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["first", "second: first", "third: first"])).await;
    let worker = cloud.worker("w");
    let first = worker.claims("first").await;
    // The message that the scheduler would have sent to the pool's queue.
    let run_key = LeaseToken::parse(&first.lease.lease_id.0, &Principal::default()).expect("this server's").job.run;
    let pool = PoolId::of(&LabelSet::parse([cloud.label.as_str()]).expect("labels"));
    let ticket = |index| Ticket { pool: pool.clone(), job: engine::ids::JobKey::new(&run_key, index) }.text();

    let with = |ticket: String| worker.clone().holding_ticket(ticket);
    assert!(with(ticket(0)).claims_once().await.is_none(), "it runs already");
    assert!(with(ticket(2)).claims_once().await.is_none(), "it isn't ready yet");
    first.completes(&[]).await;
    run.until_ready("third").await;
    assert!(with(ticket(0)).claims_once().await.is_none(), "it ended");
    for nonsense in ["", "x", "no-ticket-1", &ticket(99), &ticket(2).replace(pool.as_str(), &"0".repeat(32))] {
        assert!(with(nonsense.to_owned()).claims_once().await.is_none(), "{nonsense}");
    }
    let other = cloud.worker("other").labelled("{label}-other").holding_ticket(ticket(2));
    assert!(other.claims_once().await.is_none(), "a ticket doesn't stand for labels");

    let third = with(ticket(2)).claims("third").await;
    assert!(with(ticket(2)).claims_once().await.is_none(), "it was used");
    third.completes(&[]).await;
    worker.claims("second").await.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_worker_that_polls_queues_receives_a_ticket_for_each_job_of_its_pools() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else {
        assert!(cloud.worker("w").registers_for_queues().await.is_empty(), "there are no queues in one process");
        return;
    };
    let http = reqwest::Client::new();
    // The submission creates the pool. The first worker that asks for its queue creates the queue.
    let run = cloud.submit_with(graph(["first", "second: first"]), false, None).await;
    let worker = cloud.worker("w");
    let queues = worker.registers_for_queues().await;
    let [queue] = &queues[..] else { panic!("one pool is this worker's: {queues:?}") };
    assert_eq!(queue.labels, LabelSet::parse([cloud.label.as_str()]).expect("labels"));
    assert!(cloud.worker("other").labelled("{label}-other").registers_for_queues().await.is_empty());

    // Functions may cache the list of pools for a second. A list read before the registration has no queue.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    run.start().await.expect("it starts");
    for job in ["first", "second"] {
        let ticket = eventually("a ticket", async || emulator.receive(&http, &queue.url).await).await;
        worker.clone().holding_ticket(ticket).claims(job).await.completes(&[]).await;
    }
    run.until(Success).await;
}

#[tokio::test]
async fn an_expired_lease_is_refused_everywhere() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let sleeper = cloud.worker("sleeper").ttl(1).claims("build").await;
    sleeper.sleeps_past_its_lease().await;
    for (call, answer) in sleeper.tries_everything().await {
        let refused = answer.expect_err(call);
        assert!(refused.is(409, "lease_lost"), "{call}: {refused:?}");
    }
    run.until(Failure).await;
    let lost = run.job("build").await;
    assert!(lost.error.as_ref().is_some_and(|error| error.contains("lost")) && lost.outputs.is_empty(), "{lost:?}");
    for (call, answer) in sleeper.tries_everything().await {
        assert!(answer.expect_err(call).is(409, "lease_lost"), "{call}");
    }
    assert_eq!(cloud.get(&run.path("/jobs/build/logs")).await.json(), json!([]));
}

#[tokio::test]
async fn a_worker_that_wakes_after_its_lease_expired_cannot_take_the_job_back() {
    let cloud = Cloud::connect();
    let run = cloud.submit("jobs: {build: {run: x, labels: '{label}', retries: 1}}").await;
    let sleeper = cloud.worker("sleeper").ttl(1).claims("build").await;
    sleeper.sleeps_past_its_lease().await;
    let second = cloud.worker("second").claims("build").await;
    assert_eq!(second.job.attempt, 1);

    for (call, answer) in sleeper.tries_everything().await {
        assert!(answer.expect_err(call).is(409, "lease_lost"), "{call}");
    }
    assert_eq!(run.job("build").await.worker_id.as_ref(), Some(&second.lease.worker_id));
    second.completes(&[("by", "second")]).await;
    for (call, answer) in sleeper.tries_everything().await {
        assert!(answer.expect_err(call).is(409, "lease_lost"), "{call}");
    }
    run.until(Success).await;
    assert_eq!(json!(run.outputs("build").await), json!({ "by": "second" }));
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease_and_a_final_job_stays_final() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").ttl(6).claims("build").await;
    let mut granted = build.lease.granted_at_ms;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let beat = build.heartbeat().await.expect("it is held");
        assert!(!beat.cancelled && beat.lease.granted_at_ms > granted && beat.lease.lease_id == build.lease.lease_id);
        granted = beat.lease.granted_at_ms;
        cloud.sweep().await;
    }
    build.completes(&[]).await;
    let refused = build.heartbeat().await.expect_err("the job ended");
    assert!(refused.is(409, "lease_lost"), "{refused:?}");
    run.until(Success).await;
    assert_eq!(run.jobs().await, "build=success", "a late heartbeat changes nothing");
}

#[tokio::test]
async fn a_lease_runs_for_1_to_43200_seconds() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let claim = |ttl: Value| {
        let labels = [&cloud.label];
        cloud.post(
            "/api/jobs/claim",
            json!({ "worker_id": cloud.label, "labels": labels, "exclusive": true, "lease_ttl_secs": ttl }),
        )
    };
    for bad in [json!(0), json!(43_201), json!(-1), json!(1.5), json!("30"), json!(5_000_000_000_u64)] {
        let refused = claim(bad.clone()).await.error();
        assert!(refused.status == 422 && refused.message.contains("lease_ttl_secs"), "{bad}: {refused:?}");
    }
    let refused = claim(json!(43_201)).await.error();
    assert!(refused.message.contains('1') && refused.message.contains("43200"), "{}", refused.message);
    let build = cloud.worker("w").ttl(43_200).claims("build").await;
    assert_eq!(build.lease.ttl_secs, 43_200);
    build.completes(&[]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn an_invalid_lease_id_is_refused_like_a_lost_lease() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let good = build.lease.lease_id.0.clone();
    let last = if good.ends_with('0') { "1" } else { "0" };
    for bad in ["x".to_owned(), good[1..].to_owned(), good.to_uppercase(), format!("{}{last}", &good[..good.len() - 1])]
    {
        for (call, body) in [
            ("heartbeat", json!({})),
            ("complete", json!({})),
            ("fail", json!({ "error": "x" })),
            ("logs", json!({ "chunks": [] })),
        ] {
            let refused = cloud.post(&format!("/api/jobs/{bad}/{call}"), body).await.error();
            assert!(refused.is(409, "lease_lost"), "{call} {bad}: {refused:?}");
        }
    }
    assert_eq!(run.jobs().await, "build=running");
    build.completes(&[]).await;
}
