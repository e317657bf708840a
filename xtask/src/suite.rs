//! `cargo xtask test`: every check and test, and the part that each ran on.
//!
//! First two lanes side by side: one installs tools and checks what needs no build, the other builds. Then three lanes run
//! the tests: in processes of this machine, on `LocalStack` and on `MiniStack`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use clap::ValueEnum;

use crate::binaries::{Binaries, FEATURES};
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::lanes::{Lane, Part, side_by_side};
use crate::project::{cache, cargo, root, run as checked};
use crate::{
    cost, demo, dependencies, dist, foreign, package, page, restore, schemathesis, security, simulator, stack, tests,
    workflows,
};

/// The lane that installs tools, and checks what needs no build.
const TOOLS: &str = "tools";
/// The lane that builds.
const BUILD: &str = "build";
/// The lane of tests in processes of this machine.
const LOCAL: &str = "local";

/// Runs everything. Returns whether all passed. `quick`: without `LocalStack`, and without the page's tests in a browser.
pub fn run(quick: bool) -> Result<bool> {
    let began = Instant::now();
    let logs = logs()?;
    let folder = logs.to_str().context("the cache's path isn't UTF-8")?;
    let lane = ["lane", "--logs", folder];
    let mut parts = side_by_side(&[TOOLS, BUILD], &lane, &logs)?;
    if list_of_binaries(&logs).exists() {
        let emulators = [Kind::MiniStack.name(), Kind::LocalStack.name()];
        let emulators = if quick { &emulators[..1] } else { &emulators };
        let quick: &[&str] = if quick { &["--quick"] } else { &[] };
        parts.extend(side_by_side(&[emulators, &[LOCAL]].concat(), &[&lane[..], quick].concat(), &logs)?);
    }
    if quick {
        println!("\nSkipped, because of --quick: LocalStack, and the page in a browser.");
    }
    let all_passed = summary(&parts, began.elapsed().as_secs_f64());
    if all_passed {
        let _ = std::fs::remove_dir_all(&logs);
    }
    Ok(all_passed)
}

/// An empty folder for the output of the parts.
fn logs() -> Result<PathBuf> {
    let folder = cache()?.join("logs").join(std::process::id().to_string());
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    println!("The output of each part is in {}.", folder.display());
    Ok(folder)
}

/// The list of artifacts: the lane that builds writes it, the lanes that test read it.
fn list_of_binaries(logs: &Path) -> PathBuf {
    logs.join("binaries.json")
}

/// Runs one lane, in the process that [`run`] starts for it.
pub fn lane(name: &str, logs: &Path, quick: bool) -> Result<()> {
    let mut lane = Lane::begin();
    match name {
        TOOLS => tools(&mut lane),
        BUILD => build(&mut lane, logs),
        LOCAL => local(&mut lane, &Binaries::load(&list_of_binaries(logs))?, quick),
        emulator => {
            let kind = Kind::from_str(emulator, false).map_err(Error::msg)?;
            on_cloud(&mut lane, kind, &Binaries::load(&list_of_binaries(logs))?, quick);
        }
    }
    Ok(())
}

fn tools(lane: &mut Lane) {
    lane.part("formatting", "rustfmt", || cargo(&["fmt", "--all", "--check"], &[]));
    lane.part("unused dependencies", "cargo-shear", dependencies::unused);
    lane.noted("dependencies", "cargo-deny", dependencies::deny);
    lane.part("template", "cfn-lint", package::lint_template);
    lane.part("workflows of continuous integration", "actionlint", workflows::lint);
    lane.part("the page without a browser", "Node", page::check);
    lane.part("packages for workers in other languages", "Debian", foreign::install_packages);
    lane.part("the published worker", "crates.io", foreign::install_worker);
    lane.part("LocalStack's plugins", Kind::LocalStack.title(), test_plugins);
    lane.part("MiniStack's patches", Kind::MiniStack.title(), test_ministack);
}

fn build(lane: &mut Lane, logs: &Path) {
    lane.part("lints", "clippy", || {
        lint(&["--all-targets"], &FEATURES)?;
        // Only `wfg` and the worker differ without the features.
        lint(&["--lib", "--bins"], &[])
    });
    lane.part("build", "cargo", || {
        let binaries = Binaries::build()?;
        binaries.packages()?;
        binaries.save(&list_of_binaries(logs))
    });
    lane.part("doc tests", "rustdoc", || tests::run_doc_tests(&FEATURES));
    lane.part("10,000 simulated worlds", "the simulator", || simulator::run(&["--seeds", "10000"]));
    lane.part("planted bugs", "the simulator", || simulator::run(&["--bugs"]));
}

