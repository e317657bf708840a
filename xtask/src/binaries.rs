//! Everything that cargo builds for the tests: programs and test binaries, compiled once.
//!
//! One command builds all of it. A second command with other packages or other targets would resolve other features,
//! and compile the AWS libraries again.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::package::{FUNCTIONS, zip_binaries};
use crate::project::{root, run};

/// The features of every build: the worker also polls queues, and `wfg` redrives dead letters.
pub const FEATURES: [&str; 2] = ["--features", "wfg/aws"];

/// The artifacts of one build.
pub struct Binaries(Vec<Binary>);

/// A program, or a program of tests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Binary {
    /// The name of cargo's target.
    pub name: String,
    /// The package's name.
    pub package: String,
    /// The package's folder, where cargo would run a test.
    folder: PathBuf,
    path: PathBuf,
    is_test: bool,
    /// A test binary of a file or folder in `tests`, not one of a library or program.
    is_integration: bool,
}

impl Binaries {
    /// Builds the workspace: all programs, tests and examples.
    pub fn build() -> Result<Self> {
        let mut cargo = Command::new(env!("CARGO"))
            .args(["build", "--workspace", "--all-targets", "--message-format", "json-render-diagnostics"])
            .args(FEATURES)
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .context("running cargo build")?;
        let output = cargo.stdout.take().context("cargo's output is piped")?;
        let mut binaries = Vec::new();
        for line in BufReader::new(output).lines() {
            binaries.extend(Binary::from_message(&serde_json::from_str(&line?)?));
        }
        ensure!(cargo.wait()?.success(), "cargo build failed");
        Ok(Self(binaries))
    }

    /// Writes the list of the artifacts, for another process of the same run.
    pub fn save(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_vec(&self.0)?).with_context(|| format!("writing {}", file.display()))
    }

    /// Reads what [`Self::save`] wrote.
    pub fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        Ok(Self(serde_json::from_str(&text)?))
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> Result<&Path> {
        let found = self.0.iter().find(|binary| !binary.is_test && binary.name == name);
        found.map(|binary| binary.path.as_path()).with_context(|| format!("cargo built no program {name}"))
    }

    /// A test binary of a package, from its folder `tests`.
    pub fn test(&self, package: &str, name: &str) -> Result<&Binary> {
        let wanted = |binary: &&Binary| binary.package == package && binary.name == name && binary.is_integration;
        let found = self.tests().find(wanted);
        found.with_context(|| format!("cargo built no test {name} of {package}"))
    }

    /// Every test binary.
    pub fn tests(&self) -> impl Iterator<Item = &Binary> {
        self.0.iter().filter(|binary| binary.is_test)
    }

    /// Packages the functions for an emulator, stripped. Returns the folder.
    pub fn packages(&self) -> Result<PathBuf> {
        let folder = self.path(FUNCTIONS[0])?.parent().context("a binary has a folder")?.join("emulator-packages");
        fs::create_dir_all(&folder)?;
        let mut stripped = Vec::new();
        for name in FUNCTIONS {
            stripped.push((name, strip(self.path(name)?, &folder.join(name))?));
        }
        let named: Vec<(&str, &Path)> = stripped.iter().map(|(name, path)| (*name, path.as_path())).collect();
        zip_binaries(&named, &folder)?;
        Ok(folder)
    }
}

impl Binary {
    /// The binary of a `compiler-artifact` message of cargo. Other messages, and libraries, have none.
    fn from_message(message: &Value) -> Option<Self> {
        let path = message["executable"].as_str()?;
        let target = &message["target"];
        let is_test = message["profile"]["test"].as_bool()?;
        let kinds: Vec<&str> = target["kind"].as_array()?.iter().filter_map(Value::as_str).collect();
        if !is_test && !kinds.contains(&"bin") {
            return None;
        }
        let manifest = Path::new(message["manifest_path"].as_str()?);
        Some(Self {
            name: target["name"].as_str()?.to_owned(),
            package: package_name(message["package_id"].as_str()?)?.to_owned(),
            folder: manifest.parent()?.to_owned(),
            path: path.into(),
            is_test,
            is_integration: kinds.contains(&"test"),
        })
    }

