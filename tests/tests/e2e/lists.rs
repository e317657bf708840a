//! Queries: workflows, logs, workers, pools, and the API's description.

use harness::{Cloud, Failure, Success, eventually, graph};
use protocol::LabelSet;
use protocol::wire::{PoolInfo, WorkerInfo, WorkerStatus};
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|workflow| workflow["name"].as_str()).collect()
}

#[tokio::test]
async fn workflows_are_listed_newest_first_and_pages_neither_overlap_nor_skip() {
    let cloud = Cloud::connect();
    let name = |n: usize| format!("{}-{n}", cloud.label);
    for n in 0..5 {
        cloud.submit_with(format!("name: {}\n{}", name(n), graph(["build"])), false, None).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut page = "/api/workflows?limit=2".to_owned();
    loop {
        let answer = cloud.get(&page).await;
        let items = answer.json();
        assert!((1..=2).contains(&names(&items).len()), "{items}");
        seen.extend(items.as_array().expect("a list").clone());
        if names(&json!(seen)).iter().filter(|name| name.starts_with(&cloud.label)).count() == 5 {
            break;
        }
        let link = answer.header("link").to_owned();
        page = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a next page")
            .to_owned();
        assert!(page.starts_with("/api/workflows?"), "{page}");
    }
    let own: Vec<String> =
        names(&json!(seen)).into_iter().filter(|name| name.starts_with(&cloud.label)).map(str::to_owned).collect();
    assert_eq!(own, [4, 3, 2, 1, 0].map(name));
    let times: Vec<u64> = seen.iter().filter_map(|workflow| workflow["created_at_ms"].as_u64()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let mut ids: Vec<&str> = seen.iter().filter_map(|workflow| workflow["id"].as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "one was listed twice");
}

#[tokio::test]
async fn the_list_can_be_filtered_by_status() {
    let cloud = Cloud::connect();
    let worker = cloud.worker("w");
    let bad = cloud.submit(format!("name: {}-bad\n{}", cloud.label, graph(["build"]))).await;
    worker.claims("build").await.fail("no", false).await.expect("accepted");
    bad.until(Failure).await;
    let good = cloud.submit(format!("name: {}-good\n{}", cloud.label, graph(["build"]))).await;
    worker.claims("build").await.completes(&[]).await;
    good.until(Success).await;
    let new = cloud.submit_with(format!("name: {}-new\n{}", cloud.label, graph(["build"])), false, None).await;

    for (status, own) in [("failure", "bad"), ("success", "good"), ("queued", "new"), ("skipped", "")] {
        let list = cloud.get(&format!("/api/workflows?limit=1000&status={status}")).await.json();
        assert!(list.as_array().expect("a list").iter().all(|workflow| workflow["status"] == status), "{status}");
        let listed = names(&list);
        for name in ["bad", "good", "new"] {
            let full = format!("{}-{name}", cloud.label);
            assert_eq!(listed.contains(&full.as_str()), name == own, "{full} among {status}");
        }
    }
    new.delete().await.expect("it never ran");
}

#[tokio::test]
async fn both_forms_of_a_submission_are_shown_with_their_fields() {
    let cloud = Cloud::connect();
    let listed = json!([
        { "id": "a", "name": "First", "command": "x", "required_labels": [cloud.label], "metadata": { "n": [1, null] },
          "ports": [1], "children": ["c"], "collapsed": true, "status": "success" },
        { "id": "b", "name": "Second", "command": "y", "depends_on": ["a"], "required_labels": [cloud.label], "max_retries": 2 },
    ]);
    let mapped = json!({ "a": { "run": "x" }, "b": { "run": "y", "needs": "a" } });
    for jobs in [listed, mapped] {
        let answer = cloud
            .post("/api/workflows", json!({ "name": cloud.label, "trigger": "push", "on": "push", "jobs": jobs }))
            .await;
        let body = if answer.status == 201 {
            answer.json()
        } else {
            // `trigger` is a key of the list form only.
            assert!(jobs.is_object(), "{answer:?}");
            cloud.post("/api/workflows", json!({ "name": cloud.label, "on": "push", "jobs": jobs })).await.json()
        };
        assert_eq!(
            (&body["name"], &body["trigger"], &body["status"], &body["run"]),
            (&json!(cloud.label), &json!("push"), &json!("queued"), &json!(1))
        );
        assert_eq!((&body["jobs"][0]["command"], &body["jobs"][1]["depends_on"]), (&json!("x"), &json!(["a"])));
        assert_eq!(
            (&body["jobs"][0]["status"], &body["started_at_ms"], &body["finished_at_ms"]),
            (&json!("queued"), &Value::Null, &Value::Null)
        );
        if jobs.is_array() {
            for kept in ["metadata", "ports", "children", "collapsed"] {
                assert_eq!(body["jobs"][0][kept], jobs[0][kept], "{kept}");
            }
            assert_eq!((&body["jobs"][1]["max_retries"], &body["jobs"][0]["name"]), (&json!(2), &json!("First")));
        }
        let id = body["id"].as_str().expect("an id");
        assert_eq!(
            cloud.get(&format!("/api/workflows/{id}/status")).await.json(),
            cloud.get(&format!("/api/workflows/{id}")).await.json()
        );
        assert_eq!(cloud.send("DELETE", &format!("/api/workflows/{id}"), "", "").await.status, 204);
    }
}

fn lines(chunks: &Value) -> Vec<(u64, &str)> {
    let chunks = chunks.as_array().expect("a list").iter();
    chunks
        .map(|chunk| (chunk["sequence"].as_u64().expect("a number"), chunk["data"].as_str().expect("a text")))
        .collect()
}

#[tokio::test]
async fn logs_are_ordered_each_sequence_number_once_and_readable_from_any_position() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    let logs = run.path("/jobs/build/logs");
    assert_eq!(cloud.get(&logs).await.json(), json!([]));
    build.log(&[(2, "three 🦀\n"), (3, "four\n")]).await.expect("accepted");
    build.log(&[(1, "two\r\n"), (0, "one % \"\n")]).await.expect("accepted");
    build.log(&[(1, "two\r\n"), (0, "one % \"\n")]).await.expect("accepted");
    build.log(&[(3, "four\n"), (4, "five, without an end")]).await.expect("accepted");
    build.log(&[]).await.expect("accepted");

    let all = cloud.get(&logs).await.json();
    let expected = [(0, "one % \"\n"), (1, "two\r\n"), (2, "three 🦀\n"), (3, "four\n"), (4, "five, without an end")];
    assert_eq!(lines(&all), expected);
    for chunk in all.as_array().expect("a list") {
        assert_eq!(
            (&chunk["workflow_id"], &chunk["job_id"], &chunk["stream"]),
            (&json!(run.id), &json!("build"), &json!("stdout"))
        );
        assert!(chunk["timestamp_ms"].as_u64().is_some_and(|at| at > 0), "{chunk}");
    }
    assert_eq!(lines(&cloud.get(&format!("{logs}?after=2")).await.json()), expected[3..]);
    assert_eq!(lines(&cloud.get(&format!("{logs}?after=4")).await.json()), []);
    build.completes(&[]).await;
    run.until(Success).await;
    assert_eq!(lines(&cloud.get(&logs).await.json()), expected);
}

#[tokio::test]
async fn a_log_chunk_belongs_to_the_leases_job_and_attempt_whatever_ids_it_has() {
    let cloud = Cloud::connect();
    let run = cloud
        .submit(
            "jobs: {build: {run: x, labels: '{label}', retries: 1}, other: {run: x, labels: '{label}', needs: build}}",
        )
        .await;
    let worker = cloud.worker("w");
    let first = worker.claims("build").await;
    let chunk = json!({ "workflow_id": "elsewhere", "job_id": "other", "sequence": 0, "data": "mine\n", "timestamp_ms": 7, "stream": "stderr" });
    let answer = cloud.post(&format!("/api/jobs/{}/logs", first.lease.lease_id.0), json!({ "chunks": [chunk] })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    first.fails("once").await;
    let second = worker.claims("build").await;
    second.log(&[(0, "again\n")]).await.expect("accepted");

    let logs = async |rest: &str| cloud.get(&run.path(&format!("/jobs/{rest}"))).await.json();
    let of_first = logs("build/logs?attempt=0").await;
    let expected = json!([{ "workflow_id": run.id, "job_id": "build", "sequence": 0, "data": "mine\n", "timestamp_ms": 7, "stream": "stderr" }]);
    assert_eq!(of_first, expected);
    assert_eq!(lines(&logs("build/logs").await), [(0, "again\n")], "the latest attempt's, unless another is asked for");
    assert_eq!(logs("other/logs").await, json!([]));
    run.cancel().await;
}

#[tokio::test]
async fn a_log_is_streamed_as_events_that_end_with_the_job() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let build = cloud.worker("w").claims("build").await;
    build.log(&[(0, "one\n"), (1, "two\nlines\n")]).await.expect("accepted");
    let path = run.path("/jobs/build/logs/stream");
    let stream = |last: &'static str| {
        let (cloud, path) = (cloud.clone(), path.clone());
        async move {
            let headers = [("last-event-id", last)];
            let answer = cloud.send_with("GET", &path, if last.is_empty() { &[] } else { &headers }, "").await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/event-stream"));
            answer.body
        }
    };
    // A server that can hold the connection would stream while the job runs. This test reads after its end.
    build.completes(&[]).await;
    run.until(Success).await;
    let text = stream("").await;
    let events: Vec<&str> = text.split("\n\n").filter(|event| event.contains("event:")).collect();
    assert_eq!(events.len(), 3, "{text}");
    for (n, data) in ["one\n", "two\nlines\n"].into_iter().enumerate() {
        let fields: Vec<&str> = events[n].lines().collect();
        assert_eq!(fields[..2], ["event: log".to_owned(), format!("id: {n}")]);
        let chunk: Value =
            serde_json::from_str(fields[2].strip_prefix("data: ").expect("data")).expect("one line of JSON");
        assert_eq!(chunk["data"], data);
    }
    assert!(events[2].starts_with("event: end"), "{text}");
    let rest = stream("0").await;
    assert!(!rest.contains("one") && rest.contains("id: 1\n") && rest.contains("event: end"), "{rest}");
}

