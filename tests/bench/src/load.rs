//! The requests of a workload, and how long they took.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::http::Connection;

/// Jobs of a workflow whose definition, with a label for each job, is under the limit.
const JOBS_PER_WORKFLOW: usize = 5000;
/// How long a client waits after a claim that found nothing.
const PAUSE: Duration = Duration::from_micros(100);
/// How long a workflow may take to be shown as finished after its last report.
const SETTLED: Duration = Duration::from_secs(10);

/// A job of a measured workflow.
pub struct Job<'a> {
    /// Its id.
    pub id: String,
    /// The ids of the jobs that it needs.
    pub needs: Vec<String>,
    /// The label that a worker must have, if any.
    pub label: Option<&'a str>,
}

/// Jobs that need nothing.
pub fn roots(count: usize, label: Option<&str>) -> Vec<Job<'_>> {
    (0..count).map(|number| Job { id: format!("j{number}"), needs: Vec::new(), label }).collect()
}

/// Jobs of which each needs the one before.
pub fn chain(count: usize, label: Option<&str>) -> Vec<Job<'_>> {
    let needs = |number: usize| (number > 0).then(|| format!("j{}", number - 1)).into_iter().collect();
    (0..count).map(|number| Job { id: format!("j{number}"), needs: needs(number), label }).collect()
}

/// One job and jobs that need it, without labels, so that 10,000 jobs are under the limit of a definition.
pub fn fan(count: usize) -> Vec<Job<'static>> {
    let root = Job { id: "root".to_owned(), needs: Vec::new(), label: None };
    let needs = || vec!["root".to_owned()];
    let dependents = (0..count).map(|number| Job { id: format!("j{number}"), needs: needs(), label: None });
    std::iter::once(root).chain(dependents).collect()
}

/// The body that submits jobs, in the form that every server of the protocol knows.
fn body(jobs: &[Job<'_>]) -> String {
    let job = |Job { id, needs, label }: &Job<'_>| {
        let mut job = serde_json::json!({
            "id": id, "name": id, "status": "queued", "command": "true", "depends_on": needs,
        });
        if let Some(label) = label {
            job["required_labels"] = serde_json::json!([label]);
        }
        job
    };
    serde_json::json!({ "name": "bench", "trigger": "bench", "jobs": jobs.iter().map(job).collect::<Vec<_>>() })
        .to_string()
}

/// The text between the quotes after `"name":"`, for answers whose other fields don't matter.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}

