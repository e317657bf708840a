//! Runs test binaries: all in processes of this machine, and some against an emulator.

use std::collections::VecDeque;
use std::process::Output;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::binaries::{Binaries, Binary};
use crate::cloud::{Cloud, deploy_to};
use crate::deploy::{self, Deployed, Gateway};
use crate::emulator::{Emulator, Kind};
use crate::foreign;
use crate::project::cargo;
use crate::selection;

/// Test binaries that run at once. Most of them wait more than they compute.
const AT_ONCE: usize = 2;
/// Tests of the end-to-end suite that run at once. They wait for the target.
const THREADS: &str = "--test-threads=4";
/// Modules of the end-to-end suite that change what other tests share. Their tests run one at a time, after all others.
const ALONE: [&str; 4] = ["chaos::", "check::", "redrive::", "upgrade::"];

/// Modules of the forges' tests that run on a target. The others need none, or a server of their own.
const FORGES: [&str; 6] = ["checkout::", "forks::", "hook::", "losses::", "reruns::", "runs::"];

/// The end-to-end suite.
fn suite(binaries: &Binaries) -> Result<&Binary> {
    binaries.test("workflow-graph-tests", "e2e")
}

/// The tests of links to forges, which run on the same targets.
fn forges(binaries: &Binaries) -> Result<&Binary> {
    binaries.test("workflow-graph-tests", "forge")
}

