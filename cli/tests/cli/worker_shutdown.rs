//! What becomes of jobs when they, their worker or their server are ended; all three as they are in use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::process::{WorkerProcess, lives, until, until_written};
use crate::common::{Running, World, wfg};
use client::Client;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use worker::protocol::wire::{Job, Workflow};
use worker::protocol::{JobId, Status, WorkflowId};

/// How long the server is away.
const AWAY: Duration = Duration::from_secs(20);

async fn first_job(client: &Client, id: &str) -> Job {
    workflow(client, id).await.jobs.swap_remove(0)
}

async fn workflow(client: &Client, id: &str) -> Workflow {
    client.workflow(&WorkflowId::new(id).expect("an id")).await.expect("the server answers")
}

fn client(world: &World) -> Client {
    Client::new(&world.server.url(), None).expect("an address")
}

#[tokio::test]
async fn a_process_tree_of_three_levels_is_gone_after_a_cancel() {
    let definition = r#"
jobs:
  a:
    run: |
      sh -c 'sh -c "echo \$\$ > three; sleep 600; true" & echo $$ > two; wait; true' &
      echo $$ > one; wait; true
"#;
    let world = World::with("tree.yml", definition).await;
    let worker = WorkerProcess::start(&world, "w1", &["--lease-ttl", "2s"]);
    let id = world.submit("tree.yml").await;
    let mut pids = Vec::new();
    for level in ["one", "two", "three"] {
        pids.push(until_written(&world.path(level)).await);
    }
    assert!(pids.iter().all(|pid| lives(pid)));
    world.good(&["cancel", &id]).await;
    until("the tree is gone", || !pids.iter().any(|pid| lives(pid))).await;
    worker.until_said(": cancelled").await;
    world.ended(&id).await;
    assert_eq!(first_job(&client(&world), &id).await.status, Status::Cancelled);
}

