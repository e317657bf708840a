//! What every package contains: the program, its manual pages and completions, the licences.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::Compression;

use super::archive::{Tree, gz};
use crate::project::root;

/// The name of the program, and of its package on `PyPI`, npm and Debian.
pub const NAME: &str = "wfg";
/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// One line about the program.
pub const DESCRIPTION: &str = "A DAG workflow engine in one program: runs, serves, submits and watches workflows";
/// As in `Cargo.toml`.
pub const LICENCE: &str = "MIT OR Apache-2.0";

/// Where each shell looks for completions, below `share`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/wfg"),
    ("fish", "fish/vendor_completions.d/wfg.fish"),
    ("zsh", "zsh/site-functions/_wfg"),
];

/// The content of the packages for one platform.
pub struct Payload {
    /// The program.
    pub binary: Vec<u8>,
    /// Manual pages and completions, with paths such as `share/man/man1/wfg.1.gz`.
    pub shared: Tree,
    pub licences: Tree,
    /// The text that registries show.
    pub readme: String,
    /// How the packages are compressed.
    pub compression: Compression,
}

impl Payload {
    /// Around `binary`. The texts come from `runnable`, which runs on this machine and is built from the same code.
    pub fn new(binary: &Path, runnable: &Path) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
        let mut licences = Tree::default();
        for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
            licences.file(name, read(&root().join(name))?);
        }
        let readme = String::from_utf8(read(&root().join("docs/package.md"))?)?;
        Ok(Self {
            binary: read(binary)?,
            shared: shared(runnable)?,
            licences,
            readme,
            compression: Compression::best(),
        })
    }

    /// Around a program that runs on this machine; the packages are made quickly and are large.
    pub fn quick(wfg: &Path) -> Result<Self> {
        Ok(Self { compression: Compression::none(), ..Self::new(wfg, wfg)? })
    }
}

fn shared(wfg: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let pages = tempfile::tempdir()?;
    output_of(wfg, &["man".as_ref(), pages.path()])?;
    for page in fs::read_dir(pages.path())? {
        let page = page?;
        let name = page.file_name().into_string().ok().context("a manual page's name is UTF-8")?;
        tree.file(format!("share/man/man1/{name}.gz"), gz(&fs::read(page.path())?, Compression::best())?);
    }
    for (shell, path) in COMPLETIONS {
        tree.file(format!("share/{path}"), output_of(wfg, &["completions".as_ref(), shell.as_ref()])?);
    }
    Ok(tree)
}

fn output_of(wfg: &Path, arguments: &[&Path]) -> Result<Vec<u8>> {
    // Without variables, whose values a help text could show.
    let output = Command::new(wfg).args(arguments).env_clear().output();
    let output = output.with_context(|| format!("starting {}", wfg.display()))?;
    ensure!(output.status.success(), "wfg {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
