//! The project's binaries, built as the tests build them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::package::{FUNCTIONS, root, zip_binaries};

/// Said whenever the whole workspace is built, so that all of it is built once: the worker also polls queues, and `wfg`
/// puts dead letters back.
pub const FEATURES: [&str; 2] = ["--features", "wfg/aws"];

/// Where the binaries of some packages are.
pub struct Binaries(HashMap<String, PathBuf>);

impl Binaries {
    /// Builds the functions, the worker and `wfg`, with the profile and features that the tests use.
    pub fn build() -> Result<Self> {
        // The whole workspace, as clippy and the tests see it: a part would unify features differently, and compile
        // the client libraries of AWS once more.
        let mut cargo = Command::new(env!("CARGO"))
            .args([
                "build",
                "--workspace",
                "--bins",
                "--exclude",
                "xtask",
                "--message-format",
                "json-render-diagnostics",
            ])
            .args(FEATURES)
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .context("running cargo build")?;
        let output = cargo.stdout.take().context("cargo's output is piped")?;
        let mut found = HashMap::new();
        for line in BufReader::new(output).lines() {
            let message: Value = serde_json::from_str(&line?)?;
            if let (Some(path), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
                found.insert(name.to_owned(), PathBuf::from(path));
            }
        }
        ensure!(cargo.wait()?.success(), "cargo build failed");
        Ok(Self(found))
    }

    /// The binary of this name.
    pub fn path(&self, name: &str) -> Result<&Path> {
        self.0.get(name).map(PathBuf::as_path).with_context(|| format!("cargo built no binary {name}"))
    }

    /// Packages the functions for an emulator, stripped; returns the folder.
    pub fn packages(&self) -> Result<PathBuf> {
        let folder = self.path(FUNCTIONS[0])?.parent().context("a binary has a folder")?.join("emulator-packages");
        std::fs::create_dir_all(&folder)?;
        let mut stripped = Vec::new();
        for name in FUNCTIONS {
            stripped.push((name, strip(self.path(name)?, &folder.join(name))?));
        }
        let named: Vec<(&str, &Path)> = stripped.iter().map(|(name, path)| (*name, path.as_path())).collect();
        zip_binaries(&named, &folder)?;
        Ok(folder)
    }
}

/// Writes the binary without its debug information, unless that was done since it was built.
fn strip(binary: &Path, to: &Path) -> Result<PathBuf> {
    let built = std::fs::metadata(binary)?.modified()?;
    if std::fs::metadata(to).and_then(|there| there.modified()).is_ok_and(|at| at > built) {
        return Ok(to.to_owned());
    }
    let status = Command::new("strip").arg("-o").arg(to).arg(binary).status();
    let status = status.context("running `strip`, which comes with the linker, in Debian's package binutils")?;
    if !status.success() {
        bail!("strip of {} failed", binary.display());
    }
    Ok(to.to_owned())
}
