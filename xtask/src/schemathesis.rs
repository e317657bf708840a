//! `cargo xtask schemathesis`: sends thousands of generated requests to a real server and compares its answers with its
//! OpenAPI description.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::binaries::Binaries;
use crate::project::{Running, root, run as checked};
use crate::venv::install_tools;

const FOLDER: &str = "xtask/schemathesis";
/// Jobs that any worker may claim, so that most claims get one.
const JOBS: usize = 500;
/// Checks the description against the schema of the OpenAPI standard.
const VALIDATE: &str = "
import sys, requests, openapi_spec_validator
openapi_spec_validator.validate(requests.get(sys.argv[1], timeout=10).json())
";

/// Builds what it needs, and runs the check.
pub fn run() -> Result<()> {
    check(&Binaries::build()?)
}

/// Fails on any answer 500, and on any that isn't described. `schemathesis.toml` configures the requests.
pub fn check(binaries: &Binaries) -> Result<()> {
    let tools = install_tools("schemathesis", &format!("{FOLDER}/requirements.txt"))?;
    let wfg = binaries.path("wfg")?;
    let folder = tempfile::tempdir()?;
    let (_server, url) = serve(wfg, folder.path())?;
    give_work(wfg, &url, folder.path())?;
    let description = format!("{url}/api/openapi.json");
    checked(Command::new(tools.program("python")).args(["-c", VALIDATE, &description]))?;
    let config = root().join(FOLDER).canonicalize()?;
    let mut schemathesis = Command::new(tools.program("schemathesis"));
    schemathesis.arg("--config-file").arg(config.join("schemathesis.toml")).args(["run", &description]);
    // It writes its files to the temporary folder.
    schemathesis
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", config)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&folder);
    checked(&mut schemathesis)
}

/// Starts an empty server on a free port. Dropping the handle ends it.
fn serve(wfg: &Path, folder: &Path) -> Result<(Running, String)> {
    let mut serve = Command::new(wfg);
    serve.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Running(serve.spawn().context("starting wfg serve")?);
    let output = server.0.stdout.take().context("wfg's output is piped")?;
    for line in BufReader::new(output).lines() {
        if let Some(url) = line?.strip_prefix("wfg serves ") {
            return Ok((server, url.to_owned()));
        }
    }
    anyhow::bail!("wfg serve ended without saying where it listens")
}

fn give_work(wfg: &Path, url: &str, folder: &Path) -> Result<()> {
    let mut definition = "jobs:\n".to_owned();
    for n in 0..JOBS {
        writeln!(definition, "  job-{n}: {{run: 'true'}}")?;
    }
    let file = folder.join("work.yml");
    fs::write(&file, definition)?;
    checked(Command::new(wfg).args(["--server", url, "submit"]).arg(file).stdout(Stdio::null()))
}
