//! Connections on threads of their own, in a runtime with several threads.

use std::fs;
use std::time::Duration;

use protocol::Status;
use tokio::time::{sleep, timeout};
use worker::protocol::requests::Complete;
use worker::protocol::wire::Claimed;

use crate::common::{PATIENCE, World, claim};

const WORKERS: usize = 8;
const JOBS: usize = 40;

/// The threads of this process that serve connections.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.flatten().map(name).filter(|name| name.trim() == "connections").count()
}

/// Waits for a number of such threads. A new thread gets its name after a moment.
async fn until(reached: impl Fn(usize) -> bool) {
    let waited = async {
        while !reached(threads()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_on_all_threads_share_the_jobs_and_the_threads_end_with_the_server() {
    let world = World::new().await;
    until(|threads| threads > 0).await;
    let url = world.server.url();
    let worker = |number: usize| {
        let client = client::Client::new(&url, None).expect("its address");
        async move {
            let mut done = 0;
            // The first claims wait for the submission, which another thread answers.
            while let Some(Claimed { lease, .. }) =
                client.claim(&claim(&format!("w{number}"), "", 2)).await.expect("answered")
            {
                client.complete(&lease.lease_id, &Complete::default()).await.expect("accepted");
                done += 1;
            }
            done
        }
    };
    let workers: Vec<_> = (0..WORKERS).map(|number| tokio::spawn(worker(number))).collect();
    let jobs: String = (0..JOBS).map(|number| format!("  j{number}: {{run: x}}\n")).collect();
    let id = world.submit(&format!("jobs:\n{jobs}")).await;
    let mut done = 0;
    for worker in workers {
        done += timeout(PATIENCE, worker).await.expect("in time").expect("no panic");
    }
    assert_eq!(done, JOBS, "each job once");
    assert_eq!(world.client.workflow(&id).await.expect("there").status, Status::Success);
    world.server.stop().await;
    until(|threads| threads == 0).await;
}
