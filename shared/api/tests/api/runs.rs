//! The routes for programs that show runs.

use api::{Admission, Events, Service};
use bytes::Bytes;
use engine::Engine;
use http::{Request, Response};
use memory::Memory;
use protocol::TokenName;
use protocol::access::NewToken;
use serde_json::{Value, json};

use crate::described::Described;

const DEFINITION: &str = "
name: Release
jobs:
  build: {run: make, labels: [linux], name: Build it}
  test: {needs: build, run: make test}
";

struct Api(Service<Memory>);

impl Api {
    fn new() -> Self {
        Self(Service::new(Engine::new(Memory::new())))
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = request.body(body.into()).expect("a request");
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.0.answer(request).await;
        self.0.engine().scheduling().drain().await.expect("memory always answers");
        let openapi = Request::get("/api/openapi.json").body(Bytes::new()).expect("a request");
        let document = self.0.answer(openapi).await;
        Described::new(serde_json::from_slice(document.body()).expect("JSON")).check(&method, &path, &response);
        response
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path), Bytes::new()).await
    }

    async fn json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "{path}: {response:?}");
        serde_json::from_slice(response.body()).expect("JSON")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let response = self.send(Request::post(path), body.to_string()).await;
        assert!(response.status().is_success(), "{path}: {response:?}");
        serde_json::from_slice(response.body()).unwrap_or_default()
    }

    async fn submit(&self, definition: &str) -> String {
        let request = Request::post("/api/workflows?run=true").header("content-type", "application/yaml");
        let made = self.send(request, definition.to_owned()).await;
        let made: Value = serde_json::from_slice(made.body()).expect("JSON");
        made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    async fn complete_one(&self) {
        let claimed = self.post("/api/jobs/claim", json!({ "worker_id": "w", "labels": ["linux"] })).await;
        let lease = claimed["lease"]["lease_id"].as_str().unwrap_or_else(|| panic!("{claimed}"));
        self.post(&format!("/api/jobs/{lease}/complete"), json!({ "outputs": {} })).await;
    }

    async fn events(&self, id: &str, last: &str) -> (String, Option<Events>) {
        let request = Request::get(format!("/api/workflows/{id}/events")).header("last-event-id", last);
        let mut response = self.send(request, Bytes::new()).await;
        let rest = response.extensions_mut().remove::<Events>();
        (String::from_utf8(response.body().to_vec()).expect("text"), rest)
    }
}

/// The events of a stream: the type, the id and the data of each.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default().to_owned()
    };
    let whole = text.split("\n\n").filter(|event| event.contains("event: "));
    whole
        .map(|event| {
            let data = serde_json::from_str(&field(event, "data")).expect("JSON");
            (field(event, "event"), field(event, "id"), data)
        })
        .collect()
}

#[tokio::test]
async fn caller_without_tokens_may_do_everything_and_one_with_a_token_what_it_allows() {
    let everybody = Api::new().json("/api/me").await;
    assert_eq!(
        (&everybody["auth"], &everybody["name"], &everybody["labels"]),
        (&json!("none"), &Value::Null, &json!("*"))
    );
    assert_eq!(everybody["scopes"], json!(["read", "submit", "work", "admin", "approve"]));

    let engine = Engine::new(Memory::new());
    let new: NewToken =
        serde_json::from_value(json!({ "name": "ci", "scopes": ["submit"], "labels": ["linux"] })).expect("one");
    let made = engine.tokens().create(new).await.expect("made");
    let api = Api(Service::new(engine).admitting(Admission::Tokens));
    let authorization = format!("Bearer {}", made.token);
    let me = api.send(Request::get("/api/me").header("authorization", authorization), Bytes::new()).await;
    let me: Value = serde_json::from_slice(me.body()).expect("JSON");
    let expires = made.info.expires_at_ms.0;
    assert_eq!(
        me,
        json!({ "auth": "token", "name": TokenName::new("ci").expect("a name"), "scopes": ["submit"], "labels": ["linux"], "secrets": [], "expires_at_ms": expires })
    );
    assert_eq!(api.get("/api/me").await.status(), 401);
}

#[tokio::test]
async fn summaries_count_the_ended_jobs_of_open_and_of_ended_runs() {
    let api = Api::new();
    let id = api.submit(DEFINITION).await;
    let list = async || api.json("/api/workflows?view=summary").await[0].clone();
    let shown = |list: &Value| (list["status"].clone(), list["jobs"].clone(), list["done"].clone());
    assert_eq!(shown(&list().await), (json!("running"), json!(2), json!(0)));
    api.complete_one().await;
    assert_eq!(shown(&list().await), (json!("running"), json!(2), json!(1)));
    api.complete_one().await;
    let ended = list().await;
    assert_eq!(shown(&ended), (json!("success"), json!(2), json!(2)));
    let status = api.json(&format!("/api/workflows/{id}")).await;
    for field in ["id", "name", "run", "created_at_ms", "started_at_ms", "finished_at_ms"] {
        assert_eq!(ended[field], status[field], "{field}");
    }
    assert!(ended["started_at_ms"].is_u64() && ended.get("done_is_least").is_none());
}

