//! The client's requests, and how it reads answers.

use std::time::Duration;

use crate::common::{Answer, Fake, job, once, refuse};
use client::{Client, ClientError};
use serde_json::{Value, json};
use tokio::time::timeout;
use workflow_graph_worker_sdk::protocol::{JobId, Status, WorkflowId};
use workflow_graph_worker_sdk::{Token, Worker, WorkerConfig};

fn workflow(id: &str) -> Value {
    json!({"id": id, "name": "n", "trigger": "", "jobs": [], "status": "queued", "run": 1, "created_at_ms": 1,
           "started_at_ms": null, "finished_at_ms": null})
}

fn id(text: &str) -> WorkflowId {
    WorkflowId::new(text).expect("an id")
}

#[tokio::test]
async fn ids_are_encoded_and_the_servers_path_is_kept() {
    let server = Fake::start(|_| Some(Answer::Json(200, json!({"a": "1"})))).await;
    let client = Client::new(&format!("{}/stage/", server.url), None).expect("good");
    let job = JobId::new("straße:50%+@é").expect("an id");
    let outputs = client.outputs(&id("a&b"), &job).await.expect("answered");
    assert_eq!(outputs.get("a").map(String::as_str), Some("1"));
    let path = "/stage/api/workflows/a%26b/jobs/stra%C3%9Fe%3A50%25%2B%40%C3%A9/outputs";
    assert_eq!(server.all()[0].path, path);
}

#[tokio::test]
async fn a_token_goes_as_bearer_and_a_password_in_the_url_as_basic() {
    let server = Fake::start(|_| Some(Answer::Json(200, json!([])))).await;
    let host = server.url.strip_prefix("http://").expect("http");
    let with_password = format!("http://w:p%40ss@{host}");
    for (url, token, expected) in [
        (server.url.as_str(), Some("t1"), Some("Bearer t1")),
        (&with_password, None, Some("Basic dzpwQHNz")),
        (&with_password, Some("t2"), Some("Bearer t2")),
        (&server.url, None, None),
    ] {
        let client = Client::new(url, token.map(str::to_owned)).expect("good");
        assert_eq!(client.server_url(), server.url);
        assert!(!format!("{client:?}").contains("p%40ss"));
        client.workers().await.expect("answered");
        let head = server.all().last().expect("seen").head.clone();
        let sent = head.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned);
        assert_eq!(sent.as_deref(), expected);
    }
}

#[tokio::test]
async fn a_list_follows_links_up_to_its_limit() {
    let server = Fake::start(|request| {
        let page = |ids: &[&str]| Value::from(ids.iter().map(|id| workflow(id)).collect::<Vec<_>>()).to_string();
        let link = "link: <https://elsewhere/api/workflows?limit=2&cursor=c%2F1>; rel=\"next\"\r\n";
        let first = !request.path.contains("cursor=");
        Some(if first { Answer::Raw(200, link, page(&["a", "b"])) } else { Answer::Raw(200, "", page(&["c"])) })
    })
    .await;
    let client = Client::new(&server.url, None).expect("good");
    let page = client.list(2, None, None).await.expect("answered");
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("c/1")));
    let page = client.list(50, Some(Status::Failure), None).await.expect("answered");
    assert_eq!((page.items.len(), page.next), (3, None));
    let last = server.all().last().expect("seen").path.clone();
    assert_eq!(last, "/api/workflows?limit=48&status=failure&cursor=c%2F1");
}

#[tokio::test]
async fn a_definition_is_sent_as_it_is_with_its_key() {
    let server = Fake::start(|_| Some(Answer::Json(201, workflow("w")))).await;
    let client = Client::new(&server.url, None).expect("good");
    let text = "jobs:\n  é: {run: \"true\"}\n";
    assert_eq!(client.submit_yaml(text, true, Some("key-1")).await.expect("answered").id, id("w"));
    let request = server.all()[0].clone();
    assert_eq!((request.path.as_str(), request.body.as_str()), ("/api/workflows?run=true", text));
    assert!(request.head.contains("idempotency-key: key-1") && request.head.contains("application/yaml"));
    let error = client.submit_yaml(text, true, Some("a\nb")).await.expect_err("not a header").to_string();
    assert!(error.contains("idempotency key"), "{error}");
}

