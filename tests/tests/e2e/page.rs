//! What the page reads: its own files, who the caller is, summaries, a run's graph and events, one job.

use std::cell::RefCell;

use harness::{Cloud, Run, Success, eventually, graph};
use protocol::access::Scope;
use serde_json::{Value, json};

/// The events of an answer: the type, the id and the data of each.
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

/// The events after this id that there are now.
async fn events_after(cloud: &Cloud, run: &Run, last: &str) -> Vec<(String, String, Value)> {
    let headers = [("last-event-id", last)];
    let answer = cloud.send_with("GET", &run.path("/events?once=true"), &headers, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/event-stream"), "{answer:?}");
    assert!(answer.body.starts_with("retry: 2000\n\n"), "{answer:?}");
    events(&answer.body)
}

#[tokio::test]
async fn the_page_is_served_to_anybody_with_the_headers_that_protect_it() {
    let cloud = Cloud::connect();
    let stranger = cloud.seen_by(None);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/layout.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = stranger.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(policy.ends_with("require-trusted-types-for 'script'; trusted-types wfg"), "{path}: {policy}");
        let others = (answer.header("x-content-type-options"), answer.header("referrer-policy"));
        assert_eq!(others, ("nosniff", "no-referrer"), "{path}");
        assert!(!answer.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_caller_is_told_what_its_token_allows() {
    let cloud = Cloud::connect();
    let name = cloud.token_name("me");
    let caller = cloud.seen_by(Some(&cloud.token("me", &[Scope::Work], "{label}").await));
    let me = caller.get("/api/me").await.json();
    assert_eq!((&me["auth"], &me["name"]), (&json!("token"), &json!(name)));
    assert_eq!((&me["scopes"], &me["labels"], &me["secrets"]), (&json!(["work"]), &json!([cloud.label]), &json!([])));
    assert!(me["expires_at_ms"].is_u64(), "{me}");
}

#[tokio::test]
async fn summaries_count_ended_jobs_and_are_found_by_name() {
    let cloud = Cloud::connect();
    let run = cloud.submit(format!("name: {}-Sum\n{}", cloud.label, graph(["a", "b: a"]))).await;
    let worker = cloud.worker("w");
    let summary = async || {
        let list = cloud.get(&format!("/api/workflows?view=summary&q={}-sUM", cloud.label)).await.json();
        assert_eq!(list.as_array().expect("a list").len(), 1, "{list}");
        list[0].clone()
    };
    eventually("it is shown running", async || (summary().await["status"] == "running").then_some(())).await;
    worker.claims("a").await.completes(&[]).await;
    eventually("one job is counted", async || {
        let shown = summary().await;
        (shown["jobs"] == 2 && shown["done"] == 1).then_some(())
    })
    .await;
    worker.claims("b").await.completes(&[]).await;
    let ended = run.until(Success).await;
    let shown =
        eventually("the end is listed", async || Some(summary().await).filter(|shown| shown["status"] == "success"))
            .await;
    assert_eq!((&shown["jobs"], &shown["done"], &shown["id"]), (&json!(2), &json!(2), &json!(run.id)));
    assert_eq!(shown["started_at_ms"], json!(ended.started_at_ms));
    assert_eq!(shown["finished_at_ms"], json!(ended.finished_at_ms));
}

#[tokio::test]
async fn a_graph_has_the_stacks_and_is_not_sent_again() {
    let cloud = Cloud::connect();
    let shards: Vec<String> = (1..=5).map(|n| format!("shard-{n}: plan")).collect();
    let run = cloud.submit(graph(["plan".to_owned()].iter().chain(&shards))).await;
    let answer = cloud.get(&run.path("/graph")).await;
    let shown = answer.json();
    assert_eq!(
        (&shown["run"], &shown["stacks"], &shown["labels"]),
        (&json!(1), &json!(["shard-*"]), &json!([[cloud.label]]))
    );
    assert_eq!(shown["jobs"][0], json!(["plan", null, [], 0, null]));
    assert_eq!(shown["jobs"][5], json!(["shard-5", null, [0], 0, 0]));
    let tag = answer.header("etag").to_owned();
    let again = cloud.send_with("GET", &run.path("/graph"), &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""));
    run.cancel().await;
}

#[tokio::test]
async fn events_tell_all_changes_of_a_run_to_a_client_that_asks_again_and_again() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a"])).await;
    let worker = cloud.worker("w");
    let first = events_after(&cloud, &run, "").await;
    assert_eq!((first.len(), first[0].0.as_str(), &first[0].2["run"]), (1, "snapshot", &json!(1)));
    let mut last = first[0].1.clone();
    let mut states = [json!(null), json!(null)];
    // Asks until the states of both jobs are these. A job that hasn't changed since the snapshot isn't told again.
    let mut until = async |expected: [&str; 2]| {
        for job in first[0].2["jobs"].as_array().expect("jobs") {
            let state = &mut states[usize::from(job[0] == 1)];
            if state.is_null() {
                *state = job.clone();
            }
        }
        let (last, states) = (RefCell::new(&mut last), RefCell::new(&mut states));
        eventually(&format!("{expected:?} is told"), async || {
            let after = last.borrow().clone();
            for (_, id, data) in events_after(&cloud, &run, &after).await {
                **last.borrow_mut() = id;
                for job in data["jobs"].as_array().into_iter().flatten() {
                    states.borrow_mut()[usize::from(job[0] == 1)] = job.clone();
                }
            }
            (states.borrow()[0][1] == expected[0] && states.borrow()[1][1] == expected[1]).then_some(())
        })
        .await;
    };
    let held = worker.claims("a").await;
    until(["running", "queued"]).await;
    held.completes(&[]).await;
    until(["success", "queued"]).await;
    worker.claims("b").await.completes(&[]).await;
    until(["success", "success"]).await;
    run.until(Success).await;
    eventually("the end is told", async || {
        events_after(&cloud, &run, &last).await.iter().any(|event| event.0 == "end").then_some(())
    })
    .await;
    run.start().await.expect("started again");
    let again = eventually("the new run is told", async || {
        Some(events_after(&cloud, &run, &last).await)
            .filter(|events| events.first().is_some_and(|event| event.0 == "rerun"))
    })
    .await;
    assert_eq!((again[1].0.as_str(), &again[1].2["run"]), ("snapshot", &json!(2)));
    run.cancel().await;
}

#[tokio::test]
async fn one_job_is_shown_with_the_reason_why_it_waits() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b: a"])).await;
    let job = async |id: &str| cloud.get(&run.path(&format!("/jobs/{id}"))).await.json();
    let waits = job("b").await;
    assert_eq!((&waits["id"], &waits["depends_on"]), (&json!("b"), &json!(["a"])));
    assert_eq!((&waits["waiting_for"]["reason"], &waits["waiting_for"]["needs"]), (&json!("needs"), &json!(["a"])));
    cloud.worker("w").claims("a").await.completes(&[("v", "1")]).await;
    let ended = eventually("it ended", async || Some(job("a").await).filter(|job| job["status"] == "success")).await;
    assert_eq!((&ended["outputs"], &ended["waiting_for"]), (&json!({ "v": "1" }), &Value::Null));
    let missing = cloud.get(&run.path("/jobs/c")).await.error();
    assert_eq!(missing.status, 404, "{missing:?}");
    run.cancel().await;
}
