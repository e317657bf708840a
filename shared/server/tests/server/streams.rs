//! A job's log as a stream of events, which stays open until the job ends.

use std::time::Duration;

use crate::common::{PATIENCE, World, claim};
use tokio::time::timeout;
use worker::protocol::access::{NewToken, Permissions, Scope};
use worker::protocol::requests::{Fail, LogPiece};
use worker::protocol::wire::{Claimed, Stream};
use worker::protocol::{Millis, TokenName, WorkflowId};

const ONE: &str = "name: one\njobs:\n  a: {retries: 1, run: x}\n";

/// An open stream, and what was received on it.
struct Reader(reqwest::Response, String);

impl Reader {
    async fn open(world: &World, id: &WorkflowId, last: Option<&str>) -> Self {
        let last = last.map(|last| ("Last-Event-ID", last));
        Self::open_with(world, id, last).await
    }

    async fn open_with(world: &World, id: &WorkflowId, header: Option<(&'static str, &str)>) -> Self {
        let url = format!("{}/api/workflows/{id}/jobs/a/logs/stream", world.server.url());
        let mut request = reqwest::Client::new().get(url);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response, String::new())
    }

    /// Reads until this text was received.
    async fn until(&mut self, text: &str) -> &str {
        while !self.1.contains(text) {
            let chunk = timeout(PATIENCE, self.0.chunk()).await;
            let chunk = chunk.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.1)).expect("readable");
            let chunk = chunk.unwrap_or_else(|| panic!("ended without {text:?}: {:?}", self.1));
            self.1.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        &self.1
    }

    /// Reads to the end and returns everything.
    async fn rest(mut self) -> String {
        while let Some(chunk) = timeout(PATIENCE, self.0.chunk()).await.expect("in time").expect("readable") {
            self.1.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        self.1
    }
}

/// Logs a text. Returns whether somebody reads the log.
async fn log(world: &World, claimed: &Claimed, sequence: u64, data: &str) -> bool {
    let piece = LogPiece { sequence, data: data.to_owned(), timestamp_ms: Millis(0), stream: Stream::Stdout };
    world.client.logs_push(&claimed.lease.lease_id, &[piece]).await.expect("accepted").expect("said")
}

/// Logs these texts, with sequence numbers from 0.
async fn log_all(world: &World, claimed: &Claimed, texts: &[&str]) {
    for (sequence, text) in (0..).zip(texts) {
        log(world, claimed, sequence, text).await;
    }
}

async fn claim_job(world: &World) -> Claimed {
    world.client.claim(&claim("w", "", 20)).await.expect("answered").expect("the job")
}

/// Fails the attempt, so that the job is ready again.
async fn fail(world: &World, claimed: &Claimed) {
    let fail = Fail { error: "no".into(), retryable: true, exit_code: Some(1), cause: None };
    world.client.fail(&claimed.lease.lease_id, &fail).await.expect("accepted");
}

#[tokio::test]
async fn stream_sends_log_pieces_at_once_and_ends_with_the_job() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let mut reader = Reader::open(&world, &id, None).await;
    reader.until("retry: 1000\n\n").await;
    let claimed = claim_job(&world).await;
    log(&world, &claimed, 0, "one\n").await;
    assert!(!reader.until("one").await.contains("event: end"));
    log(&world, &claimed, 1, "two\n").await;
    reader.until("id: 1\n").await;
    world.complete(&claimed).await;
    let all = reader.rest().await;
    assert!(all.ends_with("event: end\ndata: {}\n\n"), "{all}");
    assert_eq!(all.matches("event: log\n").count(), 2, "{all}");
}

#[tokio::test]
async fn worker_learns_that_a_stream_waits_for_lines_until_the_reader_is_gone() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let claimed = claim_job(&world).await;
    assert!(!log(&world, &claimed, 0, "one\n").await, "nobody reads");
    let mut reader = Reader::open(&world, &id, None).await;
    reader.until("one").await;
    assert!(log(&world, &claimed, 1, "two\n").await);
    reader.until("two").await;
    world.complete(&claimed).await;
    reader.rest().await;
}

#[tokio::test]
async fn stream_resumes_after_the_last_event_id() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let claimed = claim_job(&world).await;
    log_all(&world, &claimed, &["one\n", "two\n", "three\n"]).await;
    let reader = Reader::open(&world, &id, Some("1")).await;
    world.complete(&claimed).await;
    let all = reader.rest().await;
    assert!(!all.contains("one") && !all.contains("two") && all.contains("three"), "{all}");
}

