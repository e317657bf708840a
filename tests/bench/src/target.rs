//! What is measured: servers that are started for it, and servers that run already.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::http::Connection;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// Something that can be measured.
#[derive(Clone, Debug)]
pub enum Target {
    /// `wfg serve` without a file.
    Memory(Program),
    /// `wfg serve` on a file in the folder of the measurement.
    Disk(Program),
    /// The original server: this program, which listens on the port in `PORT`.
    Original(Program),
    /// A server that runs already.
    Peer {
        /// Its `host:port`.
        host: String,
    },
}

/// A program and the name under which its figures are shown.
#[derive(Clone, Debug)]
pub struct Program {
    /// The name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl Target {
    /// The name in the table.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Memory(program) => format!("{} memory", program.name),
            Self::Disk(program) => format!("{} disk", program.name),
            Self::Original(program) => program.name.clone(),
            Self::Peer { host } => host.clone(),
        }
    }

    /// True if a status may be wrong: the original's is.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Memory(_) | Self::Disk(_))
    }

    /// Starts the server, or connects to it.
    pub fn start(&self, folder: &Path) -> Result<Running> {
        match self {
            Self::Memory(program) => Running::wfg(program, None),
            Self::Disk(program) => Running::wfg(program, Some(tempfile::tempdir_in(folder)?)),
            Self::Original(program) => Running::on_port(program),
            Self::Peer { host } => Ok(Running { host: host.clone(), process: None, folder: None }),
        }
    }
}

/// A running server. Dropping it ends it, if it was started for the measurement.
pub struct Running {
    /// Where it listens.
    pub host: String,
    process: Option<Child>,
    folder: Option<TempDir>,
}

impl Running {
    fn wfg(program: &Program, folder: Option<TempDir>) -> Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(["serve", "--listen", "127.0.0.1:0"]).env_remove("RUST_LOG");
        if let Some(folder) = &folder {
            command.arg("--data").arg(folder.path().join("bench.db"));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("starting {}", program.path.display()))?;
        let mut running = Self { host: String::new(), process: Some(child), folder };
        let output = running.process.as_mut().and_then(|child| child.stdout.take()).context("its output is piped")?;
        let line = BufReader::new(output).lines().next().context("wfg serve printed nothing")??;
        let host = line.strip_prefix("wfg serves http://").with_context(|| format!("wfg serve printed {line:?}"))?;
        host.clone_into(&mut running.host);
        Ok(running)
    }

    fn on_port(program: &Program) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&program.path);
        command.env("PORT", port.to_string()).env("HOST", "127.0.0.1").env("RUST_LOG", "error");
        let child = command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child.spawn().with_context(|| format!("starting {}", program.path.display()))?;
        let mut running = Self { host: format!("127.0.0.1:{port}"), process: Some(child), folder: Some(folder) };
        let began = Instant::now();
        while Connection::open(&running.host).is_err() {
            let ended = running.process.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("{} ended with {status}", program.path.display());
            }
            ensure!(began.elapsed() < START, "{} doesn't listen on port {port}", program.path.display());
            sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// Ends the server and starts it on the same file. Returns the time to its first answer too.
    pub fn restarted(mut self, program: &Program) -> Result<(Self, Duration)> {
        let folder = self.folder.take();
        drop(self);
        let began = Instant::now();
        let server = Self::wfg(program, folder)?;
        Connection::open(&server.host)?.expect("GET", "/api/health", "")?;
        Ok((server, began.elapsed()))
    }

    /// The CPU time that the server has used, if it was started for the measurement.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.as_ref()?.id())).ok()?;
        let of_task = |task: fs::DirEntry| -> Option<u64> {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        Some(Duration::from_nanos(tasks.flatten().filter_map(of_task).sum()))
    }

    /// The memory that the server has in use, in bytes.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// The bytes that the server has written to its folder.
    #[must_use]
    pub fn stored(&self) -> Option<u64> {
        let entries = fs::read_dir(self.folder.as_ref()?.path()).ok()?;
        Some(entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // A measurement has nothing to keep.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