    /// A command that runs the binary as `cargo test` would.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder).env("CARGO", env!("CARGO"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the tests with these arguments and more variables set.
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        run(self.command().args(arguments).envs(variables.iter().copied()))
            .with_context(|| format!("{} of {}", self.name, self.package))
    }
}

impl Binary {
    /// The number of tests that [`Self::run`] would run with these arguments. A test binary that runs none passes.
    pub fn count(&self, arguments: &[&str]) -> Result<usize> {
        let listed = self.command().args(arguments).args(["--list", "--format", "terse"]).output();
        let listed = listed.with_context(|| format!("listing the tests of {}", self.name))?;
        ensure!(listed.status.success(), "{} can't list its tests", self.name);
        Ok(String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.ends_with(": test")).count())
    }
}

/// The name in `path+file:///repository/cli#wfg@0.1.0` or `path+file:///repository/wfg#0.1.0`.
fn package_name(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.rsplit_once('@') {
        Some((name, _)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

/// Writes the binary without its debug information, unless that was done since it was built.
fn strip(binary: &Path, to: &Path) -> Result<PathBuf> {
    let built = fs::metadata(binary)?.modified()?;
    if fs::metadata(to).and_then(|there| there.modified()).is_ok_and(|at| at > built) {
        return Ok(to.to_owned());
    }
    // Runs side by side may strip at the same time, so the file appears complete or not at all.
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&partial).arg(binary).status();
    let status = status.context("running `strip`, which comes with the linker, in Debian's package binutils")?;
    if !status.success() {
        bail!("strip of {} failed", binary.display());
    }
    fs::rename(partial, to)?;
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(kind: &str, is_test: bool, executable: Option<&str>) -> Value {
        json!({
            "reason": "compiler-artifact",
            "package_id": "path+file:///repository/cli#wfg@0.1.0",
            "manifest_path": "/repository/cli/Cargo.toml",
            "target": { "kind": [kind], "name": "killed" },
            "profile": { "test": is_test },
            "executable": executable,
        })
    }

    #[test]
    fn programs_and_tests_are_found_in_the_messages_of_cargo() {
        let test = Binary::from_message(&message("test", true, Some("/target/killed-1"))).unwrap();
        assert_eq!((test.name.as_str(), test.package.as_str(), test.is_test), ("killed", "wfg", true));
        assert_eq!(test.folder, Path::new("/repository/cli"));
        assert!(!Binary::from_message(&message("bin", false, Some("/target/wfg"))).unwrap().is_test);
        assert!(Binary::from_message(&message("lib", false, None)).is_none());
        assert!(Binary::from_message(&message("example", false, Some("/target/example"))).is_none());
        assert!(Binary::from_message(&json!({ "reason": "build-finished" })).is_none());
    }

    #[test]
    fn tests_that_a_filter_selects_are_counted() {
        let this = Binary {
            name: "xtask".to_owned(),
            package: "xtask".to_owned(),
            folder: env!("CARGO_MANIFEST_DIR").into(),
            path: std::env::current_exe().unwrap(),
            is_test: true,
            is_integration: false,
        };
        let name = "binaries::tests::tests_that_a_filter_selects_are_counted";
        assert_eq!(this.count(&["--exact", name]).unwrap(), 1);
        assert_eq!(this.count(&["--exact", name, "no::such::test", "--test-threads=1"]).unwrap(), 1);
        assert!(this.count(&["binaries::", "--nocapture"]).unwrap() > 1);
        assert_eq!(this.count(&["no::such::test"]).unwrap(), 0);
    }

    #[test]
    fn a_package_without_a_name_in_its_id_has_the_name_of_its_folder() {
        assert_eq!(package_name("path+file:///repository/xtask#0.1.0"), Some("xtask"));
    }

    #[test]
    fn a_saved_list_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("binaries.json");
        let of = |kind, path| Binary::from_message(&message(kind, true, Some(path))).unwrap();
        let binaries = vec![of("bin", "/target/killed-0"), of("test", "/target/killed-1")];
        Binaries(binaries).save(&file).unwrap();
        let read = Binaries::load(&file).unwrap();
        assert_eq!(read.test("wfg", "killed").unwrap().path, Path::new("/target/killed-1"));
        assert!(read.path("killed").is_err());
    }
}
