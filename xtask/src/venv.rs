//! Python environments in the user's cache: the tools and emulators that pip installs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::project::{cache, root, run};

/// The first one that is new enough is used.
const PYTHONS: [&str; 4] = ["python3.11", "python3", "python3.12", "python3.13"];
/// Succeeds with a Python that the pinned packages accept. Debian's Python has `venv` without what it needs.
const CHECK: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
/// Written last. An environment without it is incomplete.
const MARKER: &str = "workflow-graph-complete";

/// What an environment contains. Paths are relative to the repository.
pub struct Contents<'a> {
    /// The name of the environment.
    pub name: &'a str,
    /// The file of pinned requirements.
    pub requirements: &'a str,
    /// The pins include every dependency, so pip doesn't look for others.
    pub complete: bool,
    /// The folder of a Python package of this repository, and its subfolder with the code.
    pub package: Option<(&'a str, &'a str)>,
}

/// An environment that is complete.
#[derive(Debug, Clone)]
pub struct Venv(PathBuf);

impl Venv {
    /// A program of the environment, such as `python` or `aws`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// The folder of the programs.
    pub fn programs(&self) -> PathBuf {
        self.0.join("bin")
    }
}

/// Installs the tools of a requirements file, and their dependencies.
pub fn install_tools(name: &str, requirements: &str) -> Result<Venv> {
    Contents { name, requirements, complete: false, package: None }.install()
}

impl Contents<'_> {
    /// Creates the environment, unless it is there. Processes that do this at the same time wait for each other.
    ///
    /// Its folder's name contains a checksum of the contents, so other contents make another environment.
    pub fn install(&self) -> Result<Venv> {
        let files = self.package_files()?;
        let venv = Venv(cache()?.join(format!("venv-{}-{:08x}", self.name, self.checksum(&files)?)));
        // The second check fails if the Python that made the environment has been removed.
        let is_complete = || venv.0.join(MARKER).exists() && venv.program("python").exists();
        if is_complete() {
            return Ok(venv);
        }
        fs::create_dir_all(cache()?)?;
        let lock = File::create(venv.0.with_extension("lock"))?;
        lock.lock()?;
        if !is_complete() {
            eprintln!("Installing {} in {} ...", self.name, venv.0.display());
            self.create(&venv, &files).with_context(|| format!("{} isn't installed", self.name))?;
        }
        Ok(venv)
    }

    fn create(&self, venv: &Venv, files: &[PathBuf]) -> Result<()> {
        run(Command::new(find_python()?).args(["-m", "venv", "--clear"]).arg(&venv.0))?;
        let pip = |more: &[&str], what: &Path| {
            let mut pip = Command::new(venv.program("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]).args(more);
            run(pip.arg(what))
        };
        let requirements = root().join(self.requirements);
        let options: &[&str] = if self.complete { &["--no-deps", "--requirement"] } else { &["--requirement"] };
        pip(options, &requirements)?;
        if let Some((folder, _)) = self.package {
            // From a copy, because building writes into the folder.
            let copy = venv.0.join("package");
            for file in files {
                let to = copy.join(file);
                fs::create_dir_all(to.parent().context("a file has a folder")?)?;
                fs::copy(root().join(folder).join(file), to)?;
            }
            pip(&["--no-deps", "--no-build-isolation"], &copy)?;
        }
        File::create(venv.0.join(MARKER))?;
        Ok(())
    }

    /// The files of the package, relative to its folder, without tests and build results.
    fn package_files(&self) -> Result<Vec<PathBuf>> {
        let Some((folder, code)) = self.package else { return Ok(Vec::new()) };
        let mut files = vec![PathBuf::from("pyproject.toml")];
        for entry in fs::read_dir(root().join(folder).join(code))? {
            let name = PathBuf::from(entry?.file_name());
            if name.extension().is_some_and(|extension| extension == "py") {
                files.push(Path::new(code).join(name));
            }
        }
        files.sort();
        Ok(files)
    }

    fn checksum(&self, files: &[PathBuf]) -> Result<u32> {
        let mut crc = flate2::Crc::new();
        let mut add = |path: &Path| -> Result<()> {
            crc.update(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
            Ok(())
        };
        add(&root().join(self.requirements))?;
        for file in files {
            add(&root().join(self.package.map_or("", |(folder, _)| folder)).join(file))?;
        }
        Ok(crc.sum())
    }
}

/// A Python that the pinned packages accept.
pub fn find_python() -> Result<&'static str> {
    let is_usable = |python: &&str| {
        let check = Command::new(python).args(["-c", CHECK]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        check.is_ok_and(|status| status.success())
    };
    PYTHONS.into_iter().find(is_usable).with_context(|| {
        format!(
            "none of {} is Python 3.11 or newer with the modules venv and ensurepip \
             (on Debian and Ubuntu: apt-get install python3 python3-venv)",
            PYTHONS.join(", ")
        )
    })
}
