//! Emulators of AWS on this machine: installs, starts and ends them.
//!
//! See `localstack/README.md` for what they serve and what they don't.

mod launch;
mod process;
mod venv;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

#[cfg(test)]
use crate::project::root;
use process::GuardedProcess;
pub use venv::{Venv, install};

const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Another program may take the port before the emulator does.
const START_ATTEMPTS: u32 = 3;
const LOG_TAIL_LINES: usize = 40;

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `LocalStack`, with a REST API in front of the functions.
    LocalStack,
    /// `MiniStack`, with an HTTP API in front of the functions.
    MiniStack,
}

impl Kind {
    /// Every emulator.
    pub const ALL: [Self; 2] = [Self::LocalStack, Self::MiniStack];

    /// What the command line and file names call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalStack => "localstack",
            Self::MiniStack => "ministack",
        }
    }

    /// What people call it.
    fn title(self) -> &'static str {
        match self {
            Self::LocalStack => "LocalStack 4.12.0",
            Self::MiniStack => "MiniStack 1.5.33",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.title())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .with_context(|| format!("no emulator is called {name:?}; there are localstack and ministack"))
    }
}

/// A running emulator; dropping it ends it, the functions it runs, and its files.
///
/// So does the death of this process, by whatever signal.
pub struct Emulator {
    kind: Kind,
    venv: Venv,
    endpoint: String,
    directory: PathBuf,
    log: PathBuf,
    process: GuardedProcess,
}

/// Starts an emulator and waits until it answers.
pub fn start(kind: Kind, venv: &Venv) -> anyhow::Result<Emulator> {
    start_with(kind, venv, &[])
}

/// Like [`start`], with more settings in the emulator's environment.
pub fn start_with(kind: Kind, venv: &Venv, settings: &[(&str, &str)]) -> anyhow::Result<Emulator> {
    let mut attempt = 1;
    loop {
        match try_to_start(kind, venv, settings) {
            Err(error) if attempt < START_ATTEMPTS && port_was_taken(&error) => attempt += 1,
            result => return result,
        }
    }
}

fn port_was_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("already in use")
}

fn try_to_start(kind: Kind, venv: &Venv, settings: &[(&str, &str)]) -> anyhow::Result<Emulator> {
    let directory = tempfile::Builder::new().prefix(&format!("workflow-graph-{}-", kind.name())).tempdir()?;
    let log = directory.path().join("emulator.log");
    let port = launch::free_port()?;
    let mut command = launch::command(kind, venv, port, directory.path(), &log)?;
    command.envs(settings.iter().copied());
    let process = GuardedProcess::spawn(&mut command, directory.path())?;
    let mut emulator = Emulator {
        kind,
        venv: venv.clone(),
        endpoint: format!("http://127.0.0.1:{port}"),
        directory: directory.keep(),
        log,
        process,
    };
    emulator.wait_until_it_answers(port)?;
    Ok(emulator)
}

impl Emulator {
    /// Where it serves all of AWS: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it and, on `MiniStack`, the functions print.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The number of its process, and of its process group.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A program of its environment, such as `python`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.venv.program(name)
    }

    /// Has a program that speaks to AWS speak to it, with nothing else in its environment.
    pub fn credentials<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let kept: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        command
            .env_clear()
            .envs(kept)
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", &self.directory)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    }

    /// Runs the AWS command line against it and returns what it printed.
    pub fn aws(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut aws = Command::new(self.venv.program("aws"));
        aws.args(arguments).env("LANG", "C.UTF-8").env("AWS_PAGER", "");
        let output = self.credentials(&mut aws).output().context("can't run the AWS command line")?;
        ensure!(
            output.status.success(),
            "aws {} on {}: {}\n{}",
            arguments.join(" "),
            self.kind,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends it and waits until it's gone.
    pub fn stop(self) {
        drop(self.process);
    }

    /// Leaves it running, with its files, when this process ends.
    pub fn keep(self) -> anyhow::Result<()> {
        self.process.keep()
    }

    fn wait_until_it_answers(&mut self, port: u16) -> anyhow::Result<()> {
        let started = Instant::now();
        while !launch::answers(port) {
            if let Some(status) = self.process.exited()? {
                bail!("{} ended at its start: {status}\n{}", self.kind, self.log_tail());
            }
            if started.elapsed() > START_TIMEOUT {
                bail!("{} doesn't answer after {START_TIMEOUT:?}\n{}", self.kind, self.log_tail());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_the_title_is_the_pinned_one() {
        for (kind, package) in [(Kind::LocalStack, "localstack-core"), (Kind::MiniStack, "ministack")] {
            let file = root().join("localstack").join(format!("requirements-{}.txt", kind.name()));
            let version = kind.to_string().rsplit(' ').next().unwrap().to_owned();
            let pin = format!("{package}=={version}");
            assert!(fs::read_to_string(file).unwrap().lines().any(|line| line == pin), "{pin}");
        }
    }

    #[test]
    fn an_emulator_is_found_by_its_name_only() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
        }
        assert!("LocalStack".parse::<Kind>().is_err());
    }
}
