//! `cargo xtask mixed`: the end-to-end suite on `MiniStack` with some functions of another revision and the rest of this tree's.
//!
//! During a deployment two versions of the functions share the table for some minutes, and after a rollback the older one goes on alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::binaries::{Binaries, FEATURES};
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::package::{FUNCTIONS, zip_binaries};
use crate::project::{root, run as checked};
use crate::tests::{end_to_end, end_to_end_selected};

/// The revision of the other functions if none is given.
const PARENT: &str = "HEAD^";

/// Which functions are mixed, and what runs on them.
#[derive(clap::Args)]
pub struct Mixture {
    /// A folder with another tree of the project, or a revision of this repository.
    #[arg(long, value_name = "DIR|REV", default_value = PARENT)]
    other: String,
    /// Draws the functions that are the other tree's; otherwise random, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Run the whole suite, and not the tests that `LocalStack` runs.
    #[arg(long)]
    whole: bool,
}

impl Mixture {
    /// This tree and its parent.
    pub fn with_parent() -> Self {
        Self { other: PARENT.to_owned(), seed: None, whole: false }
    }
}

/// Builds the other functions, deploys a mixture, and runs the suite on it.
pub fn run(mixture: &Mixture) -> Result<()> {
    let seed = mixture.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let others = drawn(seed);
    let tree = tempfile::Builder::new().prefix("workflow-graph-other-").tempdir()?;
    let (folder, name) = other_tree(&mixture.other, tree.path())?;
    // First, because both builds write their programs to the same places.
    let older = packages_of(&folder)?;
    let binaries = Binaries::build()?;
    let zips = mix(&binaries.packages()?, &older, &others)?;
    println!("seed {seed}: {} of {name}, the others of this tree", others.join(", "));
    let cloud = Cloud::start_with(Kind::MiniStack, &binaries, zips.path())?;
    let result = if mixture.whole { end_to_end(&cloud, &binaries) } else { end_to_end_selected(&cloud, &binaries) };
    cloud.emulator.stop();
    result.with_context(|| {
        format!(
            "with {} of {name}; again: cargo xtask mixed --other {} --seed {seed}",
            others.join(", "),
            mixture.other
        )
    })
}

/// The functions that are the other tree's: at least one, and not all.
fn drawn(seed: u64) -> Vec<&'static str> {
    let number = fastrand::Rng::with_seed(seed).u16(1..(1 << FUNCTIONS.len()) - 1);
    let chosen = FUNCTIONS.iter().enumerate().filter(|(bit, _)| number & (1 << bit) != 0);
    chosen.map(|(_, name)| *name).collect()
}

/// The folder of the other tree, and its name. A revision is written to `into`.
fn other_tree(other: &str, into: &Path) -> Result<(PathBuf, String)> {
    let folder = Path::new(other);
    if folder.is_dir() {
        return Ok((folder.canonicalize()?, folder.display().to_string()));
    }
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(root());
        git
    };
    let commit = git(&["rev-parse", "--short", "--verify", &format!("{other}^{{commit}}")]).output()?;
    ensure!(commit.status.success(), "{other} is neither a folder nor a revision of this repository");
    let commit = String::from_utf8(commit.stdout)?.trim().to_owned();
    let mut archive = git(&["archive", &commit]).stdout(Stdio::piped()).spawn().context("running git archive")?;
    let output = archive.stdout.take().context("git's output is piped")?;
    checked(Command::new("tar").args(["-x", "-C"]).arg(into).stdin(output))?;
    ensure!(archive.wait()?.success(), "git archive {commit} failed");
    Ok((into.to_owned(), commit))
}

/// Builds the functions of a tree, with this tree's compiled dependencies, and packages them. Returns the folder.
fn packages_of(tree: &Path) -> Result<tempfile::TempDir> {
    let target = target_folder()?;
    let mut cargo = Command::new(env!("CARGO"));
    // The whole workspace is named, so that features are resolved as for this tree.
    cargo.args(["build", "--quiet", "--workspace"]).args(FEATURES).arg("--target-dir").arg(&target);
    for name in FUNCTIONS {
        cargo.args(["--bin", name]);
    }
    checked(cargo.current_dir(tree)).with_context(|| format!("building {}", tree.display()))?;
    let packages = tempfile::Builder::new().prefix("other-packages-").tempdir_in(&target)?;
    let mut stripped = Vec::new();
    for name in FUNCTIONS {
        let to = packages.path().join(name);
        checked(Command::new("strip").arg("-o").arg(&to).arg(target.join("debug").join(name)))?;
        stripped.push((name, to));
    }
    let named: Vec<(&str, &Path)> = stripped.iter().map(|(name, path)| (*name, path.as_path())).collect();
    zip_binaries(&named, packages.path())?;
    Ok(packages)
}

fn target_folder() -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root()).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo names its target directory")
}

/// A folder with a package for each function.
fn mix(own: &Path, older: &tempfile::TempDir, others: &[&str]) -> Result<tempfile::TempDir> {
    let mixed = tempfile::Builder::new().prefix("mixed-packages-").tempdir_in(own)?;
    for name in FUNCTIONS {
        let from = if others.contains(&name) { older.path() } else { own };
        let zip = format!("{name}.zip");
        fs::copy(from.join(&zip), mixed.path().join(&zip)).with_context(|| format!("copying {zip}"))?;
    }
    Ok(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_has_functions_of_both_trees_and_a_seed_repeats_it() {
        for seed in 0..200 {
            let others = drawn(seed);
            assert!((1..FUNCTIONS.len()).contains(&others.len()), "{others:?}");
            assert_eq!(others, drawn(seed));
        }
    }
}
