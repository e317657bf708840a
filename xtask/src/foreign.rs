//! Installs interpreters and the published worker, for workers that are not built here.

use std::path::PathBuf;

use anyhow::Result;

use crate::debian::{self, Needed};
use crate::project::{cache, install_crate};

/// The published worker on crates.io, and the version that the tests name.
const PUBLISHED: &str = "workflow-graph-worker-sdk";
const VERSION: &str = "1.2.11";
/// Its folder in the cache.
const FOLDER: &str = "published-worker";

const NEEDED: [Needed; 3] = [
    Needed {
        // Debian's Python has `venv` without what it needs.
        check: &["python3", "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))"],
        packages: &["python3", "python3-venv"],
    },
    Needed {
        check: &["node", "-e", "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"],
        packages: &["nodejs"],
    },
    // The published worker is linked to OpenSSL.
    Needed { check: &["pkg-config", "--exists", "openssl"], packages: &["pkg-config", "libssl-dev"] },
];

/// Installs missing packages.
pub fn install_packages() -> Result<()> {
    debian::install(&NEEDED)
}

/// Installs the published worker, unless it is there.
pub fn install_worker() -> Result<()> {
    install_crate(FOLDER, PUBLISHED, VERSION)
}

/// The published worker's program, once it is installed.
pub fn worker() -> Result<PathBuf> {
    Ok(cache()?.join(FOLDER).join("bin").join(PUBLISHED))
}