/// Runs every test binary. Tests that need an emulator are skipped without one.
pub fn run_all(binaries: &Binaries) -> Result<()> {
    let worker = published_worker()?;
    let left: Mutex<VecDeque<&Binary>> = Mutex::new(binaries.tests().collect());
    let failed = Mutex::new(Vec::new());
    let next = || left.lock().ok()?.pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(binary) = next() {
                    let output = binary.command().env(worker.0, &worker.1).output();
                    let passed = output.as_ref().is_ok_and(|output| output.status.success());
                    let text = output.map_or_else(|error| error.to_string(), |output| printed(&output));
                    let shown = if passed { results(&text) } else { text };
                    println!("--- {} of {}\n{shown}", binary.name, binary.package);
                    if !passed && let Ok(mut failed) = failed.lock() {
                        failed.push(format!("{} of {}", binary.name, binary.package));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(failed.is_empty(), "tests failed: {}", failed.join(", "));
    Ok(())
}

fn printed(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat()
}

/// The result lines of a test binary.
fn results(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("test result: ")).collect::<Vec<_>>().join("\n")
}

/// Runs the examples in doc comments.
pub fn run_doc_tests(features: &[&str]) -> Result<()> {
    cargo(&[&["test", "--quiet", "--workspace", "--doc"], features].concat(), &[])
}

/// The end-to-end suite and the tests of links to forges in this process, with their store in a file.
pub fn end_to_end_on_a_file(binaries: &Binaries) -> Result<()> {
    let on_a_file = [("WFG_TEST_STORE", "sqlite")];
    run_suite(binaries, &[THREADS], &on_a_file)?;
    forges(binaries)?.run(&[&[THREADS], &FORGES[..]].concat(), &on_a_file)
}

/// The end-to-end suite on an emulator, without the modules that run alone.
pub fn end_to_end(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let skipped = ALONE.map(|module| ["--skip", module]).concat();
    run_suite(binaries, &[&[THREADS], &skipped[..]].concat(), &target(cloud, binaries)?)
}

/// The modules that run alone.
pub fn end_to_end_alone(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    run_suite(binaries, &[&["--test-threads=1"], &ALONE[..]].concat(), &target(cloud, binaries)?)
}

/// The tests of links to forges, on an emulator.
pub fn forges_on(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let deployed = with_forges(cloud, binaries)?;
    forges(binaries)?.run(&[&[THREADS], &FORGES[..]].concat(), &target_of(&cloud.emulator, &deployed, binaries)?)
}

/// One case of each kind of path.
pub fn end_to_end_selected(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let (alone, shared): (Vec<&str>, Vec<&str>) =
        selection::LOCALSTACK.iter().partition(|name| ALONE.iter().any(|module| name.starts_with(module)));
    let target = target(cloud, binaries)?;
    for (names, threads) in [(shared, THREADS), (alone, "--test-threads=1")] {
        run_suite(binaries, &exactly(suite(binaries)?, threads, &names)?, &target)?;
    }
    Ok(())
}

/// The stack that has forges.
fn with_forges(cloud: &Cloud, binaries: &Binaries) -> Result<Deployed> {
    match cloud.emulator.kind() {
        Kind::MiniStack => Ok(cloud.deployed.clone()),
        kind @ Kind::LocalStack => deploy_to(&cloud.emulator, Gateway::of(kind), binaries, deploy::FORGES),
    }
}

/// As [`end_to_end_selected`], of the tests of links to forges.
pub fn forges_selected(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let arguments = exactly(forges(binaries)?, THREADS, &selection::FORGES_ON_LOCALSTACK)?;
    let deployed = with_forges(cloud, binaries)?;
    forges(binaries)?.run(&arguments, &target_of(&cloud.emulator, &deployed, binaries)?)
}

/// The arguments that run these tests and no others.
fn exactly<'a>(binary: &Binary, threads: &'a str, names: &[&'a str]) -> Result<Vec<&'a str>> {
    ensure!(!names.is_empty(), "no test is selected, so all would run");
    let arguments = [&[threads, "--exact"], names].concat();
    let found = binary.count(&arguments)?;
    ensure!(found == names.len(), "{found} of the {} selected tests exist: {}", names.len(), names.join(", "));
    Ok(arguments)
}

/// The end-to-end tests of function URLs, on a stack of their own with the gateway `url`.
pub fn function_urls(emulator: &Emulator, binaries: &Binaries) -> Result<()> {
    let deployed = deploy_to(emulator, Gateway::Url, binaries, "urls")?;
    let mut variables = target_of(emulator, &deployed, binaries)?;
    variables.push(("WFG_TEST_GATEWAY", Gateway::Url.name()));
    run_suite(binaries, &[THREADS, "function_urls::"], &variables)
}

/// Tests of the end-to-end suite whose names contain `filter`, with more variables set. They print what they measured.
pub fn end_to_end_filtered(cloud: &Cloud, binaries: &Binaries, filter: &str, more: &[(&str, &str)]) -> Result<()> {
    let arguments = [filter, "--nocapture"];
    ensure!(suite(binaries)?.count(&arguments)? > 0, "no end-to-end test has {filter} in its name");
    run_suite(binaries, &arguments, &[&target(cloud, binaries)?, more].concat())
}

fn run_suite(binaries: &Binaries, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let (name, worker) = published_worker()?;
    suite(binaries)?.run(arguments, &[variables, &[(name, &worker)]].concat())
}

/// A test of the ports, on tables of its own.
pub fn own_tables(cloud: &Cloud, binaries: &Binaries, test: &str, more: &[(&str, &str)]) -> Result<()> {
    let variables = [&cloud.emulator.variables()[..], &[("WFG_TEST_AWS", cloud.emulator.endpoint())], more].concat();
    binaries.test("workflow-graph-aws", test)?.run(&["--nocapture"], &variables)
}

/// The variable that names the published worker to the end-to-end suite.
fn published_worker() -> Result<(&'static str, String)> {
    let worker = foreign::worker()?.into_os_string().into_string().ok().context("the cache's path isn't UTF-8")?;
    Ok(("WFG_TEST_PUBLISHED_WORKER", worker))
}

/// The variables of the target and the programs of the end-to-end suite.
fn target<'a>(cloud: &'a Cloud, binaries: &'a Binaries) -> Result<Vec<(&'static str, &'a str)>> {
    target_of(&cloud.emulator, &cloud.deployed, binaries)
}

fn target_of<'a>(
    emulator: &'a Emulator,
    deployed: &'a Deployed,
    binaries: &'a Binaries,
) -> Result<Vec<(&'static str, &'a str)>> {
    let path = |binary: &str| binaries.path(binary)?.to_str().context("the binaries' path isn't UTF-8");
    let mut variables = stack(emulator.endpoint(), deployed);
    variables.push(("WFG_TEST_EMULATOR", emulator.kind().name()));
    variables.extend([("WFG_TEST_WORKER", path("workflow-graph-worker")?), ("WFG_TEST_WFG", path("wfg")?)]);
    Ok(variables)
}

/// The variables that name a stack on an emulator.
pub fn stack<'a>(endpoint: &'a str, deployed: &'a Deployed) -> Vec<(&'static str, &'a str)> {
    vec![
        ("WFG_TEST_URL", &deployed.api_url),
        ("WFG_TEST_AWS", endpoint),
        ("WFG_TEST_EXPIRE_FUNCTION", &deployed.expire_function),
        ("WFG_TEST_SCHEDULE_FUNCTION", &deployed.schedule_function),
        ("WFG_TEST_JOBS_TABLE", &deployed.jobs_table),
        ("WFG_TEST_STREAM_DEAD_BUCKET", &deployed.stream_dead_bucket),
        ("WFG_TEST_STACK", &deployed.stack),
    ]
}
