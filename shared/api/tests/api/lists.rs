//! Lists are divided into pages, and no page is over the limit of an answer.

use std::collections::BTreeSet;

use api::Service;
use bytes::Bytes;
use engine::Engine;
use http::Request;
use memory::Memory;
use protocol::limits;
use serde_json::{Value, json};

/// Follows `Link` from this path. Returns the entries of each page.
async fn pages(service: &Service<Memory>, path: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let response = service.answer(Request::get(&path).body(Bytes::new()).expect("a request")).await;
        assert_eq!(response.status(), 200, "{path}: {response:?}");
        assert!(response.body().len() <= limits::ANSWER, "{path}: {} bytes", response.body().len());
        pages.push(serde_json::from_slice(response.body()).expect("a list"));
        next = response.headers().get("link").map(|link| {
            let link = link.to_str().expect("text").strip_prefix('<').and_then(|link| link.split_once('>'));
            link.expect("a link").0.to_owned()
        });
    }
    pages
}

async fn post(service: &Service<Memory>, path: &str, body: &Value) {
    let response = service.answer(Request::post(path).body(body.to_string().into()).expect("a request")).await;
    assert!(response.status().is_success(), "{path}: {response:?}");
}

#[tokio::test]
async fn workers_come_in_pages_of_the_wanted_size_each_once() {
    let service = Service::new(Engine::new(Memory::new()));
    for n in 0..25 {
        post(&service, "/api/workers/register", &json!({ "worker_id": format!("w{n}"), "labels": [] })).await;
    }
    let paged = pages(&service, "/api/workers?limit=10").await;
    assert_eq!(paged.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let ids: BTreeSet<String> = paged.concat().iter().map(|worker| worker["worker_id"].to_string()).collect();
    assert_eq!(ids.len(), 25);
    assert_eq!(pages(&service, "/api/workers").await.len(), 1, "without a limit all are in one page if they fit");
    let bad = service.answer(Request::get("/api/workers?cursor=%21").body(Bytes::new()).expect("a request")).await;
    assert_eq!(bad.status(), 400);
}

#[tokio::test]
async fn list_over_the_limit_of_an_answer_ends_early_with_a_link() {
    let service = Service::new(Engine::new(Memory::new()));
    let labels: Vec<String> = (0..limits::LABELS_PER_WORKER).map(|n| format!("{n:064}")).collect();
    let count = limits::ANSWER / (limits::LABELS_PER_WORKER * limits::LABEL) + 1;
    for n in 0..count {
        post(&service, "/api/workers/register", &json!({ "worker_id": format!("w{n}"), "labels": labels })).await;
    }
    let paged = pages(&service, "/api/workers").await;
    assert!(paged.len() > 1);
    assert_eq!(paged.concat().len(), count);
}

#[tokio::test]
async fn pools_and_tokens_come_in_pages_too() {
    let service = Service::new(Engine::new(Memory::new()));
    let jobs: Vec<String> = (0..7).map(|n| format!("j{n}: {{run: x, labels: l{n}}}")).collect();
    let definition = format!("jobs: {{{}}}", jobs.join(", "));
    let request = Request::post("/api/workflows?run=true").header("content-type", "application/yaml");
    assert_eq!(service.answer(request.body(definition.into()).expect("a request")).await.status(), 201);
    for n in 0..5 {
        post(&service, "/api/tokens", &json!({ "name": format!("t{n}"), "scopes": ["read"] })).await;
    }
    for (path, sizes) in [("/api/pools?limit=3", &[3, 3, 1][..]), ("/api/tokens?limit=2", &[2, 2, 1])] {
        let paged = pages(&service, path).await;
        assert_eq!(paged.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{path}");
        let different: BTreeSet<String> = paged.concat().iter().map(Value::to_string).collect();
        assert_eq!(different.len(), sizes.iter().sum::<usize>(), "{path}");
    }
}

#[tokio::test]
async fn page_of_pools_is_bounded_without_a_limit_too() {
    let service = Service::new(Engine::new(Memory::new()));
    let count = limits::POOLS_LISTED + 30;
    let jobs: Vec<String> = (0..count).map(|n| format!("j{n}: {{run: x, labels: l{n}}}")).collect();
    let definition = format!("jobs: {{{}}}", jobs.join(", "));
    let request = Request::post("/api/workflows?run=true").header("content-type", "application/yaml");
    assert_eq!(service.answer(request.body(definition.into()).expect("a request")).await.status(), 201);
    for path in ["/api/pools", "/api/pools?limit=1000"] {
        let paged = pages(&service, path).await;
        assert_eq!(paged.iter().map(Vec::len).collect::<Vec<_>>(), [limits::POOLS_LISTED, 30], "{path}");
        let different: BTreeSet<String> = paged.concat().iter().map(|pool| pool["labels"].to_string()).collect();
        assert_eq!(different.len(), count);
    }
}
