//! A claim may wait for a job, and does so for no longer than it must.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{PATIENCE, World, claim};
use client::Client;
use engine::Engine;
use engine::ports::{SecretStore, Stored};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use memory::Memory;
use server::Server;
use tokio::time::{Instant, timeout};
use worker::protocol::access::{Allowed, NewToken, Permissions};
use worker::protocol::requests::{Claim, Fail, FailCause};
use worker::protocol::{SecretName, Secrets, TokenName, WorkerId, WorkflowId};

const ONE: &str = "name: one\njobs:\n  a: {run: x}\n";

#[tokio::test]
async fn waiting_claim_is_answered_as_soon_as_a_job_is_ready() {
    let world = World::new().await;
    let asked = claim("w", "", 20);
    let waiting = world.client.claim(&asked);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err(), "there is nothing yet");
    let began = Instant::now();
    world.submit(ONE).await;
    let claimed = waiting.await.expect("answered").expect("a job");
    assert_eq!(claimed.job.job_id.as_str(), "a");
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn end_of_a_run_is_told_once_it_has_ended_and_of_no_workflow_at_once() {
    let world = World::new().await;
    let id = world.submit("name: two\njobs:\n  a: {run: x}\n  b: {run: x, needs: a}\n").await;
    let ended = world.server.run_ended(&id);
    tokio::pin!(ended);
    for job in ["a", "b"] {
        assert!(futures::poll!(&mut ended).is_pending(), "{job} hasn't ended");
        let claimed = world.client.claim(&claim("w", "", 20)).await.expect("answered").expect("a job");
        assert_eq!(claimed.job.job_id.as_str(), job);
        assert!(futures::poll!(&mut ended).is_pending(), "{job} runs");
        world.complete(&claimed).await;
    }
    timeout(PATIENCE, ended).await.expect("told").expect("memory answers");
    let none = WorkflowId::new("none").expect("an id");
    timeout(PATIENCE, world.server.run_ended(&none)).await.expect("told").expect("memory answers");
}

#[tokio::test]
async fn waiting_claim_without_a_job_returns_null_after_wait_secs() {
    let world = World::new().await;
    world.submit("name: other\njobs:\n  a: {labels: [gpu], run: x}\n").await;
    let began = Instant::now();
    assert!(world.client.claim(&claim("w", "cpu", 1)).await.expect("answered").is_none());
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn all_jobs_go_to_waiting_claims_with_their_labels() {
    const JOBS: usize = 40;
    let world = &World::new().await;
    let workers: Vec<_> = (0..120).map(|n| claim(&format!("w{n}"), ["a", "b", "a,b"][n % 3], 20)).collect();
    let mut waiting: FuturesUnordered<_> =
        workers.iter().map(|asked| async move { (asked, world.client.claim(asked).await) }).collect();
    assert!(timeout(Duration::from_millis(300), waiting.next()).await.is_err(), "there is nothing yet");
    let jobs: Vec<String> =
        (0..JOBS).map(|n| format!("  j{n}: {{labels: [{}], run: x}}\n", ["a", "b"][n % 2])).collect();
    world.submit(&format!("name: many\njobs:\n{}", jobs.concat())).await;
    for n in 0..JOBS {
        let next = timeout(Duration::from_secs(5), waiting.next()).await;
        let (asked, answer) = next.unwrap_or_else(|_| panic!("job {n} of {JOBS} is left")).expect("more wait");
        let job = answer.expect("answered").expect("a job").job;
        assert!(job.required_labels.missing_from(&asked.labels).is_empty(), "{job:?}");
    }
}

/// A store of secrets that doesn't answer.
struct Silent;

impl SecretStore for Silent {
    fn secrets<'a>(&'a self, _: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        Box::pin(pending())
    }
}

#[tokio::test]
async fn claims_that_wait_for_secrets_do_not_hold_up_other_claims() {
    let engine = Engine::new(Memory::new()).with_secrets(Arc::new(Silent));
    let server = Server::start(([127, 0, 0, 1], 0).into(), engine).await.expect("a free port");
    let client = Client::new(&server.url(), None).expect("its address");
    let world = &World { server, client };
    world.submit("name: two\njobs:\n  a: {labels: [s], secrets: KEY, run: x}\n  b: {run: x}\n").await;
    let asked: Vec<_> = (0..20).map(|n| claim(&format!("w{n}"), "s", 0)).collect();
    let mut hanging: FuturesUnordered<_> = asked.iter().map(|asked| world.client.claim(asked)).collect();
    let asked = claim("w", "", 20);
    let other = world.client.claim(&asked);
    tokio::pin!(other);
    let claimed = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                claimed = &mut other => return claimed,
                Some(answer) = hanging.next() => assert_eq!(answer.expect("answered"), None, "its secret is not known"),
            }
        }
    });
    let claimed = claimed.await.expect("in time").expect("answered").expect("a job");
    assert_eq!(claimed.job.job_id.as_str(), "b");
}