/// Submits a workflow and returns its id.
pub fn submit(server: &mut Connection, jobs: &[Job<'_>]) -> Result<String> {
    let answer = server.expect("POST", "/api/workflows", &body(jobs))?;
    field(answer, "id").map(str::to_owned).context("a workflow without an id")
}

/// Starts a workflow.
pub fn run(server: &mut Connection, workflow: &str) -> Result<()> {
    server.expect("POST", &format!("/api/workflows/{workflow}/run"), "").map(drop)
}

/// Submits and starts jobs that need nothing, as one workflow or more. Returns the ids of the workflows.
pub fn start_roots(server: &mut Connection, count: usize, label: Option<&str>) -> Result<Vec<String>> {
    let mut workflows = Vec::new();
    for begin in (0..count).step_by(JOBS_PER_WORKFLOW) {
        let workflow = submit(server, &roots(JOBS_PER_WORKFLOW.min(count - begin), label))?;
        run(server, &workflow)?;
        workflows.push(workflow);
    }
    Ok(workflows)
}

/// A worker of the workload. It runs nothing.
pub struct Claimer {
    server: Connection,
    claim: String,
    next: String,
}

impl Claimer {
    /// Connects a worker with these labels.
    pub fn new(host: &str, id: &str, labels: &[&str]) -> Result<Self> {
        let terms = serde_json::json!({ "worker_id": id, "labels": labels, "lease_ttl_secs": 30 });
        let next = serde_json::json!({ "outputs": {}, "next": terms }).to_string();
        Ok(Self { server: Connection::open(host)?, claim: terms.to_string(), next })
    }

    /// Claims a job. Returns its lease, if there was one.
    pub fn claim(&mut self) -> Result<Option<String>> {
        Ok(field(self.server.expect("POST", "/api/jobs/claim", &self.claim)?, "lease_id").map(str::to_owned))
    }

    /// As [`Self::claim`], and repeats it until there is a job.
    pub fn claim_surely(&mut self) -> Result<String> {
        let began = Instant::now();
        loop {
            if let Some(lease) = self.claim()? {
                return Ok(lease);
            }
            ensure!(began.elapsed() < SETTLED, "no job became ready within {} s", SETTLED.as_secs());
            sleep(PAUSE);
        }
    }

    /// Reports that the job of a lease succeeded.
    pub fn complete(&mut self, lease: &str) -> Result<()> {
        self.server.expect("POST", &format!("/api/jobs/{lease}/complete"), r#"{"outputs":{}}"#).map(drop)
    }

    /// As [`Self::complete`], and returns the lease of the next job, from the answer or, if it has none, from a claim.
    pub fn complete_for_next(&mut self, lease: &str) -> Result<String> {
        let answer = self.server.expect("POST", &format!("/api/jobs/{lease}/complete"), &self.next)?;
        match field(answer, "lease_id") {
            Some(next) => Ok(next.to_owned()),
            None => self.claim_surely(),
        }
    }

    /// Claims a job that may take a while to be ready, and leaves the claim waiting at the server.
    pub fn wait(&mut self) -> Result<()> {
        let claim = self.claim.replacen('{', "{\"wait_secs\":20,", 1);
        self.server.begin("POST", "/api/jobs/claim", &claim)
    }
}

/// How long each of some requests took, and all together.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Each one.
    pub each: Vec<Duration>,
    /// From the first to the last.
    pub all: Duration,
}

/// Claims and completes `jobs` jobs in `threads` threads, each with a worker of its own. A time is that of a claim and its report.
pub fn claim_and_complete(host: &str, threads: usize, jobs: usize, labels: &[&str]) -> Result<Times> {
    let done = AtomicUsize::new(0);
    let worker = |number: usize| -> Result<Vec<Duration>> {
        let mut worker = Claimer::new(host, &format!("bench-{number}"), labels)?;
        let mut each = Vec::with_capacity(jobs / threads + 1);
        let mut idle_since = Instant::now();
        while done.load(Ordering::Relaxed) < jobs {
            let began = Instant::now();
            let Some(lease) = worker.claim()? else {
                ensure!(idle_since.elapsed() < SETTLED, "no job became ready within {} s", SETTLED.as_secs());
                sleep(PAUSE);
                continue;
            };
            worker.complete(&lease)?;
            each.push(began.elapsed());
            done.fetch_add(1, Ordering::Relaxed);
            idle_since = Instant::now();
        }
        Ok(each)
    };
    let began = Instant::now();
    let each = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || worker(number))).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(Times { each: each.concat(), all: began.elapsed() })
}

/// The number of jobs that a workflow's status doesn't show as succeeded, although all were reported so. Waits a while for the
/// workflow's own end.
pub fn not_succeeded(server: &mut Connection, workflow: &str, jobs: usize) -> Result<usize> {
    let began = Instant::now();
    loop {
        let status = server.expect("GET", &format!("/api/workflows/{workflow}/status"), "")?;
        let status: serde_json::Value = serde_json::from_str(status)?;
        let shown = status["jobs"].as_array().into_iter().flatten().filter(|job| job["status"] == "success").count();
        let is_over = status["status"].as_str().is_none_or(|status| status == "success");
        if (shown == jobs && is_over) || began.elapsed() > SETTLED {
            ensure!(!is_over || shown <= jobs, "more jobs succeeded than there are");
            return Ok(jobs - shown);
        }
        sleep(Duration::from_millis(20));
    }
}
