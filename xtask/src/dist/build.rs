//! Builds the programs that are shipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::target::Target;
use super::toolchain::Toolchain;
use crate::package::{self, FUNCTIONS};
use crate::project::run;

/// Everything that `wfg` can do.
pub const FEATURES: [&str; 2] = ["--features", "aws"];

/// How something is built.
struct Profile {
    /// cargo's name.
    name: &'static str,
    /// More flags of the compiler.
    flags: &'static str,
}

/// The program.
const DIST: Profile = Profile { name: "dist", flags: "" };
/// The functions.
const LAMBDA: Profile = Profile { name: package::PROFILE, flags: package::RUSTFLAGS };

/// Builds `wfg` from the sources in a folder. `out` has cargo's results. Returns the program's path.
pub fn wfg(target: Target, source: &Path, out: &Path) -> Result<PathBuf> {
    build(target, source, out, &DIST, &[&["--package", "wfg"], &FEATURES[..]].concat())?;
    let program = programs(target, out, &DIST).join("wfg");
    if target.is_linux() {
        ensure_static(&program)?;
    }
    Ok(program)
}

/// The version of the compiler that builds for a target.
pub fn compiler(target: Target) -> Result<String> {
    Toolchain::install(target)?.version()
}

/// Builds the functions for Lambda. Returns the path of each.
pub fn functions(target: Target, source: &Path, out: &Path) -> Result<[(&'static str, PathBuf); FUNCTIONS.len()]> {
    build(target, source, out, &LAMBDA, &["--package", "workflow-graph-functions", "--bins"])?;
    let folder = programs(target, out, &LAMBDA);
    let functions = FUNCTIONS.map(|name| (name, folder.join(name)));
    functions.iter().try_for_each(|(_, path)| ensure_static(path))?;
    Ok(functions)
}

fn build(target: Target, source: &Path, out: &Path, profile: &Profile, what: &[&str]) -> Result<()> {
    let mut cargo = if target.is_linux() {
        let toolchain = Toolchain::install(target)?;
        let mut cargo = toolchain.cargo(source, profile.flags)?;
        cargo.arg("build").args(toolchain.options());
        cargo
    } else {
        ensure!(target.runs_here(), "{} is built on macOS only", target.triple());
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg("build").current_dir(source);
        cargo
    };
    cargo.args(["--locked", "--profile", profile.name, "--target", target.triple()]).args(what);
    run(cargo.env("CARGO_TARGET_DIR", out)).with_context(|| format!("building for {}", target.triple()))
}

/// The folder of the built programs.
fn programs(target: Target, out: &Path, profile: &Profile) -> PathBuf {
    out.join(target.triple()).join(profile.name)
}

/// Fails if the program needs a loader or shared libraries.
fn ensure_static(program: &Path) -> Result<()> {
    let output = Command::new("readelf").args(["--program-headers", "--wide"]).arg(program).output();
    let output = output.context("running readelf, in Debian's package binutils")?;
    let headers = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && headers.contains("LOAD"), "{} is no program", program.display());
    ensure!(!headers.contains("INTERP"), "{} isn't static", program.display());
    Ok(())
}
