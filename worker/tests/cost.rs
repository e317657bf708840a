//! Measures the memory and the processor time that a job costs the program.
//!
//! `WORKER_TEST_FLOOD_MB` says how much the flooding job writes; 200 by default.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Answer, Fake, job, once};

#[path = "worker/common/mod.rs"]
mod common;

/// The unit of the times in `/proc/<pid>/stat` on Linux.
const TICK: Duration = Duration::from_millis(10);
const MEMORY_KB: u64 = 50_000;
const TIME: Duration = Duration::from_millis(100);

/// A running worker, killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(server: &Fake) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_workflow-graph-worker"));
        command.env("SERVER_URL", &server.url).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("starts"))
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("it runs")
    }

    /// Its peak memory.
    fn peak_kb(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line for it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Processor time, its own without that of its jobs.
    fn time(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("the program's name in parentheses");
        // The first of these is the third of all; utime and stime are the 14th and 15th.
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }
}

#[tokio::test]
async fn a_flood_of_output_costs_little_memory_and_the_log_says_where_it_was_cut() {
    let megabytes = std::env::var("WORKER_TEST_FLOOD_MB").map_or(200, |text| text.parse().expect("a number"));
    let bytes: u64 = megabytes * 1_000_000;
    let flood = job(&format!("yes 'a line of a job that has much to say' | head -c {bytes}; echo; echo over >&2"));
    let server = Fake::start(once(&flood, 30)).await;
    let worker = Running::start(&server);
    server.until("/complete", 1).await;
    let peak = worker.peak_kb();
    println!("{megabytes} MB written: {peak} kB at most, {:?} of processor time", worker.time());
    assert!(peak < MEMORY_KB, "{peak} kB");

    let logs = server.seen("/logs");
    let chunks = logs.iter().flat_map(|request| request.json()["chunks"].as_array().expect("a list").clone());
    let data: Vec<String> = chunks.map(|chunk| chunk["data"].as_str().expect("a text").to_owned()).collect();
    let size: usize = data.iter().map(String::len).sum();
    let limit = workflow_graph_worker_sdk::protocol::limits::LOG_PER_ATTEMPT;
    assert!((limit..limit + 100).contains(&size), "{size}");
    assert_eq!(data.last().expect("a chunk"), "\n[cut here: an attempt's log may have 64 MB, limit LOG_PER_ATTEMPT]\n");
    assert!(logs.iter().all(|request| request.body.len() < 1_000_000));
}

#[tokio::test]
async fn a_slow_server_slows_a_flood_down_and_costs_no_memory() {
    let flood = job("yes 'a line of a job that has much to say' | head -c 60000000");
    let grant = once(&flood, 30);
    let server = Fake::start(move |request| {
        if request.is("/logs") {
            std::thread::sleep(Duration::from_millis(10));
        }
        grant(request)
    })
    .await;
    let worker = Running::start(&server);
    server.until("/complete", 1).await;
    let peak = worker.peak_kb();
    println!("a slow server: {peak} kB at most");
    assert!(peak < MEMORY_KB, "{peak} kB");
    let logs = server.seen("/logs");
    let chunks = logs.iter().flat_map(|request| request.json()["chunks"].as_array().expect("a list").clone());
    assert_eq!(chunks.map(|chunk| chunk["data"].as_str().map_or(0, str::len)).sum::<usize>(), 60_000_000 + 1);
}

#[tokio::test]
async fn a_silent_job_costs_hardly_any_processor_time() {
    let grant = once(&job("echo begun; sleep 10; echo over"), 6);
    let server = Fake::start(move |request| match request.path.as_str() {
        "/api/jobs/L1/heartbeat" => {
            let lease = common::lease(6);
            Some(Answer::Json(200, serde_json::json!({"lease": lease, "cancelled": false})))
        }
        _ => grant(request),
    })
    .await;
    let worker = Running::start(&server);
    server.until("/logs", 1).await;
    let before = worker.time();
    server.until("/logs", 2).await;
    let cost = worker.time().checked_sub(before).unwrap();
    println!("ten silent seconds: {cost:?} of processor time, {} heartbeats", server.seen("/L1/heartbeat").len());
    assert!(cost < TIME, "{cost:?}");
}
