//! The directory with a job's files.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use protocol::{JobId, Outputs, Status};
use tempfile::TempDir;

use crate::executor::Failure;

/// Longest command that is passed as an argument, which Linux limits to 128 KiB. A longer one is run from a file.
const MAX_COMMAND_ARGUMENT: usize = 100_000;

/// A job's files, in a directory that only the worker's user can enter.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: TempDir,
    /// Empty, for the job.
    pub job_dir: PathBuf,
    /// For files with scripts that the command writes.
    pub scripts: PathBuf,
    /// The upstream outputs as JSON.
    pub upstream: PathBuf,
    /// How the needed jobs ended, as JSON.
    pub statuses: PathBuf,
    /// Empty, for the job's outputs.
    pub outputs: PathBuf,
    /// The command, if it is too long for an argument.
    pub script: Option<PathBuf>,
}

/// What is put into the files.
pub(super) struct Given<'a> {
    pub outputs: &'a BTreeMap<JobId, Outputs>,
    pub statuses: &'a BTreeMap<JobId, Status>,
    pub command: &'a str,
}

impl Scratch {
    /// Makes the files. A failure is the worker's.
    pub fn create(given: &Given<'_>) -> Result<Self, Failure> {
        Self::try_create(given)
            .map_err(|error| Failure::of_worker(format!("the worker can't make the job's files: {error}")))
    }

    fn try_create(given: &Given<'_>) -> io::Result<Self> {
        let Given { outputs: upstream_outputs, statuses: upstream_status, command } = *given;
        // `temp_dir` takes an empty TMPDIR for the current directory.
        let parent = Some(std::env::temp_dir()).filter(|dir| !dir.as_os_str().is_empty());
        let parent = parent.unwrap_or_else(|| PathBuf::from("/tmp"));
        let dir = tempfile::Builder::new().prefix("workflow-graph-").tempdir_in(parent)?;
        let path = |name: &str| dir.path().join(name);
        let (job_dir, upstream, outputs) = (path("job"), path("upstream.json"), path("outputs"));
        let (scripts, statuses) = (path("scripts"), path("status.json"));
        fs::create_dir(&job_dir)?;
        fs::create_dir(&scripts)?;
        // With a line end, so that after `cat` of it the job's next text begins on a new line.
        fs::write(&upstream, serde_json::to_string(upstream_outputs)? + "\n")?;
        fs::write(&statuses, serde_json::to_string(upstream_status)? + "\n")?;
        fs::write(&outputs, "")?;
        let script = (command.len() > MAX_COMMAND_ARGUMENT).then(|| path("command.sh"));
        if let Some(script) = &script {
            fs::write(script, command)?;
        }
        Ok(Self { dir, job_dir, scripts, upstream, statuses, outputs, script })
    }

    /// Removes all files. If the job left any of its own, on a blocking thread, because there may be many.
    pub async fn remove(mut self) {
        if self.remove_own().is_ok() {
            self.dir.disable_cleanup(true);
            return;
        }
        let _ = tokio::task::spawn_blocking(|| self.remove_now()).await;
    }

    /// Removes the files that the worker made. Fails if there are others, or the job removed one.
    fn remove_own(&self) -> io::Result<()> {
        fs::remove_dir(&self.job_dir)?;
        fs::remove_dir(&self.scripts)?;
        let files = [&self.upstream, &self.statuses, &self.outputs];
        files.into_iter().chain(&self.script).try_for_each(fs::remove_file)?;
        fs::remove_dir(self.dir.path())
    }

    fn remove_now(self) {
        let path = self.dir.path().to_owned();
        if self.dir.close().is_err() {
            // Some programs make directories read-only (Go's module cache), and files in these can't be removed.
            make_writable(&path);
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!("{} can't be removed: {error}", path.display());
            }
        }
    }
}

fn make_writable(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
