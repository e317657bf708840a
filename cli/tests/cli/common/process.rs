//! `wfg worker`, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, World, wfg};

/// A worker that runs its jobs in the world's directory, and ends with this.
pub struct WorkerProcess {
    child: Child,
    said: PathBuf,
}

impl WorkerProcess {
    /// Quick to notice things; `args` say what is to be different.
    pub fn start(world: &World, id: &str, args: &[&str]) -> Self {
        Self::start_at(&world.server.url(), world.dir.path(), id, args)
    }

    pub fn start_at(server: &str, dir: &Path, id: &str, args: &[&str]) -> Self {
        let said = dir.join(format!("{id}.said"));
        let mut command = wfg(&["worker", "--id", id, "--poll", "50ms", "--log-flush", "50ms"]);
        command.args(args).env("SERVER_URL", server).env("WFG", env!("CARGO_BIN_EXE_wfg")).current_dir(dir);
        // A file and not a pipe, since nobody reads while it runs.
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&said).expect("a file"));
        Self { child: command.spawn().expect("wfg is built"), said }
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.expect("kill");
        assert!(status.success());
    }

    /// What it said on standard error up to now.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).expect("a file")
    }

    /// Waits until it says this.
    pub async fn until_said(&self, text: &str) {
        until(&format!("the worker says {text:?}"), || self.said().contains(text)).await;
    }

    pub async fn end(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("the worker ends").expect("it ran");
        (status, self.said())
    }
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("{what}: not in {PATIENCE:?}"));
}

/// Waits for a line in a file that a job writes.
pub async fn until_written(file: &Path) -> String {
    let read = || std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'));
    let written = std::cell::RefCell::new(None);
    until(&format!("{} is written", file.display()), || {
        *written.borrow_mut() = read();
        written.borrow().is_some()
    })
    .await;
    written.into_inner().expect("it was there").trim().to_owned()
}

/// Whether the process lives; a zombie doesn't.
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
