//! `cargo xtask page`: builds the page in `shared/page`. `cargo xtask page test`: tests it, first without a browser, then in Chromium
//! against a real `wfg serve` with workers.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::binaries::Binaries;
use crate::cloud::{Cloud, without_token};
use crate::debian::{self, Needed};
use crate::project::{cache, root, run as checked};

const FOLDER: &str = "shared/page";
/// Contains the lock file from which `node_modules` was installed. Written last: without it the folder is incomplete.
const MARKER: &str = "node_modules/.workflow-graph-complete";
const NODE: [Needed; 2] = [
    Needed {
        check: &["node", "-e", "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)"],
        packages: &["nodejs"],
    },
    Needed { check: &["npm", "--version"], packages: &["npm"] },
];
/// The first one in the path is used. The tests need no other browser.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

#[derive(Args)]
pub struct Page {
    #[command(subcommand)]
    command: Option<PageTask>,
}

#[derive(Subcommand)]
enum PageTask {
    /// Tests the page without a browser, and then in Chromium (`CHROMIUM`, or in the path) against a real server with workers.
    Test {
        /// Test with this `wfg` and build nothing.
        #[arg(long)]
        wfg: Option<PathBuf>,
        /// Only the browser tests whose files' names begin with one of these words; without words, all tests.
        names: Vec<String>,
    },
}

/// Runs the command.
pub fn run(page: &Page) -> Result<()> {
    let Some(PageTask::Test { wfg, names }) = &page.command else {
        install()?;
        return npm(&["run", "build"]);
    };
    if names.is_empty() {
        check()?;
    }
    match wfg {
        Some(wfg) => in_browser(wfg, names),
        None => in_browser(Binaries::build()?.path("wfg")?, names),
    }
}

/// Checks the types and the format, and runs the tests that need no browser.
pub fn check() -> Result<()> {
    install()?;
    npm(&["run", "check"])?;
    npm(&["test"])
}

/// Runs the tests in Chromium; all, or those whose files' names begin with one of these words. Each file starts a server of its own.
pub fn in_browser(wfg: &Path, names: &[String]) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    browser_tests(wfg, &names, &[])
}

/// Runs the tests of a server of functions in Chromium, on a stack. The tests start workers for it.
pub fn on_stack(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let (url, token) = without_token(&cloud.deployed.api_url)?;
    let variables = [("WFG_PAGE_URL", url.as_str()), ("WFG_PAGE_TOKEN", token), ("WFG_PAGE_FUNCTIONS", "1")];
    browser_tests(binaries.path("wfg")?, &["functions"], &variables)
}

fn browser_tests(wfg: &Path, names: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    install()?;
    let wfg = wfg.canonicalize().with_context(|| format!("looking for {}", wfg.display()))?;
    let mut tests = Command::new("node");
    tests.args(["test/run.mjs", "browser"]).args(names).current_dir(root().join(FOLDER));
    tests.env("WFG_PAGE_BIN", wfg).env("CHROMIUM", chromium()?).envs(variables.iter().copied());
    checked(&mut tests).with_context(|| format!("screenshots of failures are in {FOLDER}/.test/failures"))
}

/// Installs the pinned packages, unless they are there. Processes that do this at the same time wait for each other.
fn install() -> Result<()> {
    debian::install(&NODE)?;
    let folder = root().join(FOLDER);
    let pins = fs::read(folder.join("package-lock.json")).context("reading package-lock.json")?;
    fs::create_dir_all(cache()?)?;
    let lock = File::create(cache()?.join("npm.lock"))?;
    lock.lock()?;
    if fs::read(folder.join(MARKER)).is_ok_and(|installed| installed == pins) {
        return Ok(());
    }
    npm(&["ci", "--prefer-offline", "--no-audit", "--no-fund"])?;
    Ok(fs::write(folder.join(MARKER), pins)?)
}

/// Runs npm in the page's folder. It keeps what it downloads in the project's cache.
fn npm(arguments: &[&str]) -> Result<()> {
    let mut npm = Command::new("npm");
    checked(npm.args(arguments).env("npm_config_cache", cache()?.join("npm")).current_dir(root().join(FOLDER)))
}

/// The browser: the variable `CHROMIUM`, or in the path, or Debian's, which is installed if there is none.
fn chromium() -> Result<PathBuf> {
    if let Some(program) = env::var_os("CHROMIUM").or_else(in_path) {
        return Ok(program.into());
    }
    debian::install(&[Needed { check: &["chromium", "--version"], packages: &["chromium"] }])?;
    in_path().map(PathBuf::from).context("chromium isn't in the path")
}

fn in_path() -> Option<std::ffi::OsString> {
    let path = env::var_os("PATH")?;
    let programs = BROWSERS.iter().flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    programs.into_iter().find(|program| program.is_file()).map(PathBuf::into_os_string)
}
