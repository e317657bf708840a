//! A submitted workflow and its state.

use std::fmt::Write;

use protocol::requests::Only;
use protocol::wire::{Job, WaitReason, WaitingFor, Workflow};
use protocol::{JobId, Outputs, Status, WorkflowId};

use crate::cloud::{Cloud, Refused};
use crate::eventually;

/// A workflow of this test.
#[derive(Clone)]
pub struct Run {
    /// The workflow's id.
    pub id: WorkflowId,
    cloud: Cloud,
}

/// A definition from lines such as `deploy: build test`: a job and its needs. Each job requires the test's label.
#[must_use]
pub fn graph<T: AsRef<str>>(jobs: impl IntoIterator<Item = T>) -> String {
    let mut text = String::from("jobs:\n");
    for job in jobs {
        let (name, needs) = job.as_ref().split_once(':').unwrap_or((job.as_ref(), ""));
        let needs = needs.split_whitespace().collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  {}: {{run: 'true', labels: {{label}}, needs: [{needs}]}}", name.trim());
    }
    text
}

/// The workflow without the fields that change after its end.
#[must_use]
pub fn done(mut workflow: Workflow) -> Workflow {
    for job in &mut workflow.jobs {
        job.duration_secs = None;
        job.waiting_for = None;
    }
    workflow
}

/// Runs three jobs on a running worker: the first succeeds at its second attempt, its dependent fails, and the dependent of
/// that is skipped. Returns the two that ran.
///
/// # Panics
/// If anything of that is otherwise, or their logs are.
pub async fn tries_one_job_again_and_fails(cloud: &Cloud) -> (Job, Job) {
    let definition = r#"jobs:
  unsteady: {labels: '{label}', retries: 2, run: 'echo "attempt $JOB_ATTEMPT"; test "$JOB_ATTEMPT" = 1'}
  broken: {labels: '{label}', needs: unsteady, run: 'echo oh >&2; exit 7'}
  after: {labels: '{label}', needs: broken, run: 'true'}
"#;
    let run = cloud.submit(definition).await;
    run.until(Status::Failure).await;
    assert_eq!(run.jobs().await, "unsteady=success broken=failure after=skipped");
    let (unsteady, broken) = (run.job("unsteady").await, run.job("broken").await);
    assert_eq!((unsteady.attempt, broken.attempt), (1, 0));
    assert!(broken.error.as_ref().is_some_and(|error| error.contains('7')), "{broken:?}");
    assert_eq!(run.log("unsteady", "stdout").await, "attempt 1\n");
    assert_eq!(run.log("broken", "stderr").await, "oh\n");
    (unsteady, broken)
}

impl Cloud {
    /// Submits a definition in YAML and starts it.
    pub async fn submit(&self, definition: impl AsRef<str>) -> Run {
        self.submit_with(definition, true, None).await
    }

    /// Submits a definition in YAML. `run` starts it; `key` is the idempotency key.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn submit_with(&self, definition: impl AsRef<str>, run: bool, key: Option<&str>) -> Run {
        let text = self.definition(definition);
        let workflow = self.client.submit_yaml(&text, run, key).await.unwrap_or_else(|error| panic!("{error}\n{text}"));
        self.run(workflow.id)
    }

    /// A workflow that exists already.
    #[must_use]
    pub fn run(&self, id: WorkflowId) -> Run {
        Run { id, cloud: self.clone() }
    }
}

impl Run {
    /// A path below the workflow's.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/api/workflows/{}{rest}", self.id)
    }

    /// Reads its status.
    ///
    /// # Panics
    /// If it can't be read.
    pub async fn now(&self) -> Workflow {
        self.cloud.client.workflow(&self.id).await.expect("a workflow")
    }

    /// Reads a job of it.
    ///
    /// # Panics
    /// If there is no such job.
    pub async fn job(&self, id: &str) -> Job {
        let found = self.now().await.jobs.into_iter().find(|job| job.id.as_str() == id);
        found.unwrap_or_else(|| panic!("no job {id}"))
    }

    /// `build=success test=queued`, in the definition's order.
    pub async fn jobs(&self) -> String {
        let jobs = self.now().await.jobs;
        jobs.iter().map(|job| format!("{}={}", job.id, job.status)).collect::<Vec<_>>().join(" ")
    }

    /// Waits until it has this status, and returns it.
    ///
    /// # Panics
    /// If it ends with another status.
    pub async fn until(&self, status: Status) -> Workflow {
        eventually(&format!("{} is {status}", self.id), async || {
            let now = self.now().await;
            assert!(now.status == status || !now.status.is_final(), "it ended otherwise: {now:#?}");
            (now.status == status).then_some(now)
        })
        .await
    }

    /// Waits until a job has this status, and returns the job.
    pub async fn until_job(&self, id: &str, status: Status) -> Job {
        eventually(&format!("job {id} is {status}"), async || {
            let job = self.job(id).await;
            (job.status == status).then_some(job)
        })
        .await
    }

    /// Waits until a queued job has this reason to wait, and returns all of `waiting_for`.
    pub async fn until_waits_for(&self, id: &str, reason: WaitReason) -> WaitingFor {
        eventually(&format!("job {id} waits for {reason:?}"), async || {
            self.job(id).await.waiting_for.filter(|waiting| waiting.reason == reason)
        })
        .await
    }

    /// Waits until a job can be claimed.
    pub async fn until_ready(&self, id: &str) {
        eventually(&format!("job {id} is ready"), async || {
            let waiting = self.job(id).await.waiting_for;
            let started = |waiting: &WaitingFor| !matches!(waiting.reason, WaitReason::Needs | WaitReason::Concurrency);
            waiting.filter(started).map(drop)
        })
        .await;
    }

    /// The log of a job's latest attempt, of one stream.
    ///
    /// # Panics
    /// If it can't be read.
    pub async fn log(&self, job: &str, stream: &str) -> String {
        let chunks = self.cloud.get(&self.path(&format!("/jobs/{job}/logs"))).await.json();
        let chunks = chunks.as_array().expect("a list").iter().filter(|chunk| chunk["stream"] == stream);
        chunks.filter_map(|chunk| chunk["data"].as_str()).collect()
    }

    /// All outputs of a job.
    ///
    /// # Panics
    /// If they can't be read.
    pub async fn outputs(&self, job: &str) -> Outputs {
        let job = JobId::new(job).expect("an id");
        self.cloud.client.outputs(&self.id, &job).await.expect("outputs")
    }

    /// Starts a run.
    pub async fn start(&self) -> Result<(), Refused> {
        Ok(self.cloud.client.run(&self.id, None, None).await?)
    }

    /// Starts a run of the failed jobs only.
    pub async fn start_failed(&self) -> Result<(), Refused> {
        Ok(self.cloud.client.run(&self.id, Some(Only::Failed), None).await?)
    }

    /// Cancels it.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn cancel(&self) {
        self.cloud.client.cancel(&self.id).await.expect("a cancel is accepted");
    }

    /// Deletes it.
    pub async fn delete(&self) -> Result<(), Refused> {
        Ok(self.cloud.client.delete(&self.id).await?)
    }
}