#[tokio::test]
async fn returned_job_goes_to_the_waiting_claim_of_another_worker() {
    let world = World::new().await;
    world.submit(ONE).await;
    let held = world.client.claim(&claim("ill", "", 20)).await.expect("answered").expect("a job");
    let (again, other) = (claim("ill", "", 5), claim("well", "", 20));
    let (again, other) = (world.client.claim(&again), world.client.claim(&other));
    tokio::pin!(again, other);
    // The ill worker's claim waits first, so it is woken first.
    assert!(timeout(Duration::from_millis(100), &mut again).await.is_err());
    assert!(timeout(Duration::from_millis(100), &mut other).await.is_err());
    let report =
        Fail { error: "its disk is full".to_owned(), retryable: true, exit_code: None, cause: Some(FailCause::Worker) };
    world.client.fail(&held.lease.lease_id, &report).await.expect("accepted");
    let (again, other) = futures::join!(again, timeout(Duration::from_secs(4), other));
    let given = other.expect("at once").expect("answered").expect("the job");
    assert_eq!((given.job.attempt, given.lease.worker_id.as_str()), (1, "well"));
    assert!(again.expect("answered").is_none());
}

#[tokio::test]
async fn waiting_claim_of_a_worker_known_as_exclusive_takes_no_turn_of_others() {
    let world = World::new().await;
    let exclusive = Claim { exclusive: true, ..claim("e", "gpu", 0) };
    assert!(world.client.claim(&exclusive).await.expect("answered").is_none());
    let (first, second) = (claim("e", "gpu", 5), claim("w", "gpu", 20));
    let (first, second) = (world.client.claim(&first), world.client.claim(&second));
    tokio::pin!(first, second);
    assert!(timeout(Duration::from_millis(100), &mut first).await.is_err());
    assert!(timeout(Duration::from_millis(100), &mut second).await.is_err());
    world.submit(ONE).await;
    let (first, second) = futures::join!(first, timeout(Duration::from_secs(4), second));
    assert_eq!(second.expect("at once").expect("answered").expect("the job").lease.worker_id.as_str(), "w");
    assert!(first.expect("answered").is_none());
}

#[tokio::test]
async fn claim_of_a_disconnected_client_takes_no_job() {
    let world = World::new().await;
    let asked = claim("gone", "", 20);
    for _ in 0..20 {
        assert!(timeout(Duration::from_millis(10), world.client.claim(&asked)).await.is_err());
    }
    // The server hears of it when it reads from the connection next.
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.submit(ONE).await;
    let got = timeout(PATIENCE, world.client.claim(&claim("here", "", 20))).await.expect("in time").expect("answered");
    assert_eq!(got.expect("the job").job.job_id.as_str(), "a");
}

#[tokio::test]
async fn claim_of_a_deregistered_worker_ends_at_once() {
    let world = World::new().await;
    let asked = claim("w", "", 20);
    let waiting = world.client.claim(&asked);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    world.client.deregister(&WorkerId::new("w").expect("an id")).await.expect("heard");
    let answer = timeout(Duration::from_secs(5), waiting).await.expect("at once");
    assert!(answer.expect("answered").is_none());
}

#[tokio::test]
async fn stopping_server_answers_waiting_claims() {
    let World { server, client } = World::new().await;
    let asked = claim("w", "", 20);
    let waiting = client.claim(&asked);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    let (answer, ()) =
        timeout(Duration::from_secs(5), async { tokio::join!(waiting, server.stop()) }).await.expect("in time");
    assert!(answer.expect("answered").is_none());
    assert!(client.workers().await.is_err(), "it has stopped");
}

#[tokio::test]
async fn expired_lease_gives_its_job_to_a_waiting_claim() {
    let world = World::new().await;
    world.submit("name: again\njobs:\n  a: {retries: 1, run: x}\n").await;
    let mut asked = claim("lost", "", 20);
    asked.lease_ttl_secs = 1;
    let first = world.client.claim(&asked).await.expect("answered").expect("the job");
    let began = Instant::now();
    let second = world.client.claim(&claim("next", "", 20)).await.expect("answered").expect("the job, again");
    assert_eq!((first.job.attempt, second.job.attempt), (0, 1));
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn job_skips_waiting_claims_whose_token_lacks_its_secret() {
    let world = World::with_tokens().await;
    let name = TokenName::new("without").expect("a name");
    let permissions = Permissions { secrets: Allowed::default(), ..Permissions::all() };
    let token = NewToken { permissions, ..NewToken::for_everything(name) };
    let token = world.client.create_token(&token).await.expect("made").token;
    let without = &Client::new(&world.server.url(), Some(token)).expect("its address");
    let first: Vec<_> = (0..3).map(|n| claim(&format!("without-{n}"), "", 20)).collect();
    let mut in_vain: FuturesUnordered<_> = first.iter().map(|asked| without.claim(asked)).collect();
    assert!(timeout(Duration::from_millis(300), in_vain.next()).await.is_err(), "there is nothing yet");
    let asked = claim("with", "", 20);
    let waiting = world.client.claim(&asked);
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    let began = Instant::now();
    world.submit("name: one\njobs:\n  a: {run: x, secrets: KEY}\n").await;
    let claimed = waiting.await.expect("answered").expect("the job");
    assert_eq!(claimed.job.job_id.as_str(), "a");
    assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
}
