//! Installs interpreters and the published worker, for workers that are not built here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::project::{cache, install_crate, run};

/// The published worker on crates.io, and the version that the tests name.
const PUBLISHED: &str = "workflow-graph-worker-sdk";
const VERSION: &str = "1.2.11";
/// Its folder in the cache.
const FOLDER: &str = "published-worker";

/// A requirement on the machine: a command that succeeds if it is met, and Debian's packages for it.
struct Needed {
    check: [&'static str; 3],
    packages: &'static [&'static str],
}

const NEEDED: [Needed; 3] = [
    Needed {
        // Debian's Python has `venv` without what it needs.
        check: ["python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))"],
        packages: &["python3", "python3-venv"],
    },
    Needed {
        check: ["node", "-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"],
        packages: &["nodejs"],
    },
    // The published worker is linked to OpenSSL.
    Needed { check: ["pkg-config", "--exists", "openssl"], packages: &["pkg-config", "libssl-dev"] },
];

impl Needed {
    fn is_there(&self) -> bool {
        let [program, arguments @ ..] = self.check;
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Installs missing packages with apt-get, as root or with sudo.
pub fn install_packages() -> Result<()> {
    let missing = || NEEDED.iter().filter(|needed| !needed.is_there()).flat_map(|needed| needed.packages).copied();
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return Ok(());
    }
    let hint = || format!("installing {0} failed; install it by hand (apt-get install {0})", packages.join(" "));
    apt_get(&["update", "--quiet"]).with_context(hint)?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat()).with_context(hint)?;
    let missing: Vec<&str> = missing().collect();
    ensure!(missing.is_empty(), "what apt-get installed for {} is too old, or isn't found in PATH", missing.join(" "));
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let id = Command::new("id").arg("-u").output().context("running id")?;
    let own: &[&str] = if id.stdout.trim_ascii() == b"0" { &[] } else { &["sudo"] };
    let command = [own, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    run(Command::new(command[0]).args(&command[1..]))
}

/// Installs the published worker, unless it is there.
pub fn install_worker() -> Result<()> {
    install_crate(FOLDER, PUBLISHED, VERSION)
}

/// The published worker's program, once it is installed.
pub fn worker() -> Result<PathBuf> {
    Ok(cache()?.join(FOLDER).join("bin").join(PUBLISHED))
}