#[tokio::test]
async fn summaries_are_found_by_part_of_the_name_or_id_and_by_status_over_all_pages() {
    let api = Api::new();
    let mut ids = Vec::new();
    for name in ["Nightly build", "deploy", "BUILD docs", "deploy"] {
        ids.push(api.submit(&format!("name: {name}\njobs: {{a: {{run: x}}}}")).await);
    }
    let names = async |query: &str| {
        let (mut names, mut next) = (Vec::new(), Some(format!("/api/workflows?view=summary&limit=1&{query}")));
        while let Some(path) = next {
            let response = api.get(&path).await;
            let page: Vec<Value> = serde_json::from_slice(response.body()).expect("a list");
            assert!(page.len() <= 1, "{path}");
            names.extend(page.iter().map(|one| one["name"].as_str().expect("a name").to_owned()));
            let link = response.headers().get("link").map(|link| link.to_str().expect("text"));
            next = link.map(|link| link.split(['<', '>']).nth(1).expect("an address").to_owned());
        }
        names.sort();
        names
    };
    assert_eq!(names("q=bUiLd").await, ["BUILD docs", "Nightly build"]);
    assert_eq!(names(&format!("q={}", &ids[1][3..])).await, ["deploy"]);
    assert_eq!(names("status=running&q=deploy").await, ["deploy", "deploy"]);
    assert!(names("status=success").await.is_empty());
    assert_eq!(names("q=").await.len(), 4);
    assert_eq!(names("offset=3").await, ["Nightly build"], "the oldest");
    for bad in ["view=all", "view=summary&offset=1001", "view=summary&status=none", "view=summary&cursor=x"] {
        assert_eq!(api.get(&format!("/api/workflows?{bad}")).await.status(), 400, "{bad}");
    }
}

#[tokio::test]
async fn graph_has_names_needs_labels_and_stacks_and_comes_once_for_a_run() {
    let api = Api::new();
    let shards: String = (1..=4).map(|n| format!("  shard-{n}: {{run: x, needs: test}}\n")).collect();
    let id = api.submit(&format!("{DEFINITION}{shards}")).await;
    let path = format!("/api/workflows/{id}/graph");
    let response = api.get(&path).await;
    let graph: Value = serde_json::from_slice(response.body()).expect("JSON");
    let expected = json!({
        "run": 1, "labels": [["linux"], []], "stacks": ["shard-*"],
        "jobs": [
            ["build", "Build it", [], 0, null], ["test", null, [0], 1, null],
            ["shard-1", null, [1], 1, 0], ["shard-2", null, [1], 1, 0], ["shard-3", null, [1], 1, 0], ["shard-4", null, [1], 1, 0],
        ],
    });
    assert_eq!(graph, expected);
    let tag = response.headers()["etag"].to_str().expect("text").to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let again = api.send(Request::get(&path).header("if-none-match", &known), Bytes::new()).await;
        assert_eq!((again.status().as_u16(), again.body().len()), (304, 0), "{known}");
        assert_eq!(again.headers()["etag"], tag);
    }
    api.post(&format!("/api/workflows/{id}/cancel"), json!({})).await;
    api.post(&format!("/api/workflows/{id}/run"), json!({})).await;
    let rerun = api.send(Request::get(&path).header("if-none-match", &tag), Bytes::new()).await;
    assert_eq!(rerun.status(), 200);
    assert_ne!(rerun.headers()["etag"], tag);
    assert_eq!(api.get("/api/workflows/wf-none/graph").await.status(), 404);
}

#[tokio::test]
async fn one_job_is_shown_as_in_the_status_of_its_workflow() {
    let api = Api::new();
    let id = api.submit(DEFINITION).await;
    let same = async || {
        let status = api.json(&format!("/api/workflows/{id}")).await;
        for (at, job) in ["build", "test"].iter().enumerate() {
            let mut shown = api.json(&format!("/api/workflows/{id}/jobs/{job}")).await;
            let mut expected = status["jobs"][at].clone();
            for shown in [&mut shown, &mut expected] {
                shown.as_object_mut().expect("a job").remove("duration_secs");
            }
            assert_eq!(shown, expected, "{job}");
        }
        status
    };
    let waits = same().await;
    assert_eq!(waits["jobs"][0]["waiting_for"]["reason"], "no_worker");
    assert_eq!(waits["jobs"][1]["waiting_for"]["needs"], json!(["build"]));
    api.complete_one().await;
    same().await;
    api.complete_one().await;
    same().await;
    for missing in [format!("/api/workflows/{id}/jobs/none"), "/api/workflows/wf-none/jobs/a".to_owned()] {
        assert_eq!(api.get(&missing).await.status(), 404, "{missing}");
    }
}