#[tokio::test]
async fn a_cancelled_job_has_its_grace_after_sigterm_and_then_is_killed() {
    let run = "trap 'date +%s%N > told' TERM; echo $$ > pid; while :; do sleep 0.05 || :; done";
    let world = World::with("stubborn.yml", &format!("jobs: {{a: {{run: \"{run}\"}}}}\n")).await;
    let worker = WorkerProcess::start(&world, "w1", &["--lease-ttl", "2s", "--grace", "4s"]);
    let id = world.submit("stubborn.yml").await;
    let pid = until_written(&world.path("pid")).await;
    world.good(&["cancel", &id]).await;
    let told: u128 = until_written(&world.path("told")).await.parse().expect("nanoseconds");
    until("it is killed", || !lives(&pid)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    assert!(now - told > 2_000_000_000, "killed {} ns after it was told", now - told);
    worker.until_said(": cancelled").await;
    // The worker goes on.
    world.write("next.yml", "jobs: {b: {run: 'true'}}\n");
    let next = world.submit("next.yml").await;
    world.ended(&next).await;
    assert_eq!(first_job(&client(&world), &next).await.worker_id.expect("a worker").as_str(), "w1");
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_job_lets_it_finish_and_takes_nothing_more() {
    let run = "echo x > begun; until [ -e go ]; do sleep 0.02; done; echo ::set-output done=yes";
    let world =
        World::with("two.yml", &format!("jobs:\n  a: {{run: '{run}'}}\n  b: {{needs: a, run: 'true'}}\n")).await;
    let worker = WorkerProcess::start(&world, "w1", &[]);
    let id = world.submit("two.yml").await;
    until_written(&world.path("begun")).await;
    worker.signal("TERM").await;
    worker.until_said("shutting down").await;
    world.write("go", "");
    let (status, said) = worker.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let workflow = workflow(&client(&world), &id).await;
    assert_eq!((workflow.jobs[0].status, workflow.jobs[1].status), (Status::Success, Status::Queued));
    assert_eq!(world.good(&["outputs", &id, "a", "--json"]).await, "{\n  \"done\": \"yes\"\n}\n");
}

#[tokio::test]
async fn a_job_that_outlasts_the_grace_of_a_shutdown_is_tried_again_by_another_worker() {
    let run = "echo $JOB_ATTEMPT >> tries; [ $JOB_ATTEMPT = 1 ] || sleep 600";
    let world = World::with("long.yml", &format!("jobs: {{a: {{retries: 1, run: '{run}'}}}}\n")).await;
    let first = WorkerProcess::start(&world, "first", &["--grace-on-shutdown", "100ms", "--grace", "5s"]);
    let id = world.submit("long.yml").await;
    until_written(&world.path("tries")).await;
    first.signal("TERM").await;
    let (status, said) = first.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let job = first_job(&client(&world), &id).await;
    assert_eq!((job.status, job.attempt), (Status::Queued, 1), "reported at once, not when the lease is over");
    let _second = WorkerProcess::start(&world, "second", &[]);
    world.ended(&id).await;
    let job = first_job(&client(&world), &id).await;
    assert_eq!((job.status, job.worker_id.expect("a worker").as_str()), (Status::Success, "second"));
}

#[tokio::test]
async fn a_worker_that_slept_past_its_lease_completes_nothing_and_the_job_is_done_once_by_another() {
    let run = "echo $JOB_ATTEMPT > attempt$JOB_ATTEMPT; until [ -e go ]; do sleep 0.02; done; \
               echo attempt $JOB_ATTEMPT ends; echo ::set-output by=$JOB_ATTEMPT; echo x > ended$JOB_ATTEMPT";
    let world = World::with("nap.yml", &format!("jobs: {{a: {{retries: 3, run: '{run}'}}}}\n")).await;
    let sleeper = WorkerProcess::start(&world, "sleeper", &["--lease-ttl", "2s", "--once"]);
    let id = world.submit("nap.yml").await;
    until_written(&world.path("attempt0")).await;
    sleeper.signal("STOP").await;
    let _other = WorkerProcess::start(&world, "other", &[]);
    until_written(&world.path("attempt1")).await;
    // The sleeper's command goes on without it, and ends well.
    world.write("go", "");
    until_written(&world.path("ended0")).await;
    world.ended(&id).await;
    sleeper.signal("CONT").await;
    let (status, said) = sleeper.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let unheard = ["no heartbeat got through", "the lease isn't the job's any more"];
    assert!(unheard.iter().any(|words| said.contains(words)), "{said}");
    let job = first_job(&client(&world), &id).await;
    assert_eq!((job.status, job.attempt), (Status::Success, 1));
    assert_eq!(job.worker_id.expect("a worker").as_str(), "other");
    assert_eq!(job.outputs.get("by").map(String::as_str), Some("1"));
    assert_eq!(world.good(&["logs", &id, "a"]).await, "attempt 1 ends\n::set-output by=1\n");
}

/// `wfg serve` as a process, on a file.
struct Served {
    dir: TempDir,
    listen: String,
    running: Option<Running>,
}

impl Served {
    async fn starts(&mut self) {
        let mut command = wfg(&["serve", "--data", "wfg.db", "--listen", &self.listen]);
        command.current_dir(self.dir.path());
        let mut running = Running::start(command);
        let line = running.until("wfg serves http://").await;
        line.trim_start_matches("wfg serves http://").clone_into(&mut self.listen);
        self.running = Some(running);
    }

    async fn stops(&mut self) {
        let running = self.running.take().expect("it runs");
        running.signal("TERM").await;
        running.end().await;
    }
}

#[tokio::test]
async fn a_server_that_is_away_in_the_middle_of_a_job_costs_nothing_but_time() {
    let mut served =
        Served { dir: TempDir::new().expect("a directory"), listen: "127.0.0.1:0".to_owned(), running: None };
    served.starts().await;
    let url = format!("http://{}", served.listen);
    let client = Client::new(&url, None).expect("its address");
    let worker = WorkerProcess::start_at(&url, served.dir.path(), "w1", &["--lease-ttl", "60s"]);
    let run = "i=0; until [ -e go ]; do echo $i; echo $i > count; i=$((i+1)); sleep 0.1; done; echo ::set-output n=$i";
    let text = format!("jobs:\n  a: {{run: '{run}'}}\n  b: {{needs: a, run: cat $UPSTREAM_OUTPUTS}}\n");
    let id = client.submit_yaml(&text, true, None).await.expect("submitted").id;
    until_written(&served.dir.path().join("count")).await;
    served.stops().await;
    sleep(AWAY).await;
    let written: u32 = until_written(&served.dir.path().join("count")).await.parse().expect("a number");
    assert!(written > 50, "the job went on: {written}");
    served.starts().await;
    std::fs::write(served.dir.path().join("go"), "").expect("written");
    let ends = async {
        loop {
            let now = client.workflow(&id).await.expect("it answers again");
            if now.status.is_final() {
                return now;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let done = timeout(Duration::from_mins(1), ends).await.unwrap_or_else(|_| panic!("{}", worker.said()));
    assert_eq!(done.status, Status::Success, "{}", worker.said());
    assert_eq!(done.jobs[0].attempt, 0, "it wasn't tried again");
    let log = client.logs(&id, &JobId::new("a").expect("an id"), None, None).await.expect("its log");
    let log: String = log.chunks.into_iter().map(|chunk| chunk.data).collect();
    let total: u32 = done.jobs[0].outputs["n"].parse().expect("a number");
    let expected: String = (0..total).map(|n| format!("{n}\n")).collect();
    assert_eq!(log, format!("{expected}::set-output n={total}\n"));
    served.stops().await;
}
