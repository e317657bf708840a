//! The repository's folder, the cache of installed tools, and running programs.

use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};

/// The repository's folder, from the run-time environment if possible, because several checkouts may share a build.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(manifest).join("..")
}

/// The folder of installed tools. It persists between runs.
pub fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => std::env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    Ok(cache.join("workflow-graph"))
}

/// Installs a program of crates.io in a folder of the cache, unless this version is there.
pub fn install_crate(folder: &str, name: &str, version: &str) -> Result<()> {
    let folder = cache()?.join(folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let target = tempfile::Builder::new().prefix("target-").tempdir_in(&folder)?;
    let mut install = Command::new(env!("CARGO"));
    install.args(["install", "--quiet", "--locked", "--version", version, name]);
    install.arg("--root").arg(&folder).arg("--target-dir").arg(target.path());
    run(&mut install).with_context(|| format!("{name} {version} isn't installed"))
}

/// Runs a program. Returns an error if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {name}"))?;
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}

/// Runs cargo in the repository, with more variables set.
pub fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    run(cargo.args(arguments).envs(variables.iter().copied()).current_dir(root()))
}

/// A child process. Dropping the handle ends it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // After SIGTERM a worker ends its jobs, then itself.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}
