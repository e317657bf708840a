//! A worker that runs as a program, in any language.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cloud::Cloud;
use crate::eventually;

/// A running worker. Its jobs run in a directory of its own. Dropping this kills it.
pub struct Program {
    child: Child,
    dir: TempDir,
}

impl Program {
    /// Starts it for the target, with leases of 10 s if it has that setting. `{label}` stands for the test's label.
    ///
    /// # Panics
    /// If it doesn't start. `install` is the advice for that case.
    pub fn starts(cloud: &Cloud, command: &[&str], labels: &str, install: &str) -> Self {
        Self::starts_for(cloud, cloud.url(), command, labels, install)
    }

    /// Like [`Program::starts`], with another address of the target.
    ///
    /// # Panics
    /// If it doesn't start.
    pub fn starts_for(cloud: &Cloud, url: &str, command: &[&str], labels: &str, install: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let labels = cloud.fill(labels);
        let child = Command::new(command[0])
            .args(&command[1..])
            .env("SERVER_URL", url)
            .env("WORKER_ID", labels.replace(", ", "+"))
            .env("WORKER_LABELS", labels)
            .env("WORKER_LEASE_TTL", "10")
            .env("WORKER_POLL", "0.1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("NODE_OPTIONS")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} doesn't run ({error}). {install}", command[0]));
        Self { child, dir }
    }

    /// The directory of its jobs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until a job has written a complete line to a file in its directory, and returns it.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn wrote(&self, name: &str) -> String {
        let file = self.dir().join(name);
        eventually(&format!("a job has written {name}"), async || {
            std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')).map(|text| text.trim().to_owned())
        })
        .await
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        assert!(signal(id, name).await, "no process {id}");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it doesn't.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the worker has ended", async || self.child.try_wait().expect("a child")).await
    }
}

/// Sends a signal to a process. Returns whether it exists.
pub(crate) async fn signal(process: u32, name: &str) -> bool {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(process.to_string()).stderr(Stdio::null());
    kill.status().await.expect("there is a `kill`").success()
}

/// Waits until a process is gone or a zombie. If its parent is gone too, it may stay a zombie.
pub async fn gone(process: &str) {
    eventually(&format!("process {process} has ended"), async || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
    })
    .await;
}
