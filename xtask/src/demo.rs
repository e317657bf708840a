//! `cargo xtask demo`: the example workflow on a local cloud, from an empty one to its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::binaries::Binaries;
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::project::{Running, root};
use crate::security;

const EXAMPLE: &str = "examples/multi-env-deploy.yml";
/// An example with inputs, a matrix, conditions and groups.
const RELEASE: &str = "examples/release.yml";
/// The workers: id and labels.
const WORKERS: [(&str, &str); 2] = [("demo-staging", "staging"), ("demo-production", "production")];
/// The worker that builds the release.
const BUILDER: (&str, &str) = ("demo-builder", "linux,amd64,arm64");

/// Runs the demo, or the demo of security. Fails unless every job succeeded, on a worker with its labels, with the right outputs.
pub fn run(kind: Kind, security: bool, keep: bool) -> Result<()> {
    let binaries = Binaries::build()?;
    let cloud = Cloud::start(kind, &binaries)?;
    println!("\nThe functions run on {}, which stands in for AWS.", kind.title());
    if security { security::show(&cloud, &binaries) } else { show(&cloud, &binaries) }?;
    if keep {
        println!("\nLeft running: SERVER_URL={}", cloud.deployed.api_url);
        println!("End it with: kill {}", cloud.emulator.pid());
        return cloud.emulator.keep();
    }
    cloud.emulator.stop();
    Ok(())
}

/// Runs the example on a cloud and checks how it ended.
pub fn show(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let url = &cloud.deployed.api_url;
    let folder = tempfile::tempdir()?;
    let mut workers = Vec::new();
    for (id, labels) in WORKERS.into_iter().chain([BUILDER]) {
        println!("$ WORKER_LABELS={labels} SERVER_URL=… WORKER_ID={id} workflow-graph-worker &");
        let mut worker = Command::new(binaries.path("workflow-graph-worker")?);
        worker.env("SERVER_URL", url).env("WORKER_ID", id).env("WORKER_LABELS", labels).current_dir(&folder);
        let log = std::fs::File::create(folder.path().join(format!("{id}.log")))?;
        worker.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        workers.push(Running(worker.spawn().context("starting a worker")?));
    }
    let wfg = binaries.path("wfg")?;
    println!("$ wfg submit {EXAMPLE} --watch");
    let submitted = submit_and_watch(wfg, url, &[EXAMPLE]);
    if submitted.is_err() {
        show_worker_logs(folder.path())?;
    }
    let (id, succeeded) = submitted?;
    ensure!(succeeded, "the workflow did not succeed");
    check(wfg, url, &id)?;
    show_release(wfg, url)
}

fn show_worker_logs(folder: &Path) -> Result<()> {
    for (id, _) in WORKERS.into_iter().chain([BUILDER]) {
        eprintln!("--- log of {id}\n{}", std::fs::read_to_string(folder.join(format!("{id}.log")))?);
    }
    Ok(())
}

/// Releases a good version and a broken one, which is rolled back.
fn show_release(wfg: &Path, url: &str) -> Result<()> {
    for (version, ends) in
        [("1.2", "rollback=skipped on_failure=skipped"), ("broken", "rollback=success on_failure=success")]
    {
        println!("\n$ wfg submit {RELEASE} -f version={version} --watch");
        let (id, succeeded) = submit_and_watch(wfg, url, &[RELEASE, "-f", &format!("version={version}")])?;
        let workflow: Value = serde_json::from_str(&output(wfg, url, &["status", &id, "--json"])?)?;
        let jobs = workflow["jobs"].as_array().context("a workflow has jobs")?;
        let last = jobs[jobs.len() - 2..].iter().map(|job| format!("{}={}", text(&job["id"]), text(&job["status"])));
        let last = last.collect::<Vec<_>>().join(" ");
        ensure!(last == ends && succeeded == (version == "1.2"), "version {version} ended with {last}");
    }
    println!("\nVersion 1.2 was deployed, and the broken one was rolled back, as they should be.");
    Ok(())
}

/// Submits a file and prints the output of `wfg`. Returns the workflow's id, and whether it succeeded.
fn submit_and_watch(wfg: &Path, url: &str, arguments: &[&str]) -> Result<(String, bool)> {
    let mut child = Command::new(wfg)
        .args(["--server", url, "submit", "--watch"])
        .args(arguments)
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .context("running wfg")?;
    let output = child.stdout.take().context("wfg's output is piped")?;
    let mut id = None;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        id = id.or_else(|| line.split_whitespace().find(|word| word.starts_with("wf-")).map(str::to_owned));
    }
    let succeeded = child.wait()?.success();
    Ok((id.context("wfg showed no workflow id")?, succeeded))
}

/// Compares the finished workflow with the expected one.
fn check(wfg: &Path, url: &str, id: &str) -> Result<()> {
    let workflow: Value = serde_json::from_str(&output(wfg, url, &["status", id, "--json"])?)?;
    let jobs = workflow["jobs"].as_array().context("a workflow has jobs")?;
    println!("\n{:16} {:9} {:16} received", "job", "status", "worker");
    for job in jobs {
        let worker = job["worker_id"].as_str().unwrap_or("nobody");
        let labels = WORKERS.iter().find(|(id, _)| *id == worker).map_or("", |(_, labels)| labels);
        let received: Value = jobs
            .iter()
            .filter(|need| job["depends_on"].as_array().is_some_and(|needs| needs.contains(&need["id"])))
            .map(|need| (need["id"].as_str().unwrap_or_default().to_owned(), need["outputs"].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        println!("{:16} {:9} {worker:16} {received}", text(&job["id"]), text(&job["status"]));
        ensure!(job["status"] == "success", "job {} is {}", job["id"], job["status"]);
        let required = job["required_labels"].as_array().context("a job has required_labels")?;
        ensure!(required.iter().all(|label| label == labels), "job {} ran on {worker}, which lacks a label", job["id"]);
        if !required.is_empty() {
            let log = output(wfg, url, &["logs", id, text(&job["id"])])?;
            ensure!(log.contains(&received.to_string()), "job {} did not receive {received}: {log}", job["id"]);
        }
    }
    let expected = json!({ "artifact_url": "s3://bucket/build.tar.gz", "version": "1.2.3" });
    let build = jobs.iter().find(|job| job["id"] == "build").context("there is a job `build`")?;
    ensure!(build["outputs"] == expected, "the outputs of build are {} instead of {expected}", build["outputs"]);
    ensure!(jobs.len() == 3, "there are {} jobs instead of 3", jobs.len());
    println!("\nEvery job succeeded, on a worker with its labels, with the right outputs.");
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn output(wfg: &Path, url: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(wfg).args(["--server", url]).args(arguments).output().context("running wfg")?;
    if !output.status.success() {
        bail!("wfg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
