//! A workflow from submission to success, through requests alone.

use api::Service;
use bytes::Bytes;
use engine::Engine;
use http::{Request, StatusCode};
use memory::Memory;
use serde_json::{Value, json};

const DEPLOY: &str = r#"
name: deploy
jobs:
  build:
    run: echo "::set-output version=1.2.3"
  staging:
    needs: [build]
    labels: [staging]
    run: ./deploy.sh staging
  production:
    needs: [build]
    labels: [production]
    run: ./deploy.sh production
"#;

struct Api(Service<Memory>);

impl Api {
    fn new() -> Self {
        Self(Service::new(Engine::new(Memory::new())))
    }

    /// Sends a request, then processes all change events and batch tasks.
    async fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(Bytes::from(body.to_owned())).expect("a request");
        let response = self.0.answer(request).await;
        self.0.engine().scheduling().drain().await.expect("memory always answers");
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status(), body)
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send("POST", path, "application/json", &body.to_string()).await
    }

    async fn claim(&self, worker: &str, labels: &[&str]) -> Value {
        let (status, body) = self.post("/api/jobs/claim", json!({ "worker_id": worker, "labels": labels })).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    async fn complete(&self, claimed: &Value, outputs: Value) {
        let lease = claimed["lease"]["lease_id"].as_str().expect("a lease");
        let (status, body) = self.post(&format!("/api/jobs/{lease}/complete"), json!({ "outputs": outputs })).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
}

#[tokio::test]
async fn workflow_succeeds_and_each_job_goes_only_to_workers_with_its_labels() {
    let api = Api::new();
    let (status, workflow) = api.send("POST", "/api/workflows?run=true", "application/yaml", DEPLOY).await;
    assert_eq!(status, StatusCode::CREATED, "{workflow}");
    let id = workflow["id"].as_str().expect("an id").to_owned();

    let build = api.claim("any", &["staging"]).await;
    assert_eq!(build["job"]["job_id"], "build");
    assert_eq!(api.claim("any", &["staging", "production"]).await, Value::Null, "nothing else is ready");
    api.complete(&build, json!({ "version": "1.2.3" })).await;

    assert_eq!(api.claim("none", &[]).await, Value::Null, "a worker without labels gets neither");
    let production = api.claim("p", &["Production"]).await;
    assert_eq!(production["job"]["job_id"], "production");
    assert_eq!(production["job"]["upstream_outputs"], json!({ "build": { "version": "1.2.3" } }));
    let staging = api.claim("s", &["staging", "docker"]).await;
    assert_eq!(staging["job"]["job_id"], "staging");
    api.complete(&production, json!({})).await;
    api.complete(&staging, json!({})).await;

    let (_, done) = api.send("GET", &format!("/api/workflows/{id}/status"), "", "").await;
    assert_eq!(done["status"], "success", "{done}");
    let names: Vec<&str> = done["jobs"].as_array().expect("jobs").iter().filter_map(|job| job["id"].as_str()).collect();
    assert_eq!(names, ["build", "staging", "production"], "in the definition's order");
    assert_eq!(done["jobs"][0]["outputs"], json!({ "version": "1.2.3" }));
}

#[tokio::test]
async fn definition_is_returned_as_submitted_with_its_media_type() {
    let api = Api::new();
    let as_json = r#"{"name": "n", "jobs": {"a": {"run": "true"}}}"#;
    for (kind, text) in [("application/yaml", DEPLOY), ("application/json", as_json)] {
        let (status, workflow) = api.send("POST", "/api/workflows", kind, text).await;
        assert_eq!(status, StatusCode::CREATED, "{workflow}");
        let path = format!("/api/workflows/{}/definition", workflow["id"].as_str().expect("an id"));
        let response = api.0.answer(Request::get(&path).body(Bytes::new()).expect("a request")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], kind);
        assert_eq!(response.body(), text.as_bytes());
    }
    let (status, error) = api.send("GET", "/api/workflows/unknown/definition", "", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{error}");
}
