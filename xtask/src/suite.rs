//! `cargo xtask test`: every check and test, and the part that each ran on.
//!
//! First two lanes side by side: one installs tools and checks what needs no build, the other builds. Then four lanes run
//! the tests: in processes of this machine, on `LocalStack`, and on two `MiniStack`s.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::binaries::{Binaries, FEATURES};
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::lanes::{Lane, Part, side_by_side};
use crate::project::{cache, cargo, root, run as checked};
use crate::{
    cost, demo, dependencies, dist, foreign, modules, package, page, restore, schemathesis, security, simulator, stack,
    tests, workflows,
};

/// The lane that installs tools, and checks what needs no build.
const TOOLS: &str = "tools";
/// The lane that builds.
const BUILD: &str = "build";
/// The lane of tests in processes of this machine.
const LOCAL: &str = "local";
/// The lanes of tests on emulators. What takes longest on `MiniStack` has one of its own.
const LOCALSTACK: &str = "localstack";
const MINISTACK: &str = "ministack";
const ANOTHER_MINISTACK: &str = "ministack-2";

/// Runs everything. Returns whether all passed. `quick`: without `LocalStack`, and without the page's tests in a browser.
pub fn run(quick: bool) -> Result<bool> {
    let began = Instant::now();
    let logs = logs()?;
    let folder = logs.to_str().context("the cache's path isn't UTF-8")?;
    let lane = ["lane", "--logs", folder];
    let mut parts = side_by_side(&[TOOLS, BUILD], &lane, &logs)?;
    if list_of_binaries(&logs).exists() {
        let lanes = [MINISTACK, ANOTHER_MINISTACK, LOCAL, LOCALSTACK];
        let lanes = if quick { &lanes[..3] } else { &lanes };
        let quick: &[&str] = if quick { &["--quick"] } else { &[] };
        parts.extend(side_by_side(lanes, &[&lane[..], quick].concat(), &logs)?);
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
        LOCALSTACK => on_localstack(&mut lane, &Binaries::load(&list_of_binaries(logs))?),
        MINISTACK => on_ministack(&mut lane, &Binaries::load(&list_of_binaries(logs))?, quick),
        ANOTHER_MINISTACK => on_another_ministack(&mut lane, &Binaries::load(&list_of_binaries(logs))?),
        other => bail!("there is no lane {other}"),
    }
    Ok(())
}

fn tools(lane: &mut Lane) {
    lane.part("formatting", "rustfmt", || cargo(&["fmt", "--all", "--check"], &[]));
    lane.part("circles of modules", "xtask", modules::check);
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

/// A lane on an emulator, from an empty cloud.
struct OnCloud<'a> {
    lane: &'a mut Lane,
    binaries: &'a Binaries,
    cloud: Cloud,
}

impl<'a> OnCloud<'a> {
    /// Starts the emulator and deploys to it. `None` if that failed.
    fn begin(lane: &'a mut Lane, kind: Kind, binaries: &'a Binaries) -> Option<Self> {
        let mut cloud = None;
        lane.part(&format!("deployment on {}", kind.name()), kind.title(), || {
            cloud = Some(Cloud::start(kind, binaries)?);
            Ok(())
        });
        Some(Self { lane, binaries, cloud: cloud? })
    }

    fn part(&mut self, what: &str, run: impl FnOnce(&Cloud, &Binaries) -> Result<()>) {
        let kind = self.cloud.emulator.kind();
        self.lane.part(&format!("{what} on {}", kind.name()), kind.title(), || run(&self.cloud, self.binaries));
    }

    fn end(self) {
        if !self.lane.all_passed() {
            eprintln!("{}", self.cloud.emulator.log_tail());
        }
        self.cloud.emulator.stop();
    }
}

fn ports(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    tests::own_tables(cloud, binaries, "ports", &[])
}

fn on_localstack(lane: &mut Lane, binaries: &Binaries) {
    let Some(mut lane) = OnCloud::begin(lane, Kind::LocalStack, binaries) else { return };
    lane.part("ports", ports);
    lane.part("selected end-to-end tests", tests::end_to_end_selected);
    lane.part("selected tests of forges", tests::forges_selected);
    lane.part("demo", demo::show);
    lane.part("demo of security", security::show);
    // Last, because it deletes the stack.
    lane.part("stack", stack::try_it);
    lane.end();
}

fn on_ministack(lane: &mut Lane, binaries: &Binaries, quick: bool) {
    let Some(mut lane) = OnCloud::begin(lane, Kind::MiniStack, binaries) else { return };
    if !quick {
        // Before the other tests: they leave jobs without labels, which the page's workers would take.
        lane.part("the page in a browser", page::on_stack);
    }
    lane.part("ports", ports);
    lane.part("end-to-end suite", tests::end_to_end);
    lane.part("demo", demo::show);
    lane.part("demo of security", security::show);
    lane.part("function URLs", |cloud, binaries| tests::function_urls(&cloud.emulator, binaries));
    lane.part("budget of costs", |cloud, binaries| cost::check(&cloud.emulator, binaries));
    // After the tests: it leaves a message in the dead-letter queue of the stream.
    lane.part("roles", try_roles);
    // The stack is another one afterwards.
    lane.part("restored table", restore::try_it);
    // Last, because it deletes the stack.
    lane.part("stack", stack::try_it);
    lane.end();
}

fn on_another_ministack(lane: &mut Lane, binaries: &Binaries) {
    let Some(mut lane) = OnCloud::begin(lane, Kind::MiniStack, binaries) else { return };
    lane.part("tests of forges", tests::forges_on);
    lane.part("one fault at every call", |cloud, binaries| tests::own_tables(cloud, binaries, "faults", &[]));
    // Last, when other lanes have ended: chaos kills a function each second, and each start takes the processors' time.
    lane.part("end-to-end tests that run alone", tests::end_to_end_alone);
    lane.end();
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
    println!("\nin all {secs:.1} s, with up to four parts at once");
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
