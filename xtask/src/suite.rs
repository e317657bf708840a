//! `cargo xtask test`: every check and test, and what served each.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::binaries::{Binaries, FEATURES};
use crate::cloud::Cloud;
use crate::emulator::{self, Kind};
use crate::{demo, deny, foreign, package, schemathesis, security};

/// A part of the run, for the summary.
struct Part {
    name: String,
    served_by: String,
    passed: bool,
    secs: f32,
    /// What it checked, where that isn't always the same.
    note: Option<String>,
}

#[derive(Default)]
struct Suite {
    parts: Vec<Part>,
}

/// Runs everything, and fails if any part did. `quick`: without LocalStack.
pub fn run(quick: bool) -> Result<()> {
    let mut suite = Suite::default();
    suite.part("packages for workers in other languages", "Debian", foreign::install_packages);
    suite.part("the published worker", "crates.io", foreign::install_worker);
    suite.part("formatting", "rustfmt", || cargo(&["fmt", "--all", "--check"], &[]));
    suite.part("lints", "clippy", || {
        lint(&[])?;
        lint(&FEATURES)
    });
    suite.part("template", "cfn-lint", package::lint_template);
    suite.noted("dependencies", "cargo-deny", deny::check);
    suite.part("unit tests, and every suite in one process", "the engine in memory, real processes", || {
        test(&[&["--workspace"], &FEATURES[..]].concat(), &[])
    });
    suite.part("10,000 simulated worlds", "the simulator", || simulate(&["--seeds", "10000"]));
    suite.part("planted bugs are found", "the simulator", || simulate(&["--bugs"]));
    suite.part("end-to-end suite on a file", "SQLite", || {
        test(&["-p", "workflow-graph-tests", "--no-fail-fast"], &[("WFG_TEST_STORE", "sqlite")])
    });
    suite.part("schemathesis against wfg serve", "the engine in memory", schemathesis::run);
    if !quick {
        suite.part("LocalStack's plugins", &Kind::LocalStack.to_string(), test_plugins);
        suite.on_cloud(Kind::LocalStack);
    }
    suite.part("what MiniStack is taught", &Kind::MiniStack.to_string(), test_ministack);
    suite.on_cloud(Kind::MiniStack);
    suite.summary()
}

impl Suite {
    fn part(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<()>) {
        self.run(name, served_by, || run().map(|()| None));
    }

    /// A part whose result says what was checked.
    fn noted(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<String>) {
        self.run(name, served_by, || run().map(Some));
    }

    fn run(&mut self, name: &str, served_by: &str, run: impl FnOnce() -> Result<Option<String>>) {
        eprintln!("\n=== {name} ({served_by})");
        let began = Instant::now();
        let result = run();
        if let Err(error) = &result {
            eprintln!("FAILED: {name}: {error:#}");
        }
        let secs = began.elapsed().as_secs_f32();
        let (name, served_by) = (name.to_owned(), served_by.to_owned());
        self.parts.push(Part { name, served_by, passed: result.is_ok(), secs, note: result.ok().flatten() });
    }

    /// The end-to-end suite and the demo, from an empty cloud.
    fn on_cloud(&mut self, kind: Kind) {
        let name = |what: &str| format!("{what} on {}", kind.name());
        let mut cloud = None;
        self.part(&name("deployment"), &kind.to_string(), || {
            let binaries = Binaries::build()?;
            cloud = Some((Cloud::start(kind, &binaries)?, binaries));
            Ok(())
        });
        let Some((cloud, binaries)) = cloud else { return };
        self.part(&name("ports"), &kind.to_string(), || own_tables(&cloud, "ports", &[]));
        if kind == Kind::MiniStack {
            self.part(&name("one fault at every call"), &kind.to_string(), || own_tables(&cloud, "faults", &[]));
        }
        self.part(&name("end-to-end suite"), &kind.to_string(), || end_to_end(&cloud, &binaries));
        self.part(&name("demo"), &kind.to_string(), || demo::show(&cloud, &binaries));
        self.part(&name("demo of security"), &kind.to_string(), || security::show(&cloud, &binaries));
        if kind == Kind::MiniStack {
            // Last: it leaves a message in the dead queue of the stream.
            self.part(&name("roles"), &kind.to_string(), || try_roles(&cloud));
        }
        if self.parts.iter().any(|part| !part.passed) {
            eprintln!("{}", cloud.emulator.log_tail());
        }
        cloud.emulator.stop();
    }