#[tokio::test]
async fn stream_continues_with_the_next_attempt() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let first = claim_job(&world).await;
    let mut reader = Reader::open(&world, &id, None).await;
    log(&world, &first, 5, "first try\n").await;
    reader.until("first try").await;
    fail(&world, &first).await;
    let second = claim_job(&world).await;
    log(&world, &second, 0, "second try\n").await;
    reader.until("second try").await;
    world.complete(&second).await;
    assert!(reader.rest().await.ends_with("event: end\ndata: {}\n\n"));
}

#[tokio::test]
async fn stream_resumed_after_a_retry_misses_nothing_of_either_attempt() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let first = claim_job(&world).await;
    log_all(&world, &first, &["first 0\n", "first 1\n", "first 2\n"]).await;
    fail(&world, &first).await;
    let second = claim_job(&world).await;
    log_all(&world, &second, &["second 0\n", "second 1\n"]).await;
    world.complete(&second).await;
    let after_the_first = Reader::open(&world, &id, Some("1")).await.rest().await;
    for (text, there) in [("first 1", false), ("first 2", true), ("second 0", true), ("second 1", true)] {
        assert_eq!(after_the_first.contains(text), there, "{text}: {after_the_first}");
    }
    assert!(after_the_first.contains("id: 1.0\n"), "{after_the_first}");
    let after_the_second = Reader::open(&world, &id, Some("1.0")).await.rest().await;
    assert!(!after_the_second.contains("second 0") && after_the_second.contains("second 1"), "{after_the_second}");
}

#[tokio::test]
async fn stream_resumed_after_a_new_run_misses_nothing_of_it() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    for text in ["first run\n", "second run\n"] {
        let claimed = claim_job(&world).await;
        log(&world, &claimed, 0, text).await;
        world.complete(&claimed).await;
        while !world.client.workflow(&id).await.expect("there").status.is_final() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if text.starts_with("first") {
            world.client.run(&id, None, None).await.expect("it has ended");
        }
    }
    let resumed = Reader::open(&world, &id, Some("0")).await.rest().await;
    assert!(resumed.contains("second run") && resumed.contains("id: 2.0.0\n"), "{resumed}");
    let resumed = Reader::open(&world, &id, Some("2.0.0")).await.rest().await;
    assert!(!resumed.contains("second run") && resumed.contains("event: end"), "{resumed}");
}

#[tokio::test(start_paused = true)]
async fn silent_stream_sends_comments() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let mut reader = Reader::open(&world, &id, None).await;
    reader.until(":\n\n").await;
}

#[tokio::test]
async fn stopping_server_ends_streams_without_an_end_event() {
    let world = World::new().await;
    let id = world.submit(ONE).await;
    let reader = Reader::open(&world, &id, None).await;
    let (all, ()) = timeout(Duration::from_secs(5), async { tokio::join!(reader.rest(), world.server.stop()) })
        .await
        .expect("in time");
    assert_eq!(all, "retry: 1000\n\n");
}

#[tokio::test]
async fn stream_of_an_unknown_job_is_not_found() {
    let world = World::new().await;
    let url = format!("{}/api/workflows/none/jobs/a/logs/stream", world.server.url());
    let response = reqwest::get(url).await.expect("answered");
    assert_eq!(response.status(), 404);
    assert!(response.text().await.expect("a body").contains("no_such_workflow"));
}

#[tokio::test]
async fn stream_ends_when_its_token_is_revoked() {
    let world = World::with_tokens().await;
    let name = TokenName::new("reader").expect("a name");
    let permissions = Permissions { scopes: [Scope::Read].into(), ..Permissions::all() };
    let reader = NewToken { permissions, ..NewToken::for_everything(name.clone()) };
    let token = world.client.create_token(&reader).await.expect("made").token;
    let id = world.submit(ONE).await;
    let claimed = claim_job(&world).await;
    let bearer = format!("Bearer {token}");
    let mut reader = Reader::open_with(&world, &id, Some(("Authorization", &bearer))).await;
    log(&world, &claimed, 0, "one\n").await;
    reader.until("one").await;
    world.client.revoke_token(&name).await.expect("revoked");
    log(&world, &claimed, 1, "two\n").await;
    let all = timeout(Duration::from_secs(10), reader.rest()).await.expect("it ends");
    assert!(!all.contains("two") && !all.contains("event: end"), "{all}");
}
