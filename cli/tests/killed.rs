//! `wfg serve --data` is killed at any moment, started again, and has lost nothing that it acknowledged.
//!
//! `WFG_KILLS` says how often; twenty times by default.

#[path = "cli/common/mod.rs"]
mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, ClientError};
use common::{Running, wfg};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use worker::protocol::requests::{Claim, Complete, LogPiece};
use worker::protocol::wire::{Claimed, Stream, Workflow};
use worker::protocol::{JobId, LabelSet, Millis, Status, WorkerId, WorkflowId};

const JOBS: usize = 200;
const WORKERS: usize = 8;
/// How long a job takes: long enough that a workflow outlives many a server.
const WORK: Duration = Duration::from_millis(120);
/// A job that was given to nobody, since the server died before its answer was sent, is given again after this.
const LEASE_SECS: u32 = 2;
/// No workflow takes so long after the last kill, unless something is lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// What happened, in its order: each job's beginnings and ends, and what the server has acknowledged.
#[derive(Clone)]
struct History {
    file: PathBuf,
    acknowledged: Arc<Mutex<HashMap<(WorkflowId, JobId), String>>>,
}

impl History {
    /// A job appends to a file, as a job would.
    fn note(&self, what: &str, claimed: &Claimed) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.file).expect("a file");
        writeln!(file, "{what} {} {}", claimed.job.workflow_id, claimed.job.job_id).expect("written");
    }

    fn acknowledged(&self, claimed: &Claimed, output: String) {
        let key = (claimed.job.workflow_id.clone(), claimed.job.job_id.clone());
        self.note("end", claimed);
        self.acknowledged.lock().expect("no panic").insert(key, output);
    }
}

/// The server, and its file.
struct Victim {
    dir: TempDir,
    listen: String,
    running: Option<Running>,
}

impl Victim {
    async fn start() -> Self {
        let dir = TempDir::new().expect("a directory");
        let mut victim = Self { dir, listen: "127.0.0.1:0".to_owned(), running: None };
        victim.starts().await;
        victim
    }

    /// On the same address as before.
    async fn starts(&mut self) {
        let mut command = wfg(&["serve", "--data", "wfg.db", "--listen", &self.listen]);
        command.current_dir(self.dir.path()).stderr(std::process::Stdio::inherit());
        let mut running = Running::start(command);
        let line = running.until("wfg serves http://").await;
        line.trim_start_matches("wfg serves http://").clone_into(&mut self.listen);
        self.running = Some(running);
    }

    async fn dies(&mut self) {
        let running = self.running.take().expect("it runs");
        running.signal("KILL").await;
        let (status, _) = running.end().await;
        assert_eq!(status.code(), None, "it was killed");
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.listen), None).expect("its address")
    }
}

/// Ten chains side by side.
fn definition() -> String {
    let jobs = (0..JOBS).map(|n| {
        let needs = n.checked_sub(10).map(|need| format!("needs: j{need}, ")).unwrap_or_default();
        format!("  j{n}: {{{needs}retries: 100, run: x}}\n")
    });
    format!("name: long\njobs:\n{}", jobs.collect::<Vec<_>>().concat())
}

