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

/// The folder of cargo's results.
pub fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
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

/// What a program prints in the repository, without the last line's end. Fails if the program fails.
pub fn output_of(command: &[&str]) -> Result<String> {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(root()).output()?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// A document with another result between two lines that mark it. `None`: it lacks these lines. All other text stays as it is.
pub fn between(text: &str, [begin, end]: [&str; 2], result: &str) -> Option<String> {
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{result}\n{end}{after}"))
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