async fn worker_info(cloud: &Cloud, id: &str) -> Option<WorkerInfo> {
    cloud.client.workers().await.expect("workers").into_iter().find(|worker| worker.worker_id.as_str() == id)
}

#[tokio::test]
async fn a_worker_is_shown_idle_busy_with_its_job_and_offline() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["build"])).await;
    let worker = cloud.worker("w").registers(&[]).await;
    let id = worker.id().as_str();
    let idle = eventually("it is shown", async || worker_info(&cloud, id).await).await;
    assert_eq!((idle.status, idle.current_job, idle.labels), (WorkerStatus::Idle, None, worker.claim.labels.clone()));
    let answer = cloud.post(&format!("/api/workers/{id}/heartbeat"), json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["queues"]), (200, &json!([])));

    let build = worker.claims("build").await;
    let busy = eventually("it is shown busy", async || {
        worker_info(&cloud, id).await.filter(|worker| worker.status == WorkerStatus::Busy)
    })
    .await;
    assert_eq!(busy.current_job.as_ref(), Some(&build.job.job_id));
    assert_eq!(busy.registered_at_ms, idle.registered_at_ms);
    build.completes(&[]).await;
    eventually("it is shown idle again", async || {
        worker_info(&cloud, id).await.filter(|worker| worker.status == WorkerStatus::Idle)
    })
    .await;
    worker.leaves().await;
    eventually("it is gone", async || worker_info(&cloud, id).await.is_none().then_some(())).await;
    let refused = cloud.post(&format!("/api/workers/{id}/heartbeat"), json!({})).await.error();
    assert!(refused.is(404, "no_such_worker"), "{refused:?}");
    worker.leaves().await;
    run.until(Success).await;
}