#[tokio::test]
async fn events_begin_with_all_jobs_and_go_on_after_the_last_event_to_the_end() {
    let api = Api::new();
    let id = api.submit(DEFINITION).await;
    let (text, rest) = api.events(&id, "").await;
    assert!(text.starts_with("retry: 2000\n\n") && rest.is_some(), "{text}");
    let first = events(&text);
    assert_eq!((first.len(), first[0].0.as_str()), (1, "snapshot"));
    let (_, last, snapshot) = &first[0];
    assert_eq!(
        (&snapshot["run"], &snapshot["name"], &snapshot["status"]),
        (&json!(1), &json!("Release"), &json!("running"))
    );
    let statuses = |event: &Value| -> Vec<Value> { event["jobs"].as_array().expect("jobs").clone() };
    let jobs = statuses(snapshot);
    assert_eq!(jobs.len(), 2);
    assert_eq!((&jobs[0][0], &jobs[0][1], &jobs[0][2]), (&json!(0), &json!("queued"), &json!(0)));
    assert!(jobs[0][3].is_u64() && jobs[1][3].is_null(), "{jobs:?}");

    api.complete_one().await;
    let (text, _) = api.events(&id, last).await;
    let next = events(&text);
    assert_eq!(next[0].0, "jobs", "{text}");
    let jobs = statuses(&next[0].2);
    assert_eq!((&jobs[0][1], &jobs[0][6], &jobs[1][1]), (&json!("success"), &json!("w"), &json!("queued")));
    assert!(next[0].1.ends_with(".1"), "the next read begins at the first job that hasn't ended: {}", next[0].1);

    api.complete_one().await;
    let (text, rest) = api.events(&id, &next[0].1).await;
    let ended = events(&text);
    assert_eq!(ended.iter().map(|event| event.0.as_str()).collect::<Vec<_>>(), ["jobs", "end"]);
    assert_eq!((&ended[1].2["status"], ended[1].2["finished_at_ms"].is_u64()), (&json!("success"), true));
    assert!(rest.is_none(), "nothing follows");
    let (text, _) = api.events(&id, &ended[1].1).await;
    assert!(text.contains("event: end"), "a repeat ends too: {text}");

    api.post(&format!("/api/workflows/{id}/run"), json!({})).await;
    let (text, _) = api.events(&id, &ended[1].1).await;
    let again = events(&text);
    assert_eq!(again.iter().map(|event| event.0.as_str()).collect::<Vec<_>>(), ["rerun", "snapshot"]);
    assert_eq!((&again[0].2, &again[1].2["run"]), (&json!({ "run": 2 }), &json!(2)));
}

#[tokio::test]
async fn events_can_be_asked_for_once_and_by_an_id_of_a_run_only() {
    let api = Api::new();
    let id = api.submit(DEFINITION).await;
    let mut once = api.get(&format!("/api/workflows/{id}/events?once=true")).await;
    assert!(once.extensions_mut().remove::<Events>().is_none());
    let mut log = api.get(&format!("/api/workflows/{id}/jobs/build/logs/stream?once=true")).await;
    assert!(log.extensions_mut().remove::<Events>().is_none());
    for bad in ["1", "1.x.0", "1.2.3.4"] {
        let request = Request::get(format!("/api/workflows/{id}/events")).header("last-event-id", bad);
        assert_eq!(api.send(request, Bytes::new()).await.status(), 400, "{bad}");
    }
    assert_eq!(api.get("/api/workflows/wf-none/events").await.status(), 404);
}

#[tokio::test]
async fn held_stream_sends_each_change_once_in_at_most_400_bytes() {
    let api = Api::new();
    let jobs: String = (0..100).map(|n| format!("  job-{n}: {{run: x, labels: linux}}\n")).collect();
    let id = api.submit(&format!("jobs:\n{jobs}")).await;
    let (_, rest) = api.events(&id, "").await;
    let mut rest = rest.expect("it goes on");
    assert_eq!(rest.next(api.0.engine()).await.expect("read"), "", "nothing changed");
    api.complete_one().await;
    let text = rest.next(api.0.engine()).await.expect("read");
    assert_eq!(events(&text)[0].2["jobs"].as_array().expect("jobs").len(), 1, "{text}");
    assert!(text.len() <= 400, "{} bytes: {text}", text.len());
    assert_eq!(rest.next(api.0.engine()).await.expect("read"), "");
    api.post(&format!("/api/workflows/{id}/cancel"), json!({})).await;
    let text = rest.next(api.0.engine()).await.expect("read");
    assert!(text.contains("event: end") && rest.is_ended(), "{text}");
}
