//! The repository's folder, the cache of installed tools, and how programs are run.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The repository's folder, at run time where possible: a build may be used by several checkouts.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(manifest).join("..")
}

/// The folder of installed tools, which is kept between runs.
pub fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => std::env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    Ok(cache.join("workflow-graph"))
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

/// A virtual environment with the packages of a requirements file of the repository. It is made again when the file changes.
pub fn install_tools(name: &str, requirements: &str) -> Result<PathBuf> {
    let venv = cache()?.join(format!("venv-{name}"));
    let wanted = root().join(requirements);
    let installed = venv.join("installed.txt");
    let pinned = fs::read(&wanted).with_context(|| format!("reading {}", wanted.display()))?;
    if fs::read(&installed).is_ok_and(|there| there == pinned) {
        return Ok(venv);
    }
    println!("Installing the tools of {requirements} ...");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .context("making a virtual environment needs Python 3 with venv (Debian: apt-get install python3-venv)")?;
    run(Command::new(venv.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&wanted))?;
    fs::write(installed, pinned)?;
    Ok(venv)
}
