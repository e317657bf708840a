//! How parts of a request are read: method, headers, encoding and body.

use api::Service;
use bytes::Bytes;
use engine::Engine;
use http::{HeaderMap, Method, Request, Response};
use memory::Memory;
use protocol::wire::{ErrorBody, Workflow};
use serde_json::json;

async fn send(service: &Service<Memory>, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
    service.answer(request.body(body.into()).expect("a request")).await
}

fn service() -> Service<Memory> {
    Service::new(Engine::new(Memory::new()))
}

fn code(response: &Response<Bytes>) -> String {
    serde_json::from_slice::<ErrorBody>(response.body()).expect("an error's body").error.code
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body_on_every_route() {
    let service = service();
    let submitted = send(&service, Request::post("/api/workflows"), r#"{"jobs": {"a": {"run": "x"}}}"#).await;
    let id = serde_json::from_slice::<Workflow>(submitted.body()).expect("a workflow").id;
    for route in api::routes::<Memory>().iter().filter(|route| route.method == Method::GET) {
        let path =
            route.path.replace("{id}", id.as_str()).replace("{workflow_id}", id.as_str()).replace("{job_id}", "a");
        let get = send(&service, Request::get(&path), "").await;
        let head = send(&service, Request::head(&path), "").await;
        assert_eq!(head.status(), get.status(), "{path}");
        assert!(head.body().is_empty(), "{path}");
        assert!(head.extensions().is_empty(), "{path}: nothing follows");
        let without_size = |headers: &HeaderMap| {
            let mut headers = headers.clone();
            headers.remove("content-length");
            headers
        };
        assert_eq!(without_size(head.headers()), without_size(get.headers()), "{path}");
        let size = head.headers().get("content-length").and_then(|size| size.to_str().ok()?.parse().ok());
        assert!(
            path.ends_with("/stream") || path.ends_with("/events") || size == Some(get.body().len()),
            "{path}: {size:?}"
        );
    }
    let refused = send(&service, Request::head("/api/nothing"), "").await;
    assert!(refused.status() == 404 && refused.body().is_empty());
}

#[tokio::test]
async fn byte_order_mark_in_front_of_a_body_is_skipped() {
    let service = service();
    let json = r#"{"jobs": {"a": {"run": "x"}}}"#;
    for (kind, text) in [("application/json", json), ("application/yaml", "jobs: {a: {run: x}}")] {
        let request = Request::post("/api/workflows").header("content-type", kind);
        let response = send(&service, request, format!("\u{feff}{text}")).await;
        assert_eq!(response.status(), 201, "{kind}: {response:?}");
    }
    let claim = format!("\u{feff}{}", json!({ "worker_id": "w", "labels": [] }));
    assert_eq!(send(&service, Request::post("/api/jobs/claim"), claim).await.status(), 200);
    let run = send(&service, Request::post("/api/workflows/unknown/run"), "\u{feff}").await;
    assert_eq!(code(&run), "no_such_workflow", "a mark alone is no body");
    let utf16 = send(&service, Request::post("/api/workflows"), &b"\xff\xfe{\0}\0"[..]).await;
    assert!(code(&utf16) == "not_utf8" && String::from_utf8_lossy(utf16.body()).contains("UTF-16"), "{utf16:?}");
}

#[tokio::test]
async fn encodings_that_are_not_understood_are_refused() {
    let service = service();
    for (name, value, status) in [
        ("content-encoding", "gzip", 415),
        ("content-encoding", "identity, br", 415),
        ("transfer-encoding", "gzip, chunked", 415),
        ("content-encoding", "Identity", 422),
        ("transfer-encoding", "chunked", 422),
        ("content-encoding", "", 422),
    ] {
        let response = send(&service, Request::post("/api/workflows").header(name, value), "{}").await;
        assert_eq!(response.status(), status, "{name}: {value}");
        assert!(status != 415 || code(&response) == "unsupported_encoding");
    }
}

#[tokio::test]
async fn headers_with_one_meaning_may_be_there_once() {
    let service = service();
    for name in ["host", "authorization", "content-type", "idempotency-key"] {
        let request = Request::post("/api/workflows").header(name, "application/json").header(name, "application/json");
        let response = send(&service, request, "{}").await;
        assert_eq!((response.status().as_u16(), code(&response).as_str()), (400, "invalid_header"), "{name}");
        assert!(String::from_utf8_lossy(response.body()).contains(name), "{name}");
    }
}
