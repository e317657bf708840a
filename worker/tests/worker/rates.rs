//! A worker behind a gateway that refuses requests as too many.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::timeout;
use workflow_graph_worker_sdk::{Worker, WorkerConfig};

use crate::common::{Fake, LONG, job, once, refuse};

#[tokio::test]
async fn refused_polls_slow_down_and_heartbeats_keep_the_lease() {
    let dir = tempfile::tempdir().expect("a directory");
    let grant = once(&job("until [ -e go ]; do sleep 0.05; done"), 1);
    let (claims, heartbeats) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // The gateway lets every third claim and every second heartbeat through.
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/claim" => grant(request).or_else(|| {
            let claim = claims.fetch_add(1, Ordering::Relaxed);
            (claim % 3 != 2).then(|| refuse(429)).flatten()
        }),
        "/api/jobs/L1/heartbeat" => {
            let heartbeat = heartbeats.fetch_add(1, Ordering::Relaxed);
            (heartbeat % 2 == 0).then(|| refuse(429)).flatten()
        }
        _ => None,
    })
    .await;
    let worker = Worker::new(WorkerConfig { concurrency: 2, workdir: dir.path().into(), ..server.config() });
    let shutdown = worker.shutdown();
    let running = tokio::spawn(worker.run());

    // The lease of 1 s is renewed each third of a second, which takes two requests.
    let heartbeats = server.until("/L1/heartbeat", 20).await.len();
    let claims = server.seen("/claim").len();
    assert!(claims <= 20, "{claims} claims while {heartbeats} heartbeats were sent");
    std::fs::write(dir.path().join("go"), "").expect("written");
    server.until("/L1/complete", 1).await;
    shutdown.drain();
    timeout(LONG, running).await.expect("it ends").expect("no panic").expect("worked");
    assert!(server.seen("/L1/fail").is_empty());
}
