//! Wide graphs: a thousand roots; a root with a thousand jobs behind it and one behind all of them; ten thousand jobs that
//! never run. `WFG_WIDE_RUNS` says how often.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::claim;
use client::Client;
use engine::Engine;
use engine::ports::Local;
use futures::future::join_all;
use memory::Memory;
use server::Server;
use sqlite::Sqlite;
use tokio::time::{Instant, sleep};
use worker::protocol::requests::{Complete, Fail};
use worker::protocol::wire::Workflow;
use worker::protocol::{Status, WorkflowId};

const WIDTH: usize = 1000;
const WORKERS: usize = 20;

fn runs() -> usize {
    std::env::var("WFG_WIDE_RUNS").map_or(2, |text| text.parse().expect("WFG_WIDE_RUNS is a number"))
}

fn jobs(needs: &str) -> String {
    (0..WIDTH).map(|n| format!("  j{n}: {{{needs}run: x}}\n")).collect::<Vec<_>>().concat()
}

fn last() -> String {
    let needs: Vec<String> = (0..WIDTH).map(|n| format!("j{n}")).collect();
    format!("  last: {{run: x, needs: [{}]}}\n", needs.join(", "))
}

/// Claims and completes jobs until a claim returns none. Returns the jobs.
async fn work(client: Client, name: String) -> Vec<String> {
    let asked = claim(&name, "", 20);
    let mut done = Vec::new();
    while let Some(claimed) = client.claim(&asked).await.expect("answered") {
        client.complete(&claimed.lease.lease_id, &Complete::default()).await.expect("accepted");
        done.push(format!("{} {}", claimed.job.workflow_id, claimed.job.job_id));
    }
    done
}

/// Waits until the workflow has ended. Fails if no job ends for 15 s: a time limit for the whole would fail on a busy machine.
async fn goes_on_to_its_end(client: &Client, id: &WorkflowId) -> Workflow {
    let mut done = 0;
    let mut moved = Instant::now();
    loop {
        let workflow = client.workflow(id).await.expect("it is there");
        if workflow.status.is_final() {
            return workflow;
        }
        let now = workflow.jobs.iter().filter(|job| job.status.is_final()).count();
        if now > done {
            (done, moved) = (now, Instant::now());
        }
        // The jobs of a cancelled run are shown as cancelled at once, so nothing moves until the last one is.
        assert!(moved.elapsed() < Duration::from_mins(1), "{id} hangs with {done} of {} done", workflow.jobs.len());
        sleep(Duration::from_millis(100)).await;
    }
}

/// Runs wide graphs. Each must finish, and each job must run once.
async fn no_width_hangs<P: Local + 'static>(engine: Engine<P>) {
    let server = Server::start(([127, 0, 0, 1], 0).into(), engine).await.expect("a free port");
    let client = Client::new(&server.url(), None).expect("its address");
    let workers: Vec<_> = (0..WORKERS).map(|n| tokio::spawn(work(client.clone(), format!("w{n}")))).collect();
    let graphs = [
        (WIDTH, format!("name: roots\njobs:\n{}", jobs(""))),
        (WIDTH + 2, format!("name: fan\njobs:\n  root: {{run: x}}\n{}{}", jobs("needs: root, "), last())),
    ];
    let mut expected = 0;
    for _ in 0..runs() {
        for (count, graph) in &graphs {
            expected += count;
            let id = client.submit_yaml(graph, true, None).await.expect("a good definition").id;
            assert_eq!(goes_on_to_its_end(&client, &id).await.status, Status::Success);
        }
    }
    server.stop().await;
    let done = join_all(workers).await.into_iter().flat_map(|worker| worker.expect("it worked")).collect::<Vec<_>>();
    assert_eq!(done.len(), expected);
    assert_eq!(done.iter().collect::<BTreeSet<_>>().len(), expected, "each was done once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_graphs_finish_in_memory() {
    no_width_hangs(Engine::new(Memory::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wide_graphs_finish_on_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    no_width_hangs(Engine::new(Sqlite::open(dir.path().join("wfg.db")).expect("a file"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_jobs_are_skipped_cancelled_and_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Sqlite::open(dir.path().join("wfg.db")).expect("a file");
    let server = Server::start(([127, 0, 0, 1], 0).into(), Engine::new(store)).await.expect("a free port");
    let client = Client::new(&server.url(), None).expect("its address");
    let behind: String = (1..10_000).map(|n| format!("  j{n}: {{run: x, needs: j0}}\n")).collect();
    let id = client.submit_yaml(&format!("jobs:\n  j0: {{run: x}}\n{behind}"), true, None).await.expect("good").id;
    let began = Instant::now();
    let claimed = client.claim(&claim("w", "", 20)).await.expect("answered").expect("j0 is ready");
    let fail = Fail { error: "no".to_owned(), retryable: false, exit_code: None, cause: None };
    client.fail(&claimed.lease.lease_id, &fail).await.expect("accepted");
    let skipped = goes_on_to_its_end(&client, &id).await;
    assert_eq!(skipped.status, Status::Failure);
    assert_eq!(skipped.jobs.iter().filter(|job| job.status == Status::Skipped).count(), 9_999);
    println!("9,999 skipped after {:?}", began.elapsed());
    client.run(&id, None, None).await.expect("it has ended");
    client.cancel(&id).await.expect("it runs");
    let began = Instant::now();
    let cancelled = goes_on_to_its_end(&client, &id).await;
    assert_eq!(cancelled.status, Status::Cancelled);
    assert!(cancelled.jobs.iter().all(|job| job.status == Status::Cancelled));
    println!("10,000 cancelled after {:?}", began.elapsed());
    client.delete(&id).await.expect("it has ended");
    assert_eq!(client.workflow(&id).await.expect_err("it is gone").status(), Some(404));
    server.stop().await;
}
