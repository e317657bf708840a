//! Unused dependencies, found by cargo-shear.

use std::process::Command;

use anyhow::{Context, Result};

use crate::project::{install_tools, root, run};

/// Fails if a crate names a dependency that its code doesn't use.
pub fn check() -> Result<()> {
    let program = install_tools("unused", "infra/requirements-unused.txt")?.join("bin/cargo-shear");
    let mut shear = Command::new(program);
    run(shear.args(["--color", "never", "--locked", "--deny-warnings"]).current_dir(root()))
        .context("remove what is named above from the Cargo.toml, or move it to dev-dependencies")
}
