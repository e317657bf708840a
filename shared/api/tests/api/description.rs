//! Compares the `OpenAPI` document with the route table and with the API's answers.

use crate::described::Described;
use api::Service;
use api::routes;
use bytes::Bytes;
use engine::Engine;
use http::{Request, Response};
use memory::Memory;
use protocol::limits;
use serde_json::{Value, json};

const DEFINITION: &str = "
name: release
jobs:
  build: {run: make, retries: 1, labels: [linux]}
  test: {needs: build, run: make test, timeout: 90s}
  ship: {needs: [test], run: make ship, queue_timeout: 1h, metadata: {by: hand}}
";

/// An API and its document. Every answer is compared with the document.
struct Api {
    service: Service<Memory>,
    described: Described,
}

impl Api {
    async fn new() -> Self {
        let service = Service::new(Engine::new(Memory::new()));
        let request = Request::get("/api/openapi.json").body(Bytes::new()).expect("a request");
        let described = service.answer(request).await;
        let described = Described::new(serde_json::from_slice(described.body()).expect("JSON"));
        Self { service, described }
    }

    async fn send(&self, request: http::request::Builder, body: String) -> Response<Bytes> {
        let request = request.body(Bytes::from(body)).expect("a request");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.service.answer(request).await;
        self.service.engine().scheduling().drain().await.expect("memory always answers");
        self.described.check(&method, &path, &response);
        response
    }

    /// Sends JSON that the description allows, and returns the answer's.
    async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        self.described.allows(path, &body);
        let request = Request::post(path).header("content-type", "application/json");
        json_of(&self.send(request, body.to_string()).await, status)
    }

    async fn get(&self, path: &str, status: u16) -> Value {
        json_of(&self.send(Request::get(path), String::new()).await, status)
    }

    async fn delete(&self, path: &str, status: u16) {
        assert_eq!(self.send(Request::delete(path), String::new()).await.status(), status, "{path}");
    }

    async fn submit(&self, kind: &str, key: Option<&str>, definition: &str, status: u16) -> Value {
        let request = Request::post("/api/workflows").header("content-type", kind);
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        json_of(&self.send(request, definition.to_owned()).await, status)
    }

    async fn claim(&self) -> Value {
        self.post("/api/jobs/claim", json!({ "worker_id": "w", "labels": ["Linux "] }), 200).await
    }
}

fn json_of(response: &Response<Bytes>, status: u16) -> Value {
    assert_eq!(response.status(), status, "{}", String::from_utf8_lossy(response.body()));
    serde_json::from_slice(response.body()).expect("JSON")
}

/// The path of a report under the claimed lease.
fn under(claimed: &Value, what: &str) -> String {
    format!("/api/jobs/{}/{what}", claimed["lease"]["lease_id"].as_str().expect("a lease"))
}

#[tokio::test]
async fn every_route_is_described_and_the_document_is_consistent() {
    let api = Api::new().await;
    let routes = routes::<Memory>();
    for route in &routes {
        let operation = api.described.operation(&route.method, route.path);
        assert!(operation.is_object(), "{} {} isn't described", route.method, route.path);
    }
    assert_eq!(api.described.operations().len(), routes.len(), "and nothing else is");
    api.described.is_consistent();
}