    fn summary(&self) -> Result<()> {
        println!("\nWhat served in AWS's place is named; nothing here ran on AWS.");
        println!("MiniStack lets each function do what its role allows; LocalStack lets all do everything.\n");
        for part in &self.parts {
            let result = if part.passed { "passed" } else { "FAILED" };
            println!("{result}  {:42} {:38} {:7.1} s", part.name, part.served_by, part.secs);
            if let Some(note) = &part.note {
                println!("        {note}");
            }
        }
        let failed = self.parts.iter().filter(|part| !part.passed).count();
        println!("\nparts: {} passed, {failed} failed", self.parts.len() - failed);
        if failed > 0 {
            bail!("{failed} of {} parts failed", self.parts.len());
        }
        Ok(())
    }
}

/// That each function's role allows what the function does, and refuses what it doesn't.
fn try_roles(cloud: &Cloud) -> Result<()> {
    let mut python = Command::new(cloud.emulator.program("python"));
    python.arg("infra/security/try_roles.py").current_dir(package::root());
    python.env("WFG_TEST_AWS", cloud.emulator.endpoint()).env("WFG_TEST_STACK", &cloud.deployed.stack);
    checked(&mut python)
}

/// A test of the ports on tables of its own.
pub fn own_tables(cloud: &Cloud, test: &str, more: &[(&str, &str)]) -> Result<()> {
    let endpoint = cloud.emulator.endpoint();
    let variables = [
        ("WFG_TEST_AWS", endpoint),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let arguments = ["test", "-p", "workflow-graph-aws", "--test", test, "--", "--nocapture"];
    cargo(&arguments, &[&variables, more].concat())
}

fn lint(features: &[&str]) -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets"];
    cargo(&[&clippy, features, &["--", "-D", "warnings"]].concat(), &[])
}

fn end_to_end(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    test(&["-p", "workflow-graph-tests", "--no-fail-fast"], &target(cloud, binaries)?)
}

fn test(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let worker = foreign::worker()?;
    let worker = [("WFG_TEST_PUBLISHED_WORKER", worker.to_str().context("the cache's path isn't UTF-8")?)];
    cargo(&[&["test"], arguments].concat(), &[variables, &worker].concat())
}

/// What tells the end-to-end suite where to run, and with which programs.
pub fn target<'a>(cloud: &'a Cloud, binaries: &'a Binaries) -> Result<Vec<(&'static str, &'a str)>> {
    let deployed = &cloud.deployed;
    let path = |binary: &str| binaries.path(binary)?.to_str().context("the binaries' path isn't UTF-8");
    Ok(vec![
        ("WFG_TEST_WORKER", path("workflow-graph-worker")?),
        ("WFG_TEST_WFG", path("wfg")?),
        ("WFG_TEST_URL", &deployed.api_url),
        ("WFG_TEST_AWS", cloud.emulator.endpoint()),
        ("WFG_TEST_EXPIRE_FUNCTION", &deployed.expire_function),
        ("WFG_TEST_SCHEDULE_FUNCTION", &deployed.schedule_function),
        ("WFG_TEST_JOBS_TABLE", &deployed.jobs_table),
        ("WFG_TEST_BUCKET", &deployed.bucket),
        ("WFG_TEST_STACK", &deployed.stack),
    ])
}

fn test_ministack() -> Result<()> {
    let mut python = Command::new(emulator::install(Kind::MiniStack)?.program("python"));
    checked(python.args(["-m", "unittest", "discover", "-s", "localstack/ministack"]).current_dir(package::root()))
}

fn test_plugins() -> Result<()> {
    let venv = emulator::install(Kind::LocalStack)?;
    let mut python = Command::new(venv.program("python"));
    python.args(["-m", "unittest", "discover", "-s", "localstack/plugins/tests"]);
    checked(python.current_dir(package::root()))
}

/// Runs the simulator, see `cargo xtask sim --help`.
pub fn simulate<T: AsRef<str>>(args: &[T]) -> Result<()> {
    let run = ["run", "--quiet", "--profile", "sim", "-p", "workflow-graph-simulator", "--features", "planted", "--"];
    let all: Vec<&str> = run.into_iter().chain(args.iter().map(AsRef::as_ref)).collect();
    cargo(&all, &[])
}

/// Runs cargo in the repository, with more variables set.
pub fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    checked(cargo.args(arguments).envs(variables.iter().copied()).current_dir(package::root()))
}

fn checked(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}
