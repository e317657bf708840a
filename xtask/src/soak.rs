//! `cargo xtask soak`: what takes too long for every day. Its last result is kept in `docs/soak.md`.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::binaries::Binaries;
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::fuzz;
use crate::package::root;
use crate::suite::{cargo, own_tables, simulate, target};

/// Simulated worlds, of which every run of the tests plays the first 10,000.
const SEEDS: &str = "100000";
/// Kills of a server, of which every run of the tests does twenty.
const KILLS: &str = "100";
/// Jobs side by side, workers that do them, and how often; the tests have 200, 4 and once.
const FAN: [(&str, &str); 3] = [("WFG_FAN", "1000"), ("WFG_FAN_WORKERS", "8"), ("WFG_FAN_TIMES", "10")];
/// Workflows that go through chaos times, where the tests have 4.
const ROUGH: (&str, &str) = ("WFG_ROUGH", "30");
/// Of every kind of fault, one at every call, where the tests have one kind at each.
const FAULTS: (&str, &str) = ("WFG_FAULTS", "all");

/// Runs it all, and writes the result if all passed.
pub fn run() -> Result<()> {
    let mut rows = String::new();
    let mut row = |what: &str, served_by: &str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        let began = Instant::now();
        run().with_context(|| format!("{what} ({served_by})"))?;
        writeln!(rows, "| {what} | {served_by} | {:.0} s |", began.elapsed().as_secs_f32())?;
        Ok(())
    };
    row(&format!("{SEEDS} simulated worlds"), "the simulator", &|| simulate(&["--seeds", SEEDS]))?;
    row(&format!("{KILLS} kills of wfg serve in the middle of a workflow"), "SQLite, in a file", &|| {
        cargo(&["test", "-p", "wfg", "--test", "killed"], &[("WFG_KILLS", KILLS)])
    })?;
    let secs = fuzz::secs()?;
    let left_out = match fuzz::missing() {
        None => {
            for target in fuzz::TARGETS {
                row(&format!("fuzz target `{target}`, {secs} s"), "libFuzzer", &|| fuzz::run(target, secs))?;
            }
            String::new()
        }
        Some(missing) => format!("\nLeft out: the fuzz targets, since there is {missing}.\n"),
    };
    let binaries = Binaries::build()?;
    for kind in Kind::ALL {
        let cloud = Cloud::start(kind, &binaries)?;
        let end_to_end = |test: &str, which: &str, more: &[(&str, &str)]| {
            let variables = [&target(&cloud, &binaries)?, more].concat();
            cargo(&["test", "-p", "workflow-graph-tests", "--test", test, which, "--", "--nocapture"], &variables)
        };
        row(&format!("{} workflows in chaos times", ROUGH.1), &kind.to_string(), &|| {
            end_to_end("chaos", "", &[ROUGH])
        })?;
        let [(_, jobs), (_, workers), (_, times)] = FAN;
        let fans = format!("fan-out and fan-in of {jobs}, {times} times, {workers} workers");
        row(&fans, &kind.to_string(), &|| end_to_end("graphs", "a_fan_out", &FAN))?;
        if kind == Kind::MiniStack {
            row("every kind of fault at every call", &kind.to_string(), &|| own_tables(&cloud, "faults", &[FAULTS]))?;
        }
        cloud.emulator.stop();
    }
    let text = format!(
        "# The last soak\n\n`cargo xtask soak`, {} at commit {}: all passed. Times are of the machine it ran on.\n\n\
         | what | served by | took |\n| --- | --- | --- |\n{rows}{left_out}",
        said(&["date", "-u", "+%Y-%m-%d"])?,
        said(&["git", "rev-parse", "--short", "HEAD"])?,
    );
    fs::write(root().join("docs/soak.md"), &text)?;
    println!("{text}");
    Ok(())
}

fn said(command: &[&str]) -> Result<String> {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(root()).output()?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
