//! `cargo xtask demo --security`: shows with real programs what a token for staging may not do.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binaries::Binaries;
use crate::cloud::{Cloud, with_token};

const BOTH: &str = "\
name: both
jobs:
  stage: {labels: staging, run: echo staged}
  deploy: {labels: production, run: echo deployed}
";
const PRODUCTION: &str = "\
name: sneaky
jobs:
  deploy: {labels: production, run: echo deployed}
";

/// Runs the demo on a cloud. Fails if a refusal is missing.
pub fn show(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (both, production) = (folder.path().join("both.yml"), folder.path().join("production.yml"));
    fs::write(&both, BOTH)?;
    fs::write(&production, PRODUCTION)?;
    let admin = Caller { url: cloud.deployed.api_url.clone(), binaries, folder: folder.path() };
    let worker = admin.with_new_token("staging-worker", "work")?;
    let pipeline = admin.with_new_token("staging-pipeline", "submit")?;

    println!("\n# A worker with the token of staging takes the job of staging, and not the one of production.");
    let submitted = succeeded(admin.wfg(&["submit", "both.yml"])?)?;
    let id = submitted.split_whitespace().find(|word| word.starts_with("wf-")).context("wfg showed no workflow id")?;
    // It exits after ten seconds without a job.
    succeeded(worker.worker("staging", &["--idle-exit", "10s"])?)?;
    let status: Value = serde_json::from_str(&succeeded(admin.quiet(&["status", id, "--json"])?)?)?;
    let of = |job: &str| {
        let jobs = status["jobs"].as_array().into_iter().flatten();
        jobs.filter(|other| other["id"] == job).map(|job| job["status"].to_string()).collect::<String>()
    };
    println!("stage: {}, deploy: {}", of("stage"), of("deploy"));
    ensure!(of("stage") == "\"success\"" && of("deploy") == "\"queued\"", "{status:#}");

    println!("\n# A worker with the token of staging claims the label production.");
    let text = refused(&worker.worker("production", &["--once"])?)?;
    ensure!(text.contains("403") && text.contains("`production`"), "{text}");

    println!("\n# A pipeline with the token of staging sends a job for production.");
    let text = refused(&pipeline.wfg(&["submit", "production.yml"])?)?;
    ensure!(text.contains("403") && text.contains("`production`"), "{text}");

    println!("\n# The audit log has both refusals.");
    let audit = succeeded(admin.wfg(&["audit", "-n", "10"])?)?;
    for token in ["staging-worker", "staging-pipeline"] {
        let is_refusal = |line: &&str| line.contains(token) && line.contains("refused");
        let at = audit.lines().position(|line| is_refusal(&line));
        let reason = at.and_then(|at| audit.lines().nth(at + 1)).unwrap_or_default();
        ensure!(reason.contains("`production`"), "the refusal of {token} isn't in the audit:\n{audit}");
    }
    succeeded(admin.quiet(&["cancel", id])?)?;
    println!("\nWhat a token for staging may not do was refused and recorded.");
    Ok(())
}

/// The holder of a token.
struct Caller<'a> {
    url: String,
    binaries: &'a Binaries,
    folder: &'a Path,
}

impl Caller<'_> {
    fn with_new_token(&self, name: &str, scopes: &str) -> Result<Self> {
        // On a cloud that was kept, the demo may run again.
        let _ = self.quiet(&["token", "revoke", name])?;
        let arguments = ["token", "create", name, "--scopes", scopes, "--labels", "staging"];
        println!("$ wfg {}", arguments.join(" "));
        let token = succeeded(self.quiet(&arguments)?)?;
        println!("wfg_{name}_…");
        Ok(Self { url: with_token(&self.url, token.trim()), ..*self })
    }

    fn quiet(&self, arguments: &[&str]) -> Result<Output> {
        let mut wfg = Command::new(self.binaries.path("wfg")?);
        wfg.args(arguments).env("SERVER_URL", &self.url).current_dir(self.folder).output().context("running wfg")
    }

    fn wfg(&self, arguments: &[&str]) -> Result<Output> {
        println!("$ wfg {}", arguments.join(" "));
        Ok(shown(self.quiet(arguments)?))
    }

    /// A worker that ends by itself.
    fn worker(&self, labels: &str, ends: &[&str]) -> Result<Output> {
        println!("$ WORKER_LABELS={labels} SERVER_URL=http://w:…@… workflow-graph-worker {}", ends.join(" "));
        let mut worker = Command::new(self.binaries.path("workflow-graph-worker")?);
        worker.args(ends).env("SERVER_URL", &self.url).env("WORKER_LABELS", labels).env("RUST_LOG", "error");
        Ok(shown(worker.current_dir(self.folder).output().context("running the worker")?))
    }
}

/// Prints the output of a program.
fn shown(output: Output) -> Output {
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    output
}

/// The output of a program that must succeed.
fn succeeded(output: Output) -> Result<String> {
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The output of a program that must be refused.
fn refused(output: &Output) -> Result<String> {
    let said = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    ensure!(!output.status.success(), "it wasn't refused: {said}");
    Ok(said)
}
