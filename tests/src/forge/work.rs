//! A working copy: what a developer has on a laptop.

use std::path::Path;

use tempfile::TempDir;

use super::git::git;

/// A working copy of a repository of the test forge. Commits are made with a fixed author.
pub struct WorkingCopy {
    dir: TempDir,
}

impl WorkingCopy {
    pub(super) async fn of(url: &str) -> Self {
        let copy = Self { dir: tempfile::tempdir().expect("a folder") };
        copy.git(&["init", "--quiet", "--initial-branch=main"]).await;
        copy.git(&["remote", "add", "origin", url]).await;
        copy
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs git and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub async fn git(&self, args: &[&str]) -> String {
        let output = git(self.dir()).args(args).output().await.expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes files and commits them. Returns the commit.
    ///
    /// # Panics
    /// If git fails.
    pub async fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, text) in files {
            let path = self.dir().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("written");
        }
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]).await;
        self.head().await
    }

    /// The commit that is checked out.
    pub async fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// `git push origin`, with these arguments: `main`, `--force`, `HEAD:refs/heads/x`.
    pub async fn push(&self, args: &[&str]) {
        self.git(&[&["push", "--quiet", "origin"], args].concat()).await;
    }
}
