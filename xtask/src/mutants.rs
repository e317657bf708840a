//! `cargo xtask mutants`: changes the engine, the workflow file and the protocol in one place after the other, and fails if no
//! test notices a change. `tests/mutants.json` lists the changes that no test can notice, with reasons.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::project::{cache, install_crate, root, run as checked};

/// cargo-mutants, as published on crates.io.
const TOOL: [&str; 2] = ["cargo-mutants", "27.1.0"];
/// The packages that are changed.
const MUTATED: [&str; 3] = ["workflow-graph-engine", "workflow-graph-workflow", "workflow-graph-protocol"];
/// The packages whose tests must notice a change: their own, the conformance suite in memory, the API on memory, and the
/// simulator.
const TESTED: [&str; 6] = [
    "workflow-graph-protocol",
    "workflow-graph-workflow",
    "workflow-graph-engine",
    "workflow-graph-memory",
    "workflow-graph-api",
    "workflow-graph-simulator",
];
/// The worlds of the simulator for each mutant.
const SEEDS: &str = "2000";
/// Tests of the simulator itself. A mutant of the engine doesn't change what they check.
const SKIPPED: [&str; 2] = ["every_planted_bug_is_found", "seed_determines_every_call"];
/// The time limit of the tests of one mutant. A mutant that takes longer counts as noticed.
const TIMEOUT: Duration = Duration::from_mins(5);
/// The list of mutants that no test can notice.
const LIST: &str = "tests/mutants.json";

/// Which mutants to try. The default is all of them, which takes days.
#[derive(clap::Args)]
pub struct Selection {
    /// Try every n-th mutant, beginning with the k-th from 0 on: `k/n`.
    #[arg(long, conflicts_with = "sample")]
    shard: Option<String>,
    /// Try about this many mutants, spread over all files. Another day's sample has other mutants.
    #[arg(long)]
    sample: Option<u64>,
    /// Try the mutants of this file only, such as `shared/engine/src/timer.rs`. May be repeated.
    #[arg(long = "file")]
    files: Vec<String>,
    /// Try only mutants whose name matches this regular expression.
    #[arg(long = "re")]
    names: Vec<String>,
}

impl Selection {
    /// A sample of about this many mutants.
    pub fn sample(count: u64) -> Self {
        Self { shard: None, sample: Some(count), files: Vec::new(), names: Vec::new() }
    }
}

/// Mutants that no test can notice, for one reason.
#[derive(Deserialize)]
struct Accepted {
    /// Their names, without line and column.
    mutants: Vec<String>,
    reason: String,
}

/// Tries the selected mutants on a copy of the repository. Fails if one survives that isn't listed, or if none was tried.
pub fn run(selection: &Selection) -> Result<()> {
    let folder = cache()?.join("mutants");
    let source = folder.join("source");
    install_crate(TOOL[0], TOOL[0], TOOL[1])?;
    copy_sources(&source)?;
    let accepted = accepted(&fs::read(root().join(LIST))?)?;
    let mut mutants = tool(&source)?;
    mutants.args(["--output".as_ref(), folder.as_os_str()]).args(["--in-place", "--no-shuffle", "--colors", "never"]);
    mutants.args(TESTED.map(|package| ["--test-package", package]).as_flattened());
    mutants.args(["--profile", "mutants", "--timeout", &TIMEOUT.as_secs().to_string()]);
    mutants.args(["--caught", "--unviable", "--baseline", "skip"]);
    select(selection, &source, &mut mutants)?;
    configure_tests(mutants.arg("--"), &folder);
    test_without_mutant(&source, &folder)?;
    let status = mutants.status().context("running cargo-mutants")?;
    // 2: some mutants survived. 3: some timed out.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants ended with {status}; its logs are in {}", folder.join("mutants.out/log").display());
    }
    judge(&folder.join("mutants.out"), &accepted)
}

/// Adds the arguments and variables of the tests to a command of cargo, or of cargo-mutants, which passes them on.
fn configure_tests(command: &mut Command, folder: &Path) {
    // `--tests`: without doc tests, each of which is compiled by itself.
    command.args(["--tests", "--"]).args(SKIPPED.map(|name| ["--skip", name]).as_flattened());
    command.env("CARGO_TARGET_DIR", folder.join("target")).env("CARGO_INCREMENTAL", "1").env("WFG_SIM_SEEDS", SEEDS);
}

/// Fails unless all tests pass without a mutant, within the time limit of a mutant. Otherwise every mutant would count as
/// noticed. cargo-mutants itself would run only the tests of the changed packages.
fn test_without_mutant(source: &Path, folder: &Path) -> Result<()> {
    let test = |more: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--quiet", "--profile", "mutants"]).args(more);
        cargo.args(TESTED.map(|package| ["--package", package]).as_flattened());
        configure_tests(&mut cargo, folder);
        checked(cargo.current_dir(source))
    };
    test(&["--no-run"]).context("the tests don't compile without a mutant")?;
    let began = Instant::now();
    test(&[]).context("the tests fail without a mutant")?;
    let took = began.elapsed();
    ensure!(took < TIMEOUT, "without a mutant the tests take {took:.0?}; the limit for a mutant is {TIMEOUT:?}");
    Ok(())
}

/// A command of cargo-mutants on the copy, with the packages that are changed.
fn tool(source: &Path) -> Result<Command> {
    let mut mutants = Command::new(cache()?.join(TOOL[0]).join("bin").join(TOOL[0]));
    mutants.arg("mutants").arg("--dir").arg(source).args(MUTATED.map(|package| ["--package", package]).as_flattened());
    // Set by the cargo that runs this, for this workspace.
    mutants.env_remove("CARGO_MANIFEST_DIR");
    Ok(mutants)
}

