//! The Python environments that the emulators run in.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::Kind;
use crate::project::{cache, root};

/// In this order: the versions were pinned with the first one.
const PYTHONS: [&str; 4] = ["python3.11", "python3", "python3.12", "python3.13"];
/// What the pinned packages ask for.
const OLDEST_PYTHON: (u32, u32) = (3, 11);
/// Written last: an environment without it is not complete.
const MARKER: &str = "workflow-graph-complete";

/// An environment with an emulator and the AWS command line.
#[derive(Debug, Clone)]
pub struct Venv {
    root: PathBuf,
}

impl Venv {
    /// A program of the environment, such as `python` or `aws`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    fn is_complete(&self) -> bool {
        // The second check fails when the Python that the environment was made with has been removed.
        self.root.join(MARKER).exists() && self.program("python").exists()
    }
}

/// Creates the emulator's environment in the user's cache, unless it's there.
///
/// Its name contains a hash of all that goes in: other pins or other plugins make another environment. Runs at
/// the same time wait for each other.
pub fn install(kind: Kind) -> anyhow::Result<Venv> {
    let sources = Sources::read(kind)?;
    let cache = cache()?;
    let root = cache.join(format!("venv-{}-{:08x}", kind.name(), sources.hash()));
    let venv = Venv { root };
    if venv.is_complete() {
        return Ok(venv);
    }
    fs::create_dir_all(&cache)?;
    let lock = File::create(venv.root.with_extension("lock"))?;
    lock.lock()?;
    if !venv.is_complete() {
        eprintln!("Installing {kind} in {} ...", venv.root.display());
        create(&venv, &sources).with_context(|| format!("{kind} isn't installed"))?;
    }
    Ok(venv)
}

fn create(venv: &Venv, sources: &Sources) -> anyhow::Result<()> {
    let python = find_python()?;
    if venv.root.exists() {
        fs::remove_dir_all(&venv.root)?;
    }
    run(Command::new(python).args(["-m", "venv"]).arg(&venv.root))?;
    pip(venv, &["--requirement".as_ref(), &sources.requirements])?;
    if !sources.plugins.is_empty() {
        // From a copy, because building writes into the source folder.
        let copy = venv.root.join("plugins");
        sources.copy_plugins(&copy)?;
        pip(venv, &["--no-build-isolation".as_ref(), &copy])?;
    }
    File::create(venv.root.join(MARKER))?;
    Ok(())
}

/// Runs pip with the user's own settings; the pins are complete, so it has no dependencies to find.
fn pip(venv: &Venv, arguments: &[&Path]) -> anyhow::Result<()> {
    let options = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"];
    run(Command::new(venv.program("python")).args(options).args(arguments))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("can't run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn find_python() -> anyhow::Result<&'static str> {
    let mut tried = Vec::new();
    for python in PYTHONS {
        match check_python(python) {
            Ok(()) => return Ok(python),
            Err(reason) => tried.push(format!("  {python}: {reason}")),
        }
    }
    let (major, minor) = OLDEST_PYTHON;
    bail!(
        "Python {major}.{minor} or newer with the modules venv and ensurepip is needed \
         (on Debian and Ubuntu: apt-get install python3 python3-venv). Tried:\n{}",
        tried.join("\n")
    )
}

fn check_python(python: &str) -> anyhow::Result<()> {
    let script = "import sys; print(*sys.version_info[:2]); import venv, ensurepip";
    let output = Command::new(python).args(["-c", script]).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let version: Vec<u32> = printed.split_whitespace().map_while(|number| number.parse().ok()).collect();
    let [major, minor] = version[..] else {
        bail!("doesn't run");
    };
    ensure!((major, minor) >= OLDEST_PYTHON, "is version {major}.{minor}");
    ensure!(output.status.success(), "lacks venv or ensurepip");
    Ok(())
}

/// What an environment is made from.
struct Sources {
    requirements: PathBuf,
    plugins_root: PathBuf,
    /// Relative to `plugins_root`, sorted.
    plugins: Vec<PathBuf>,
    hash: u64,
}

impl Sources {
    fn read(kind: Kind) -> anyhow::Result<Self> {
        let root = root().join("localstack");
        let requirements = root.join(format!("requirements-{}.txt", kind.name()));
        let plugins_root = root.join("plugins");
        let plugins = match kind {
            Kind::LocalStack => plugin_files(&plugins_root)?,
            Kind::MiniStack => Vec::new(),
        };
        let mut hash = Fnv::default();
        hash.add_file(&requirements)?;
        for file in &plugins {
            hash.add(file.as_os_str().as_encoded_bytes());
            hash.add_file(&plugins_root.join(file))?;
        }
        let hash = hash.finish();
        Ok(Self { requirements, plugins_root, plugins, hash })
    }

    fn hash(&self) -> u64 {
        self.hash
    }

    fn copy_plugins(&self, target: &Path) -> anyhow::Result<()> {
        for file in &self.plugins {
            let copy = target.join(file);
            fs::create_dir_all(copy.parent().context("a file has a folder")?)?;
            fs::copy(self.plugins_root.join(file), copy)?;
        }
        Ok(())
    }
}

/// The package's files: neither its tests nor what Python and pip leave there.
fn plugin_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let package = PathBuf::from("host_mode");
    let mut files = vec![PathBuf::from("pyproject.toml")];
    let folder = root.join(&package);
    for entry in fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|extension| extension == "py") {
            files.push(package.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// FNV-1a: a hash that stays the same with every compiler, unlike the standard library's.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_file(&mut self, path: &Path) -> anyhow::Result<()> {
        self.add(&fs::read(path).with_context(|| format!("can't read {}", path.display()))?);
        Ok(())
    }

    /// Both halves, folded into one.
    fn finish(&self) -> u64 {
        (self.0 ^ (self.0 >> 32)) & 0xffff_ffff
    }
}
