//! The URLs of functions, on a target that was deployed with `Gateway=url`.

use harness::{Cloud, RealWorker, RecordingProxy, Success};
use protocol::access::Scope;
use protocol::requests::{Register, Transport};
use protocol::wire::Endpoints;
use protocol::{LabelSet, WorkerId};
use serde_json::{Value, json};
use worker::WorkerConfig;

/// The addresses that the target names at a registration.
async fn endpoints(cloud: &Cloud) -> Option<Endpoints> {
    let register = Register {
        worker_id: WorkerId::new(format!("{}-asks", cloud.label)).expect("an id"),
        labels: LabelSet::parse([cloud.label.as_str()]).expect("a label"),
        transport: Transport::Http,
        exclusive: true,
        features: Vec::new(),
        paused: None,
    };
    cloud.client.register(&register).await.expect("registered").endpoints
}

#[tokio::test]
async fn only_a_stack_with_function_urls_names_them_to_workers() {
    let cloud = Cloud::connect();
    let named = std::env::var("WFG_TEST_GATEWAY").is_ok_and(|gateway| gateway == "url");
    assert_eq!(endpoints(&cloud).await.is_some(), named);
}

#[tokio::test]
async fn worker_claims_and_reports_past_the_gateway() {
    let cloud = Cloud::connect();
    if endpoints(&cloud).await.is_none() {
        return;
    }
    let gateway = RecordingProxy::start(&cloud, None).await;
    let _worker = RealWorker::starts_like(&cloud, "{label}", |config| WorkerConfig {
        server_url: cloud.url_through(&gateway.url),
        ..config
    });
    let text = "jobs:\n  a: {labels: '{label}', run: 'echo a line; echo \"::set-output x=1\"'}\n  \
                b: {labels: '{label}', needs: a, run: 'true'}\n";
    let run = cloud.submit(text).await;
    run.until(Success).await;
    assert_eq!(run.log("a", "stdout").await.lines().next(), Some("a line"));
    assert_eq!(json!(run.outputs("a").await), json!({ "x": "1" }));
    let by_the_gateway: Vec<String> = gateway.seen().into_iter().map(|exchange| exchange.path).collect();
    assert_eq!(by_the_gateway, ["/api/workers/register"]);
}

#[tokio::test]
async fn function_urls_ask_for_tokens_and_serve_no_other_functions_routes() {
    let cloud = Cloud::connect();
    let Some(Endpoints { claim, complete }) = endpoints(&cloud).await else { return };
    let other = cloud.token("worker", &[Scope::Work], "{label}-other").await;
    let call = async |method: &str, url: &str, path: &str, token: Option<&str>| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = cloud.http.request(method, format!("{}{path}", url.trim_end_matches('/')));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let body = json!({ "worker_id": format!("{}-w", cloud.label), "labels": [cloud.label] });
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await;
        let answer = answer.expect("answered");
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_str(&answer.text().await.expect("text")).expect("JSON");
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    for (method, url, path) in [
        ("POST", &claim, "/api/jobs/claim"),
        ("POST", &complete, "/api/jobs/nonsense/complete"),
        ("POST", &complete, "/api/jobs/nonsense/logs"),
    ] {
        assert_eq!(call(method, url, path, None).await.0, 401, "{path}");
        assert_eq!(call(method, url, path, Some("wfg_nonsense")).await.0, 401, "{path}");
    }
    assert_eq!(call("POST", &claim, "/api/jobs/claim", Some(&other)).await.0, 403, "its labels aren't the token's");
    for (method, url, path) in [
        ("GET", &claim, "/api/workflows"),
        ("POST", &claim, "/api/workflows"),
        ("POST", &claim, "/api/jobs/nonsense/complete"),
        ("POST", &complete, "/api/jobs/claim"),
        ("POST", &complete, "/api/tokens"),
    ] {
        let (status, code) = call(method, url, path, Some(&other)).await;
        assert!(matches!(status, 404 | 405) && !code.is_empty(), "{method} {path}: {status} {code}");
    }
}