#[tokio::test]
async fn answers_match_the_document() {
    let api = Api::new().await;
    let made = api.submit("application/yaml", Some("once"), DEFINITION, 201).await;
    assert_eq!(api.submit("application/yaml", Some("once"), DEFINITION, 200).await["id"], made["id"]);
    let id = made["id"].as_str().expect("an id");
    let workflow = format!("/api/workflows/{id}");
    let worker = json!({ "worker_id": "w", "labels": ["linux"], "features": ["outputs_url"], "unknown": 1 });
    api.post("/api/workers/register", worker, 200).await;
    api.post("/api/workers/w/heartbeat", json!({}), 200).await;
    api.post(&format!("{workflow}/run"), json!({}), 202).await;
    api.post(&format!("{workflow}/run"), json!({ "only": "failed" }), 409).await;
    api.delete(&workflow, 409).await;

    let build = api.claim().await;
    assert_eq!(build["job"]["job_id"], "build");
    api.post(&under(&build, "heartbeat"), json!({}), 200).await;
    let line = json!({ "sequence": 0, "data": "compiling\n", "stream": "stderr" });
    api.post(&under(&build, "logs"), json!({ "chunks": [line] }), 200).await;
    api.get(&workflow, 200).await;
    let failure = json!({ "error": "no compiler", "retryable": true, "exit_code": 2 });
    api.post(&under(&build, "fail"), failure, 200).await;
    let again = api.claim().await;
    let next = json!({ "worker_id": "w", "labels": ["linux"] });
    let outputs = json!({ "version": "1.2.3" });
    let test = api.post(&under(&again, "complete"), json!({ "outputs": outputs, "next": next }), 200).await;
    let test = &test["next"];
    assert_eq!(test["job"]["upstream_outputs"], json!({ "build": { "version": "1.2.3" } }));
    api.post(&under(test, "fail"), json!({}), 200).await;
    api.post(&under(test, "logs"), json!({ "chunks": [] }), 409).await;
    assert_eq!(api.get(&format!("{workflow}/status"), 200).await["status"], "failure");

    assert_eq!(api.get(&format!("{workflow}/jobs/build/logs?attempt=0"), 200).await[0]["data"], "compiling\n");
    assert_eq!(api.get(&format!("{workflow}/jobs/build/outputs"), 200).await["version"], "1.2.3");
    let stream = api.send(Request::get(format!("{workflow}/jobs/build/logs/stream?attempt=0")), String::new()).await;
    assert!(String::from_utf8_lossy(stream.body()).contains("event: log\nid: 0\n"), "{stream:?}");
    assert_eq!(api.get(&format!("/api/jobs/{id}/ship/cancelled"), 200).await, false);
    for list in ["/api/workflows?limit=1&status=failure", "/api/workers", "/api/pools"] {
        assert_eq!(api.get(list, 200).await.as_array().expect("a list").len().min(1), 1, "{list}");
    }
    api.post(&format!("{workflow}/cancel"), json!({}), 202).await;
    api.delete(&workflow, 204).await;
    api.delete("/api/workers/w", 204).await;
    api.get(&workflow, 404).await;
    api.get("/api/health", 200).await;
    api.get("/api/openapi.json", 200).await;
}

#[tokio::test]
async fn refusals_match_the_document() {
    let api = Api::new().await;
    for path in ["/api/workers/register", "/api/jobs/claim"] {
        for (body, status) in [("{", 400), ("[]", 422), ("{}", 422), (r#"{"worker_id": "a/b"}"#, 422)] {
            json_of(&api.send(Request::post(path), body.to_owned()).await, status);
        }
        json_of(&api.send(Request::post(path).header("content-type", "text/html"), "{}".to_owned()).await, 415);
    }
    let refused = api.submit("application/yaml", None, "jobs: {a: {run: x, runs: x}}", 422).await;
    assert_eq!(refused["error"]["details"]["problems"][0]["code"], "unknown_key");
    api.submit("application/yaml", None, "jobs: [", 400).await;
    api.submit("application/json", None, &"x".repeat(limits::DEFINITION + 1), 413).await;
    api.get("/api/workflows?limit=0", 400).await;
    api.get("/api/workflows/%ff", 400).await;
    api.get("/api/workflows/no/jobs/no/logs/stream", 404).await;
    api.post("/api/workers/nobody/heartbeat", json!({}), 404).await;
    api.post("/api/jobs/nothing/heartbeat", json!({}), 409).await;
}

#[tokio::test]
async fn list_in_place_of_an_object_is_refused() {
    let api = Api::new().await;
    let made = api.submit("application/yaml", None, DEFINITION, 201).await;
    let run = format!("/api/workflows/{}/run", made["id"].as_str().expect("an id"));
    let refused = json_of(&api.send(Request::post(&run), " []".to_owned()).await, 422);
    assert_eq!(refused["error"]["message"], "the body is a list; it must be an object");
    assert_eq!(api.send(Request::post(&run), String::new()).await.status(), 202, "no body at all is fine");
}