#[tokio::test]
async fn a_pool_shows_its_waiting_and_running_jobs_and_online_workers() {
    let cloud = Cloud::connect();
    let run = cloud.submit(graph(["a", "b", "c"])).await;
    let worker = cloud.worker("w");
    let held = worker.claims_any().await;
    let labels = LabelSet::parse([cloud.label.as_str()]).expect("labels");
    let pool = eventually("the pool shows it", async || {
        let pools = cloud.client.pools().await.expect("pools");
        let shown = |pool: &PoolInfo| (pool.waiting, pool.running, pool.workers_online) == (2, 1, 1);
        pools.into_iter().find(|pool| pool.labels == labels && shown(pool))
    })
    .await;
    assert!(pool.oldest_ms.is_some());
    held.completes(&[]).await;
    worker.process(1, &[&run]).await;
    run.until(Success).await;
}

#[tokio::test]
async fn health_and_description_are_served() {
    let cloud = Cloud::connect();
    let health = cloud.get("/api/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (200, &json!("ok")));
    assert_eq!(health.header("content-type"), "application/json");
    let paths = cloud.get("/api/openapi.json").await.json()["paths"].clone();
    for (path, method) in [
        ("/api/workflows", "post"),
        ("/api/jobs/claim", "post"),
        ("/api/workflows/{id}/jobs/{job_id}/logs", "get"),
        ("/api/jobs/{lease_id}/complete", "post"),
    ] {
        assert!(paths[path][method].is_object(), "{method} {path}: {paths}");
    }
}
