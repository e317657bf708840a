//! The route that takes deliveries.

use std::sync::Arc;

use client::Client;
use engine::Engine;
use engine::clock::SystemClock;
use forge::signature::sign;
use harness::forge::{Kind, TestForge};
use memory::Memory;
use protocol::LinkName;
use serde_json::{Value, json};
use server::Server;

use crate::setting::{APP_REPOSITORY, WEBHOOK_SECRET, link_file, secrets};

/// A server with a link to a repository of the forge.
struct Linked {
    server: Server,
    client: Client,
    http: reqwest::Client,
    number: u64,
    /// Kept, so that it runs.
    forge: TestForge,
}

const LIMIT: usize = 4 * 1024 * 1024;

impl Linked {
    async fn with(secrets: protocol::Secrets) -> Self {
        let forge = TestForge::starts().await;
        let number = forge.repository(APP_REPOSITORY, true).await;
        let secrets = Arc::new(secrets);
        let port = Arc::new(forge::Forges::new(secrets.clone(), Arc::new(SystemClock)));
        let engine = Engine::new(Memory::new()).with_secrets(secrets).with_forges(port);
        let engine = engine.with_public_url("https://wfg.example.com".into());
        let server = Server::start(([127, 0, 0, 1], 0).into(), engine).await.expect("a free port");
        let client = Client::new(&server.url(), None).expect("a URL");
        let name = LinkName::new("acme").expect("a name");
        let linked = client.put_link(&name, &link_file(&forge, Kind::Github, "token: FORGE_TOKEN_ACME")).await.expect("linked");
        assert_eq!(
            (linked.number, linked.hook.as_deref()),
            (number, Some("https://wfg.example.com/api/forges/acme/hook"))
        );
        Self { server, client, http: reqwest::Client::new(), number, forge }
    }

    async fn new() -> Self {
        Self::with(secrets()).await
    }

    /// A push, as GitHub writes it.
    fn push(&self) -> String {
        let repository = json!({ "id": self.number, "full_name": APP_REPOSITORY });
        json!({
            "ref": "refs/heads/main", "before": "0".repeat(40), "after": "a".repeat(40),
            "head_commit": null, "repository": repository, "sender": { "login": "ada" },
        })
        .to_string()
    }

    async fn sends(&self, link: &str, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/api/forges/{link}/hook", self.server.url());
        let mut request = self.http.post(url).body(body.into());
        let given = |name: &str| headers.iter().any(|(header, _)| *header == name);
        for (name, usual) in
            [("content-type", "application/json"), ("x-github-event", "push"), ("x-github-delivery", "d-1")]
        {
            if !given(name) {
                request = request.header(name, usual);
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("answered");
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.expect("answered")).expect("JSON"))
    }

    async fn deliveries(&self) -> usize {
        let name = LinkName::new("acme").expect("a name");
        self.client.deliveries(&name, 100, None).await.expect("listed").items.len()
    }
}

fn signature(body: impl AsRef<[u8]>, key: &str) -> String {
    format!("sha256={}", hex::encode(sign(key.as_bytes(), body.as_ref())))
}

#[tokio::test]
async fn signed_delivery_is_stored_and_anything_else_writes_nothing() {
    let linked = Linked::new().await;
    let body = linked.push();
    let good = signature(&body, WEBHOOK_SECRET);
    let reencoded = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&body).expect("JSON")).expect("JSON");
    let sha1 = format!("sha1={}", &good[7..47]);
    for given in ["", "sha256=", &sha1, &signature(&body, ""), &signature(&reencoded, WEBHOOK_SECRET), &good[7..]] {
        let (status, answer) = linked.sends("acme", body.clone(), &[("x-hub-signature-256", given)]).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (401, Some("bad_signature")), "{given}");
    }
    let (status, none) = linked.sends("acme", body.clone(), &[]).await;
    let unknown = linked.sends("nobody", body.clone(), &[("x-hub-signature-256", &good)]).await;
    assert_eq!((status, &none), (401, &unknown.1), "an unknown link is answered like a wrong signature");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-hub-signature-256", &*good)];
    let (status, answer) = linked.sends("acme", body.clone(), &form).await;
    assert_eq!(status, 415);
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("a text")
            .contains("content type of the webhook to application/json")
    );
    let large = vec![b' '; LIMIT + 1];
    let signed = signature(&large, WEBHOOK_SECRET);
    let (status, answer) = linked.sends("acme", large, &[("x-hub-signature-256", &signed)]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (413, Some("body_too_large")));
    for bad in ["{", &format!("{}{}", "[".repeat(65), "]".repeat(65)), r#"{"ref": "refs/heads/main"}"#] {
        let (status, answer) =
            linked.sends("acme", bad, &[("x-hub-signature-256", &signature(bad, WEBHOOK_SECRET))]).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("invalid_payload")), "{bad}");
    }
    assert_eq!(linked.deliveries().await, 0);
    let (status, answer) = linked.sends("acme", body, &[("x-hub-signature-256", &good)]).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(linked.deliveries().await, 1);
}

#[tokio::test]
async fn signed_delivery_of_something_else_is_ignored_with_the_reason() {
    let linked = Linked::new().await;
    let other = linked.push().replace(&linked.number.to_string(), "1");
    for (event, body, reason) in [
        ("ping", "{}".to_owned(), "ping"),
        ("installation_repositories", "{}".to_owned(), "installation_repositories"),
        ("push", other, "not linked"),
    ] {
        let headers = [("x-github-event", event), ("x-hub-signature-256", &*signature(&body, WEBHOOK_SECRET))];
        let (status, answer) = linked.sends("acme", body.clone(), &headers).await;
        assert_eq!(status, 200, "{event}: {answer}");
        assert!(answer["ignored"].as_str().expect("a reason").contains(reason), "{answer}");
    }
    assert_eq!(linked.deliveries().await, 0);
}

#[tokio::test]
async fn link_whose_webhook_secret_is_gone_answers_503() {
    let mut without = secrets();
    without.retain(|name, _| name.as_str() != "FORGE_WEBHOOK_ACME");
    let linked = Linked::with(without).await;
    let body = linked.push();
    let (status, answer) = linked.sends("acme", body.clone(), &[("x-hub-signature-256", &signature(&body, ""))]).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (503, Some("no_webhook_secret")), "{answer}");
    assert_eq!(linked.deliveries().await, 0);
}

#[tokio::test]
async fn link_is_refused_with_its_problem_and_changes_nothing() {
    let linked = Linked::new().await;
    let name = LinkName::new("other").expect("a name");
    let file = link_file(&linked.forge, Kind::Github, "token: FORGE_TOKEN_ACME");
    let refused =
        async |name: &LinkName, file: &str| linked.client.put_link(name, file).await.expect_err("refused").to_string();
    for (file, says) in [
        (file.replace("webhook_secret: FORGE_WEBHOOK_ACME\n", ""), "webhook_secret"),
        (file.replace(APP_REPOSITORY, "acme/none"), "no such thing"),
        (file.replace("token: FORGE_TOKEN_ACME", "token: GONE"), "GONE"),
    ] {
        let said = refused(&name, &file).await;
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(linked.client.links().await.expect("listed").len(), 1);
}
