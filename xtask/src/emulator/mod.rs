//! Emulators of AWS on this machine: installs, starts and ends them.
//!
//! See `localstack/README.md` for what they serve and what they don't.

mod launch;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use clap::ValueEnum;

use crate::venv::{Contents, Venv};
use process::GuardedProcess;

const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Another program may take the port before the emulator does.
const START_ATTEMPTS: u32 = 3;
const LOG_TAIL_LINES: usize = 40;

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Kind {
    /// With a REST API in front of the functions.
    LocalStack,
    /// With an HTTP API in front of the functions.
    MiniStack,
}

impl Kind {
    /// Its name on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::LocalStack => "localstack",
            Self::MiniStack => "ministack",
        }
    }

    /// Its name and version.
    pub fn title(self) -> &'static str {
        match self {
            Self::LocalStack => "LocalStack 4.12.0",
            Self::MiniStack => "MiniStack 1.5.33",
        }
    }

    /// Installs the emulator and the AWS command line, unless they are there.
    pub fn install(self) -> anyhow::Result<Venv> {
        let requirements = &format!("localstack/requirements-{}.txt", self.name());
        let package = (self == Self::LocalStack).then_some(("localstack/plugins", "host_mode"));
        Contents { name: self.name(), requirements, complete: true, package }.install()
    }
}

/// A running emulator. Dropping it ends it and its functions, and removes its files. So does the death of this process, by
/// any signal.
pub struct Emulator {
    kind: Kind,
    venv: Venv,
    endpoint: String,
    directory: PathBuf,
    log: PathBuf,
    process: GuardedProcess,
}

/// Starts an emulator and waits until it answers.
pub fn start(kind: Kind) -> anyhow::Result<Emulator> {
    let venv = kind.install()?;
    let mut attempt = 1;
    loop {
        match try_to_start(kind, &venv) {
            Err(error) if attempt < START_ATTEMPTS && port_was_taken(&error) => attempt += 1,
            result => return result,
        }
    }
}

fn port_was_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("already in use")
}

fn try_to_start(kind: Kind, venv: &Venv) -> anyhow::Result<Emulator> {
    let directory = tempfile::Builder::new().prefix(&format!("workflow-graph-{}-", kind.name())).tempdir()?;
    let log = directory.path().join("emulator.log");
    let port = launch::free_port()?;
    let mut command = launch::command(kind, venv, port, directory.path(), &log)?;
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

    /// The output of the emulator and, on `MiniStack`, of the functions.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The number of its process, and of its process group.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The variables that make a program use this emulator as AWS.
    pub fn variables(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
    }

    /// Makes a program use this emulator as AWS, with nothing else of the caller's environment but `PATH`.
    pub fn credentials<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let kept: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        command
            .env_clear()
            .envs(kept)
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", &self.directory)
            .envs(self.variables())
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    }

    /// Runs the AWS command line against it and returns what it printed.
    pub fn aws(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut aws = Command::new(self.venv.program("aws"));
        // For SQS it ignores the endpoint of its environment.
        aws.args(["--endpoint-url", &self.endpoint]).args(arguments).env("LANG", "C.UTF-8").env("AWS_PAGER", "");
        let output = self.credentials(&mut aws).output().context("can't run the AWS command line")?;
        ensure!(
            output.status.success(),
            "aws {} on {}: {}\n{}",
            arguments.join(" "),
            self.kind.title(),
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
                bail!("{} ended at its start: {status}\n{}", self.kind.title(), self.log_tail());
            }
            if started.elapsed() > START_TIMEOUT {
                bail!("{} doesn't answer after {START_TIMEOUT:?}\n{}", self.kind.title(), self.log_tail());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The last lines of the log.
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
    use crate::project::root;

    #[test]
    fn the_version_in_the_title_is_the_pinned_one() {
        for (kind, package) in [(Kind::LocalStack, "localstack-core"), (Kind::MiniStack, "ministack")] {
            let file = root().join("localstack").join(format!("requirements-{}.txt", kind.name()));
            let version = kind.title().rsplit(' ').next().unwrap();
            let pin = format!("{package}=={version}");
            assert!(fs::read_to_string(file).unwrap().lines().any(|line| line == pin), "{pin}");
        }
    }
}
