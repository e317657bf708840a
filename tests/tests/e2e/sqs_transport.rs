//! The worker with the transport `sqs`, on targets that have queues.

use harness::{Cloud, Emulator, Exchange, Program, RecordingProxy, Run, Running, Success, eventually, graph};
use serde_json::Value;

const INSTALL: &str = "`cargo xtask test` names the worker, built with the feature `sqs`, in WFG_TEST_WORKER.";

/// Starts a worker that claims without a ticket at the interval `recheck`.
async fn starts(cloud: &Cloud, emulator: &Emulator, labels: &str, recheck: &str) -> (Program, RecordingProxy) {
    let worker = std::env::var("WFG_TEST_WORKER").unwrap_or_else(|_| panic!("{INSTALL}"));
    let proxy = RecordingProxy::start(cloud, None).await;
    let endpoint = format!("AWS_ENDPOINT_URL={}", emulator.endpoint());
    let aws = ["env", &endpoint, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"];
    let worker = [&worker, "--transport", "sqs", "--exclusive", "--poll", "100ms", "--recheck", recheck];
    let program = Program::starts_for(cloud, &proxy.url, &[&aws[..], &worker].concat(), labels, INSTALL);
    // At once, and when all functions know its queues.
    proxy.until("it has asked twice", |seen| claims(seen).len() >= 2).await;
    (program, proxy)
}

/// The tickets of the claims, in order.
fn claims(seen: &[Exchange]) -> Vec<Option<String>> {
    let claims = seen.iter().filter(|one| one.path.ends_with("/claim"));
    let ticket = |one: &Exchange| serde_json::from_str::<Value>(&one.body).expect("JSON")["ticket"].clone();
    claims.map(|one| ticket(one).as_str().map(str::to_owned)).collect()
}

/// The queue of the pool with exactly this label.
async fn queue(cloud: &Cloud) -> String {
    let queues = cloud.worker("asks").registers_for_queues().await;
    let [queue] = &queues[..] else { panic!("one pool is this worker's: {queues:?}") };
    queue.url.clone()
}

/// Submits a workflow without starting it. Its pools are known afterwards.
async fn submits(cloud: &Cloud, jobs: &str) -> Run {
    cloud.submit_with(jobs, false, None).await
}

#[tokio::test]
async fn jobs_are_claimed_by_their_tickets_and_a_stale_ticket_is_deleted() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let run = submits(&cloud, &graph(["one", "other"])).await;
    let queue = queue(&cloud).await;
    let (_worker, proxy) = starts(&cloud, emulator, "{label}", "1h").await;
    run.start().await.expect("it starts");
    run.until(Success).await;
    let claimed = claims(&proxy.seen());
    let [None, None, Some(one), Some(other)] = &claimed[..] else { panic!("{claimed:?}") };
    assert_ne!(one, other);
    let empty = async || (emulator.messages(&cloud.http, &queue).await == 0).then_some(());
    eventually("the messages are deleted", empty).await;

    emulator.send(&cloud.http, &queue, one).await;
    let seen = proxy.until("it claims once more", |seen| claims(seen).len() > 4).await;
    assert_eq!(claims(&seen)[4..], [Some(one.clone())]);
    eventually("the message is deleted", empty).await;
    assert_eq!(run.job("one").await.attempt + run.job("other").await.attempt, 0);
}

#[tokio::test]
async fn a_lost_ticket_only_delays_the_job() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let hold = "jobs: {hold: {labels: ['{label}', '{label}-hold'], run: 'echo > begun; until [ -e go ]; do sleep 0.05; done'}}";
    let (hold, run) = (submits(&cloud, hold).await, submits(&cloud, &graph(["build"])).await);
    let queue = queue(&cloud).await;
    let (worker, proxy) = starts(&cloud, emulator, "{label}, {label}-hold", "3s").await;
    hold.start().await.expect("it starts");
    worker.wrote("begun").await;
    run.start().await.expect("it starts");
    let lost = eventually("there is a ticket", async || emulator.receive(&cloud.http, &queue).await).await;
    assert_eq!(hold.job("hold").await.status, Running);
    std::fs::write(worker.dir().join("go"), "").expect("written");
    run.until(Success).await;
    assert!(!claims(&proxy.seen()).contains(&Some(lost)));
}

#[tokio::test]
async fn a_deleted_queue_only_delays_jobs_and_is_made_again() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let run = submits(&cloud, &graph(["build", "next: build"])).await;
    let queue = queue(&cloud).await;
    let (_worker, proxy) = starts(&cloud, emulator, "{label}", "3s").await;
    emulator.delete_queue(&cloud.http, &queue).await;
    run.start().await.expect("it starts");
    run.until(Success).await;
    assert!(claims(&proxy.seen()).iter().all(Option::is_none));
    // The first ticket found it gone.
    let again = self::queue(&cloud).await;
    assert_eq!(again, queue);
    assert_eq!(emulator.messages(&cloud.http, &again).await, 0, "it is there");
}

#[tokio::test]
async fn the_queue_of_a_new_pool_is_polled_after_the_next_heartbeat() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let (_worker, proxy) = starts(&cloud, emulator, "{label}", "1h").await;
    let run = submits(&cloud, &graph(["build"])).await;
    proxy.until("it has asked twice because of the new queue", |seen| claims(seen).len() >= 4).await;
    assert!(proxy.seen().iter().any(|one| one.path.starts_with("/api/workers/") && one.path.ends_with("/heartbeat")));
    run.start().await.expect("it starts");
    run.until(Success).await;
    let claims = claims(&proxy.seen());
    assert!(claims[..4].iter().all(Option::is_none) && claims[4..].iter().all(Option::is_some), "{claims:?}");
}
