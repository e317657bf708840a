//! What changes in a run as a stream of events, which stays open until the run ends.

use tokio::time::timeout;
use worker::protocol::access::{NewToken, Permissions, Scope};
use worker::protocol::wire::Claimed;
use worker::protocol::{TokenName, WorkflowId};

use crate::common::{PATIENCE, World, claim};

const TWO: &str = "name: two\njobs:\n  a: {run: x}\n  b: {run: x, needs: a}\n";

/// An open stream, and what was received on it.
struct Reader(reqwest::Response, String);

impl Reader {
    async fn open(world: &World, id: &WorkflowId, headers: &[(&str, &str)]) -> Self {
        let mut request = reqwest::Client::new().get(format!("{}/api/workflows/{id}/events", world.server.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("answered");
        assert_eq!(response.status(), 200);
        Self(response, String::new())
    }

    async fn chunk(&mut self) -> Option<()> {
        let chunk = timeout(PATIENCE, self.0.chunk()).await;
        let chunk = chunk.unwrap_or_else(|_| panic!("nothing after {:?}", self.1)).expect("readable")?;
        self.1.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        Some(())
    }

    /// Reads until this text was received.
    async fn until(&mut self, text: &str) -> &str {
        while !self.1.contains(text) {
            self.chunk().await.unwrap_or_else(|| panic!("ended without {text:?}: {:?}", self.1));
        }
        &self.1
    }

    /// Reads to the end and returns everything.
    async fn rest(mut self) -> String {
        while self.chunk().await.is_some() {}
        self.1
    }
}

async fn claim_job(world: &World) -> Claimed {
    world.client.claim(&claim("w", "", 20)).await.expect("answered").expect("a job")
}

#[tokio::test]
async fn run_is_followed_over_one_connection_to_its_end_and_nothing_is_sent_twice() {
    let world = World::new().await;
    let id = world.submit(TWO).await;
    let mut reader = Reader::open(&world, &id, &[]).await;
    reader.until("event: snapshot\n").await;
    let a = claim_job(&world).await;
    reader.until("[0,\"running\",0,").await;
    world.complete(&a).await;
    reader.until("[0,\"success\",0,").await;
    let b = claim_job(&world).await;
    reader.until("[1,\"running\",0,").await;
    world.complete(&b).await;
    let all = reader.rest().await;
    for (state, times) in [("[0,\"running\"", 1), ("[0,\"success\"", 1), ("[1,\"running\"", 1), ("[1,\"success\"", 1)] {
        assert_eq!(all.matches(state).count(), times, "{state} in {all}");
    }
    let end = all.trim_end().rsplit_once("\n\n").expect("events").1;
    assert!(end.starts_with("event: end\n") && end.contains("\"status\":\"success\""), "{all}");
}

#[tokio::test]
async fn stream_that_was_cut_goes_on_after_its_last_event() {
    let world = World::new().await;
    let id = world.submit(TWO).await;
    let mut reader = Reader::open(&world, &id, &[]).await;
    let a = claim_job(&world).await;
    let text = reader.until("[0,\"running\",0,").await.to_owned();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    drop(reader);
    world.complete(&a).await;
    let mut next = Reader::open(&world, &id, &[("last-event-id", &last)]).await;
    let text = next.until("[0,\"success\",0,").await;
    assert!(!text.contains("event: snapshot"), "{text}");
}

#[tokio::test]
async fn stream_tells_that_the_workflow_was_started_again() {
    let world = World::new().await;
    let id = world.submit("jobs: {a: {run: x}}").await;
    let a = claim_job(&world).await;
    world.complete(&a).await;
    let all = Reader::open(&world, &id, &[]).await.rest().await;
    let last = all.lines().rev().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned();
    world.client.run(&id, None, None).await.expect("started");
    let mut again = Reader::open(&world, &id, &[("last-event-id", &last)]).await;
    let text = again.until("event: snapshot\n").await;
    assert!(text.find("event: rerun\n") < text.find("event: snapshot\n") && text.contains("{\"run\":2}"), "{text}");
}

#[tokio::test]
async fn stream_without_events_ends_soon_after_its_token_is_revoked() {
    let world = World::with_tokens().await;
    let id = world.submit("jobs: {a: {run: x}}").await;
    let name = TokenName::new("reader").expect("a name");
    let permissions = Permissions { scopes: [Scope::Read].into(), ..Permissions::all() };
    let token = NewToken { name: name.clone(), permissions, expires_in_secs: 3600 };
    let token = world.client.create_token(&token).await.expect("made").token;
    let mut reader = Reader::open(&world, &id, &[("authorization", &format!("Bearer {token}"))]).await;
    reader.until("event: snapshot\n").await;
    world.client.revoke_token(&name).await.expect("revoked");
    let all = reader.rest().await;
    assert!(!all.contains("event: end"), "{all}");
}