/// Adds the arguments of the selection. Fails if it has no mutant.
fn select(selection: &Selection, source: &Path, mutants: &mut Command) -> Result<()> {
    let filters = |command: &mut Command| {
        command.args(selection.files.iter().flat_map(|file| ["--file", file]));
        command.args(selection.names.iter().flat_map(|name| ["--re", name]));
    };
    let mut list = tool(source)?;
    filters(&mut list);
    let output = list.arg("--list").stderr(Stdio::inherit()).output().context("running cargo-mutants")?;
    ensure!(output.status.success(), "cargo-mutants --list failed");
    let count = String::from_utf8(output.stdout)?.lines().count() as u64;
    ensure!(count > 0, "the selection has no mutants; check the values of --file and --re");
    let shard = match (&selection.shard, selection.sample) {
        (Some(shard), _) => Some(shard.clone()),
        (None, Some(sample)) => {
            let shards = count.div_ceil(sample.max(1)).max(1);
            let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (24 * 60 * 60);
            println!("{count} mutants; this sample is `--shard {}/{shards}`", day % shards);
            Some(format!("{}/{shards}", day % shards))
        }
        (None, None) => None,
    };
    filters(mutants);
    if let Some(shard) = shard {
        mutants.args(["--shard", &shard, "--sharding", "round-robin"]);
    }
    Ok(())
}

/// Copies the files of the repository, with uncommitted changes, to a folder that is kept between runs, so that a build
/// compiles only what has changed. Mutants are made in the copy.
fn copy_sources(to: &Path) -> Result<()> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = list.output().context("running git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout)?;
    // git also names a file that was removed and not yet staged.
    let is_there = |file: &PathBuf| root().join(file).is_file();
    let files: BTreeSet<PathBuf> = names.split_terminator('\0').map(PathBuf::from).filter(is_there).collect();
    fs::create_dir_all(to)?;
    remove_others(to, to, &files)?;
    for file in &files {
        let (from, to) = (root().join(file), to.join(file));
        let new = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
        // An unchanged file keeps its time, so that cargo doesn't compile it again.
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file has a folder")?)?;
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Removes the files of an earlier copy that the repository no longer has.
fn remove_others(folder: &Path, copy: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, copy, files)?;
        } else if !files.contains(path.strip_prefix(copy)?) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn accepted(list: &[u8]) -> Result<BTreeSet<String>> {
    let list: Vec<Accepted> = serde_json::from_slice(list).with_context(|| format!("reading {LIST}"))?;
    ensure!(list.iter().all(|accepted| !accepted.reason.trim().is_empty()), "{LIST} has an entry without a reason");
    Ok(list.into_iter().flat_map(|accepted| accepted.mutants).collect())
}

/// Prints the counts. Fails if a mutant survived that isn't in the list, or if none was tried.
fn judge(results: &Path, accepted: &BTreeSet<String>) -> Result<()> {
    let read = |name: &str| {
        let text = fs::read_to_string(results.join(name)).with_context(|| format!("reading {name}"))?;
        anyhow::Ok(text.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let (caught, timed_out, unviable) = (read("caught.txt")?, read("timeout.txt")?, read("unviable.txt")?);
    let (listed, survived): (Vec<_>, Vec<_>) =
        read("missed.txt")?.into_iter().partition(|mutant| accepted.contains(&without_position(mutant)));
    println!(
        "mutants: {} caught, {} timed out, {} don't compile, {} listed in {LIST}, {} survived",
        caught.len(),
        timed_out.len(),
        unviable.len(),
        listed.len(),
        survived.len()
    );
    let tried = caught.len() + timed_out.len() + listed.len() + survived.len();
    ensure!(tried > 0, "no mutant was tried: the selection has none that compiles");
    ensure!(
        survived.is_empty(),
        "no test notices these changes. Add a test for each; if none is possible, add the change to {LIST} with the reason:\n{}",
        survived.join("\n")
    );
    Ok(())
}

/// A mutant's name without line and column, which change with every edit of the file.
fn without_position(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(change)) => format!("{file}:{change}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(caught: &str, unviable: &str, missed: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [("caught.txt", caught), ("timeout.txt", ""), ("unviable.txt", unviable), ("missed.txt", missed)];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn a_survivor_fails_unless_it_is_listed_whatever_its_line() {
        let missed =
            results("one\n", "", "shared/engine/src/timer.rs:41:9: replace Timers::arm -> Result<()> with Ok(())\n");
        let error = judge(missed.path(), &BTreeSet::new()).unwrap_err().to_string();
        assert!(error.contains("timer.rs:41:9"), "{error}");
        let listed = "shared/engine/src/timer.rs: replace Timers::arm -> Result<()> with Ok(())".to_owned();
        judge(missed.path(), &BTreeSet::from([listed])).unwrap();
    }

    #[test]
    fn a_run_that_tried_no_mutant_fails() {
        judge(results("one\n", "", "").path(), &BTreeSet::new()).unwrap();
        for unviable in ["", "one\n"] {
            assert!(judge(results("", unviable, "").path(), &BTreeSet::new()).is_err(), "{unviable:?}");
        }
    }

    #[test]
    fn an_accepted_mutant_needs_a_reason() {
        assert!(accepted(br#"[{"mutants": ["a: b"], "reason": " "}]"#).is_err());
        accepted(&fs::read(root().join(LIST)).unwrap()).unwrap();
    }
}
