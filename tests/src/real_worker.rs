//! The project's worker in this process, with real commands.

use std::path::Path;
use std::time::Duration;

use protocol::{LabelSet, Status, WorkerId};
use tokio::task::JoinHandle;
use worker::{Worker, WorkerConfig};

use crate::cloud::Cloud;

/// A job that writes its secret to the file `seen`, and to its log in every form that is masked. Standard error comes first, since the
/// published worker drops what is left of it when standard output is closed.
const SPILLS: &str = r#"
jobs:
  spill:
    labels: '{label}'
    secrets: '{label}_KEY'
    run: |
      printf '%s' "${label}_KEY" > seen
      printf '%s' "${label}_KEY" | base64 >&2
      sleep 1
      echo "plain ${label}_KEY"
"#;

/// Runs a job that prints its secret, and asserts that it received the secret and that the log doesn't show it.
///
/// # Panics
/// If an assertion fails.
pub async fn has_its_secret_hidden(cloud: &Cloud, dir: &Path) {
    let value = "it's \"hunter\" 22 🦀 $HOME";
    cloud.secret("KEY", value).await;
    let run = cloud.submit(SPILLS).await;
    run.until(Status::Success).await;
    let seen = std::fs::read_to_string(dir.join("seen")).expect("written");
    assert_eq!(seen, value);
    assert_eq!(run.log("spill", "stdout").await, "plain ***\n");
    assert_eq!(run.log("spill", "stderr").await, "***\n");
    let everything = cloud.get(&format!("/api/workflows/{}", run.id)).await.body;
    assert!(!everything.contains("hunter"), "{everything}");
}

/// A running worker with a directory of its own. Dropping this ends it.
pub struct RealWorker {
    task: JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl RealWorker {
    /// Starts it for the target, exclusive, with leases of 60 s: a busy emulator must not lose one.
    ///
    /// # Panics
    /// If the labels are invalid.
    #[must_use]
    pub fn starts(cloud: &Cloud, labels: &str) -> Self {
        Self::starts_like(cloud, labels, |config| config)
    }

    /// Like [`Self::starts`], with other settings.
    ///
    /// # Panics
    /// If the labels are invalid.
    #[must_use]
    pub fn starts_like(cloud: &Cloud, labels: &str, like: impl FnOnce(WorkerConfig) -> WorkerConfig) -> Self {
        let labels = LabelSet::from_comma_separated(&cloud.fill(labels)).expect("labels");
        let dir = tempfile::tempdir().expect("a directory");
        let config = like(WorkerConfig {
            server_url: cloud.url().to_owned(),
            worker_id: WorkerId::new(format!("{}-{}", cloud.label, labels.to_string().replace(", ", "+")))
                .expect("an id"),
            labels,
            exclusive: true,
            concurrency: 2,
            lease_ttl_secs: Some(60),
            poll: Duration::from_millis(50),
            log_flush: Duration::from_millis(50),
            workdir: dir.path().to_owned(),
            ..WorkerConfig::default()
        });
        let task = tokio::spawn(async move { Worker::new(config).run().await.expect("it works") });
        Self { task, dir }
    }

    /// The directory of its jobs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for RealWorker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