async fn submit(client: &Client, key: &str) -> WorkflowId {
    loop {
        match client.submit_yaml(&definition(), true, Some(key)).await {
            Ok(workflow) => return workflow.id,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

/// Takes jobs, does them and reports them, whatever becomes of the server.
async fn work(client: Client, name: String, history: History) {
    let claim = Claim {
        worker_id: WorkerId::new(name).expect("an id"),
        labels: LabelSet::default(),
        lease_ttl_secs: LEASE_SECS,
        wait_secs: 20,
        exclusive: false,
        ticket: None,
    };
    loop {
        match client.claim(&claim).await {
            Ok(Some(claimed)) => one_job(&client, &claimed, &history).await,
            Ok(None) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn one_job(client: &Client, claimed: &Claimed, history: &History) {
    let lease = &claimed.lease.lease_id;
    let began = Instant::now();
    history.note("begin", claimed);
    for need in claimed.job.upstream_outputs.values() {
        assert_eq!(need.len(), 1, "the outputs of what it needs are there");
    }
    let output = format!("{}-{}", claimed.job.job_id, claimed.job.attempt);
    let piece =
        |sequence| LogPiece { sequence, data: format!("{output}\n"), timestamp_ms: Millis(0), stream: Stream::Stdout };
    let log = [piece(0)];
    let logged = persist(began, || client.logs_push(lease, &log)).await;
    sleep(WORK).await;
    let report = Complete { outputs: BTreeMap::from([("v".to_owned(), output.clone())]), next: None };
    let reported = persist(began, || client.complete(lease, &report)).await;
    match reported {
        Some(_) => {
            assert!(logged.is_some(), "a log that wasn't taken came before a report that was");
            history.acknowledged(claimed, output);
        }
        None => history.note("lost", claimed),
    }
}

/// Says it until it is heard, as long as the lease may live; `None` if it is the holder's no more.
async fn persist<T, F>(began: Instant, mut say: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, ClientError>>,
{
    while began.elapsed() < Duration::from_secs(LEASE_SECS.into()) {
        match say().await {
            Ok(answer) => return Some(answer),
            Err(error) if error.status() == Some(409) => return None,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
    None
}

async fn now(client: &Client, id: &WorkflowId) -> Workflow {
    loop {
        match client.workflow(id).await {
            Ok(workflow) => return workflow,
            Err(error) => assert!(error.is_transient(), "{id}, whose submission was acknowledged: {error}"),
        }
    }
}

async fn ended(client: &Client, id: &WorkflowId) -> Workflow {
    let ends = async {
        loop {
            let workflow = now(client, id).await;
            if workflow.status.is_final() {
                return workflow;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ends).await.unwrap_or_else(|_| panic!("{id} does not end"))
}

fn kills() -> usize {
    std::env::var("WFG_KILLS").map_or(20, |text| text.parse().expect("WFG_KILLS is a number"))
}

fn random(from: u64, to: u64) -> Duration {
    Duration::from_millis(from + getrandom::u64().expect("randomness") % (to - from))
}

/// No job begins after its end was acknowledged.
fn assert_nothing_ran_again(file: &Path) {
    let text = std::fs::read_to_string(file).expect("a history");
    let mut over = std::collections::HashSet::new();
    for line in text.lines() {
        let (what, job) = line.split_once(' ').expect("a word and a job");
        assert!(!over.contains(job), "{job} was reported complete, and then: {line}");
        if what == "end" {
            over.insert(job);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_loses_nothing_that_it_acknowledged() {
    let mut victim = Victim::start().await;
    let client = victim.client();
    let history = History { file: victim.dir.path().join("history"), acknowledged: Arc::default() };
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        workers.spawn(work(client.clone(), format!("w{n}"), history.clone()));
    }
    let mut ids = vec![submit(&client, "first").await];
    for kill in 0..kills() {
        sleep(random(20, 400)).await;
        victim.dies().await;
        sleep(random(0, 100)).await;
        victim.starts().await;
        if now(&client, ids.last().expect("one")).await.status.is_final() {
            ids.push(submit(&client, &format!("after-{kill}")).await);
        }
    }
    let ends = join_all(ids.iter().map(|id| ended(&client, id))).await;
    if let Some(Err(panicked)) = workers.try_join_next() {
        panic!("a worker: {panicked}");
    }
    let acknowledged = history.acknowledged.lock().expect("no panic").clone();
    println!("{} kills, {} workflows, {} completions acknowledged", kills(), ids.len(), acknowledged.len());
    for workflow in &ends {
        assert_eq!(workflow.status, Status::Success, "{}", workflow.id);
        assert_eq!(workflow.jobs.len(), JOBS);
        for job in &workflow.jobs {
            let given = job.outputs.values().next().expect("an output");
            if let Some(output) = acknowledged.get(&(workflow.id.clone(), job.id.clone())) {
                assert_eq!(given, output, "the output of {} was acknowledged", job.id);
            }
            let log = client.logs(&workflow.id, &job.id, None, None).await.expect("the log is there");
            let said: Vec<&str> = log.chunks.iter().map(|chunk| chunk.data.trim()).collect();
            assert_eq!(said, [given.as_str()], "the log of {} was acknowledged", job.id);
        }
    }
    assert_nothing_ran_again(&history.file);
}