fn local(lane: &mut Lane, binaries: &Binaries, quick: bool) {
    lane.part("unit tests, and every suite in one process", "the engine in memory, real processes", || {
        tests::run_all(binaries)
    });
    lane.part("end-to-end suite and tests of forges on a file", "SQLite", || tests::end_to_end_on_a_file(binaries));
    lane.part("wheel and npm package", "pip, npm", || dist::packages_around(binaries.path("wfg")?));
    lane.part("schemathesis against wfg serve", "the engine in memory", || schemathesis::check(binaries));
    if !quick {
        lane.part("the page in a browser", "SQLite, real processes, Chromium", || {
            page::in_browser(binaries.path("wfg")?, &[])
        });
    }
}

/// The end-to-end suite and the demo, from an empty cloud.
fn on_cloud(lane: &mut Lane, kind: Kind, binaries: &Binaries, quick: bool) {
    let name = |what: &str| format!("{what} on {}", kind.name());
    let served_by = kind.title();
    let mut cloud = None;
    lane.part(&name("deployment"), served_by, || {
        cloud = Some(Cloud::start(kind, binaries)?);
        Ok(())
    });
    let Some(cloud) = cloud else { return };
    if kind == Kind::MiniStack && !quick {
        // Before the other tests: they leave jobs without labels, which the page's workers would take.
        lane.part(&name("the page in a browser"), served_by, || page::on_stack(&cloud, binaries));
    }
    lane.part(&name("ports"), served_by, || tests::own_tables(&cloud, binaries, "ports", &[]));
    match kind {
        Kind::LocalStack => {
            lane.part(&name("selected end-to-end tests"), served_by, || tests::end_to_end_selected(&cloud, binaries));
            lane.part(&name("selected tests of forges"), served_by, || tests::forges_selected(&cloud, binaries));
        }
        Kind::MiniStack => {
            lane.part(&name("end-to-end suite"), served_by, || tests::end_to_end(&cloud, binaries));
            lane.part(&name("tests of forges"), served_by, || tests::forges_on(&cloud, binaries));
            lane.part(&name("end-to-end tests that run alone"), served_by, || {
                tests::end_to_end_alone(&cloud, binaries)
            });
            lane.part(&name("one fault at every call"), served_by, || {
                tests::own_tables(&cloud, binaries, "faults", &[])
            });
        }
    }
    lane.part(&name("demo"), served_by, || demo::show(&cloud, binaries));
    lane.part(&name("demo of security"), served_by, || security::show(&cloud, binaries));
    if kind == Kind::MiniStack {
        lane.part(&name("function URLs"), served_by, || tests::function_urls(&cloud.emulator, binaries));
        lane.part(&name("budget of costs"), served_by, || cost::check(&cloud.emulator, binaries));
        // After the tests: it leaves a message in the dead-letter queue of the stream.
        lane.part(&name("roles"), served_by, || try_roles(&cloud, binaries));
        // The stack is another one afterwards.
        lane.part(&name("restored table"), served_by, || restore::try_it(&cloud, binaries));
    }
    // Last, because it deletes the stack.
    lane.part(&name("stack"), served_by, || stack::try_it(&cloud, binaries));
    if !lane.all_passed() {
        eprintln!("{}", cloud.emulator.log_tail());
    }
    cloud.emulator.stop();
}

/// Prints the result and time of each part, and last the count. Returns whether all passed.
fn summary(parts: &[Part], secs: f64) -> bool {
    println!("\nNothing here ran on AWS: an emulator stood in for it.");
    println!("MiniStack lets each function do what its role allows; LocalStack lets all do everything.\n");
    for part in parts {
        let result = if part.passed { "passed" } else { "FAILED" };
        println!("{result}  {:42} {:38} {:7.1} s", part.name, part.served_by, part.secs);
        if let Some(note) = &part.note {
            println!("        {note}");
        }
    }
    println!("\nin all {secs:.1} s, with up to three parts at once");
    let failed = parts.iter().filter(|part| !part.passed).count();
    println!("parts: {} passed, {failed} failed", parts.len() - failed);
    failed == 0
}

/// Tests that each function's role allows what the function does, and refuses what it doesn't.
fn try_roles(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let mut wfg = Command::new(binaries.path("wfg")?);
    wfg.args(["check", "--stack", &cloud.deployed.stack, "--as-role"]);
    checked(cloud.emulator.credentials(&mut wfg))
}

fn lint(targets: &[&str], features: &[&str]) -> Result<()> {
    cargo(&[&["clippy", "--quiet", "--workspace"], targets, features, &["--", "-D", "warnings"]].concat(), &[])
}

fn test_ministack() -> Result<()> {
    let mut python = Command::new(Kind::MiniStack.install()?.program("python"));
    checked(python.args(["-m", "unittest", "discover", "-s", "localstack/ministack"]).current_dir(root()))
}

fn test_plugins() -> Result<()> {
    let mut python = Command::new(Kind::LocalStack.install()?.program("python"));
    checked(python.args(["-m", "unittest", "discover", "-s", "localstack/plugins/tests"]).current_dir(root()))
}
