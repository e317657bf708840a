//! The fuzz targets of `tests/fuzz`, for the soak.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project::root;

/// Every target.
pub const TARGETS: [&str; 7] = ["definition", "outputs", "lease", "request", "delivery", "patterns", "signature"];
/// Seconds for each target, unless `WFG_FUZZ_SECS` says otherwise.
const SECS: u32 = 240;

/// Seconds for each target.
pub fn secs() -> Result<u32> {
    match std::env::var("WFG_FUZZ_SECS") {
        Ok(text) => text.parse().with_context(|| format!("WFG_FUZZ_SECS is {text:?}, not a number of seconds")),
        Err(_) => Ok(SECS),
    }
}

/// What is missing to run them, if anything.
pub fn missing() -> Option<&'static str> {
    let is_there = |arguments: &[&str]| {
        let mut cargo = cargo(arguments);
        let status = cargo.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !is_there(&["--version"]) {
        return Some("no nightly toolchain");
    }
    (!is_there(&["fuzz", "--version"])).then_some("no cargo-fuzz")
}

/// Runs a target from its corpus. New inputs go to a folder that is removed. An input that breaks a property is written to
/// `tests/fuzz/targets/artifacts`.
pub fn run(target: &str, secs: u32) -> Result<()> {
    let found = tempfile::tempdir()?;
    let corpus = Path::new("tests/fuzz/targets/corpus").join(target);
    let limits = [format!("-max_total_time={secs}"), "-timeout=10".into(), "-rss_limit_mb=1024".into()];
    let mut fuzz = cargo(&["fuzz", "run", "--fuzz-dir", "tests/fuzz/targets", target]);
    fuzz.arg(found.path()).arg(corpus).arg("--").args(limits).arg("-max_len=65536");
    let status = fuzz.status().context("running cargo fuzz")?;
    if !status.success() {
        bail!("the fuzz target {target} ended with {status}; see above, and tests/fuzz/targets/artifacts/{target}");
    }
    Ok(())
}

/// A command of the nightly toolchain, by way of rustup.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo"]).args(arguments).current_dir(root());
    // Set by the cargo that runs this, for its own toolchain.
    cargo.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    cargo
}
