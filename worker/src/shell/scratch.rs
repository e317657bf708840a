//! The directory with a job's files.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Job;

/// Longest command that is passed as an argument, which Linux limits to 128 KiB. A longer one is run from a file.
const MAX_COMMAND_ARGUMENT: usize = 100_000;

/// A job's files, in a directory that only the worker's user can enter.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: TempDir,
    /// Empty, for the job.
    pub job_dir: PathBuf,
    /// The upstream outputs as JSON.
    pub upstream: PathBuf,
    /// Empty, for the job's outputs.
    pub outputs: PathBuf,
    /// The command, if it is too long for an argument.
    pub script: Option<PathBuf>,
}

impl Scratch {
    pub fn create(job: &Job) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("workflow-graph-").tempdir()?;
        let path = |name: &str| dir.path().join(name);
        let (job_dir, upstream, outputs) = (path("job"), path("upstream.json"), path("outputs"));
        fs::create_dir(&job_dir)?;
        // With a line end, so that after `cat` of it the job's next text begins on a new line.
        fs::write(&upstream, serde_json::to_string(&job.upstream_outputs)? + "\n")?;
        fs::write(&outputs, "")?;
        let script = (job.command.len() > MAX_COMMAND_ARGUMENT).then(|| path("command.sh"));
        if let Some(script) = &script {
            fs::write(script, &job.command)?;
        }
        Ok(Self { dir, job_dir, upstream, outputs, script })
    }

    /// Removes all files on a blocking thread, because there may be many.
    pub async fn remove(self) {
        let _ = tokio::task::spawn_blocking(|| self.remove_now()).await;
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