#[tokio::test]
async fn a_refusal_has_the_servers_text_and_a_gateways_refusal_is_recognised() {
    let server = Fake::start(|request| {
        Some(match request.path.as_str() {
            "/api/workflows/own" => Answer::Json(
                404,
                json!({"error": {"code": "no_workflow", "message": "there is no workflow own", "details": [1]}}),
            ),
            "/api/workflows/gateway" => Answer::Json(403, json!({"message": "Forbidden by gateway"})),
            "/api/workflows/busy" => Answer::Raw(503, "retry-after: 7\r\n", "<html>".to_owned()),
            "/api/workflows/broken" => Answer::Json(500, json!({"message": "Internal Server Error"})),
            "/api/workflows/moved" => Answer::Raw(301, "location: https://new\r\n", String::new()),
            _ => Answer::Raw(200, "content-type: text/html\r\n", "<html>".to_owned()),
        })
    })
    .await;
    let client = Client::new(&server.url, None).expect("good");
    let error = async |name| client.workflow(&id(name)).await.expect_err("refused");

    let own = error("own").await;
    assert_eq!(own.to_string(), "there is no workflow own (404 no_workflow)");
    assert!(matches!(&own, ClientError::Refused { details: Some(_), .. }) && !own.is_transient());
    assert!(error("gateway").await.to_string().contains("Forbidden by gateway (403 http_403)"));
    let busy = error("busy").await;
    assert!(matches!(&busy, ClientError::Refused { retry_after: Some(after), .. } if after.as_secs() == 7));
    assert!(busy.is_transient());
    assert!(error("broken").await.is_transient(), "a gateway says so of a function that broke off");
    assert!(error("moved").await.to_string().contains("https://new"));
    let page = error("page").await.to_string();
    assert!(page.contains("text/html") && page.contains("is this the right server?"), "{page}");
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_password_or_lease() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let client = Client::new(&format!("http://user:hidden@{address}"), None).expect("good");
    let lease = workflow_graph_worker_sdk::protocol::LeaseId("capability".to_owned());
    let error = client.heartbeat(&lease).await.expect_err("nobody there");
    let text = format!("{error} {error:?}");
    assert!(error.to_string().starts_with(&format!("can't reach http://{address}: Connection refused")), "{error}");
    assert!(!text.contains("hidden") && !text.contains("capability"), "{text}");
    assert!(error.is_transient());
}

#[test]
fn an_unusable_address_is_refused_with_the_expected_form() {
    for bad in ["localhost:3000", "example.com", "ftp://example.com", ""] {
        let error = Client::new(bad, None).expect_err(bad).to_string();
        assert!(error.contains("http://"), "{error}");
    }
    let error = Client::new("http://ok", Some("a\nb".to_owned())).expect_err("not a header").to_string();
    assert!(error.contains("token"), "{error}");
}

/// A server that names addresses past it at a registration.
async fn names(claim: String, complete: String) -> Fake {
    Fake::start(move |request| {
        let endpoints = json!({"claim": claim, "complete": complete});
        let answer = json!({"queues": [], "heartbeat_secs": 30, "endpoints": endpoints});
        request.is("/register").then_some(Answer::Json(200, answer))
    })
    .await
}

/// Runs a worker until its claims have found nothing for a moment.
async fn works(server: &Fake) {
    let config = WorkerConfig { idle_exit: Some(Duration::from_millis(300)), once: true, ..server.config() };
    timeout(Duration::from_secs(30), Worker::new(config).run()).await.expect("ends").expect("worked");
}

#[tokio::test]
async fn worker_calls_the_addresses_that_the_server_names_with_its_token() {
    let (claims, reports) = (Fake::start(once(&job("true"), 30)).await, Fake::start(|_| None).await);
    let server = names(format!("{}/", claims.url), format!("{}/path", reports.url)).await;
    let config = WorkerConfig { once: true, token: Some(Token::from("t1")), ..server.config() };
    timeout(Duration::from_secs(30), Worker::new(config).run()).await.expect("ends").expect("worked");
    let paths = |fake: &Fake| fake.all().into_iter().map(|request| request.path).collect::<Vec<_>>();
    assert_eq!(paths(&server), ["/api/workers/register"]);
    assert_eq!(paths(&claims), ["/api/jobs/claim", "/api/workers/w1"]);
    assert_eq!(paths(&reports), ["/path/api/jobs/L1/complete"]);
    for request in claims.all().iter().chain(&reports.all()) {
        assert!(request.head.contains("authorization: Bearer t1\r\n"), "{}", request.head);
    }
}

#[tokio::test]
async fn worker_calls_the_server_if_an_address_cannot_be_reached_or_something_else_answers_there() {
    // AWS answers so where a function URL was removed.
    let stranger = Fake::start(|_| {
        Some(Answer::Raw(403, "content-type: application/json\r\n", r#"{"Message":"Forbidden"}"#.into()))
    })
    .await;
    let closed = "http://127.0.0.1:1".to_owned();
    for address in [closed, stranger.url.clone()] {
        let server = names(address.clone(), address).await;
        works(&server).await;
        assert!(server.seen("/claim").len() > 2);
    }
    assert_eq!(stranger.all().len(), 1, "it isn't tried again before the server names it again");
}

#[tokio::test]
async fn refusal_by_the_engine_at_an_address_is_the_answer() {
    let refusing = Fake::start(|_| refuse(403)).await;
    let server = names(refusing.url.clone(), refusing.url.clone()).await;
    works(&server).await;
    assert_eq!(server.seen("/claim").len(), 0);
    assert!(!refusing.seen("/claim").is_empty());
}
