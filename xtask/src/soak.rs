//! `cargo xtask soak`: the tests that take too long for every day. `docs/soak.md` keeps the last result, and notes by hand.

use std::fmt::Write;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::binaries::Binaries;
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::project::root;
use crate::{fuzz, simulator, tests};

/// Simulated worlds. Every run of the tests plays the first 10,000 of them.
const SEEDS: &str = "100000";
/// Kills of a server. Every run of the tests does twenty.
const KILLS: &str = "100";
/// Jobs side by side, workers that do them, and how often; the tests have 200, 4 and once.
const FAN: [(&str, &str); 3] = [("WFG_FAN", "1000"), ("WFG_FAN_WORKERS", "8"), ("WFG_FAN_TIMES", "10")];
/// Workflows that run in chaos; the tests have 4.
const CHAOS: (&str, &str) = ("WFG_CHAOS_WORKFLOWS", "30");
/// Every kind of fault at every call; the tests have one kind at each.
const FAULTS: (&str, &str) = ("WFG_FAULTS", "all");
/// What stands between these lines in `docs/soak.md` is written by hand, and kept.
const NOTES: [&str; 2] = ["<!-- notes: kept by `cargo xtask soak` -->", "<!-- end of notes -->"];

/// Runs it all, and writes the result if all passed.
pub fn run() -> Result<()> {
    let mut rows = String::new();
    let mut row = |what: &str, served_by: &str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        let began = Instant::now();
        run().with_context(|| format!("{what} ({served_by})"))?;
        writeln!(rows, "| {what} | {served_by} | {:.0} s |", began.elapsed().as_secs_f32())?;
        Ok(())
    };
    row(&format!("{SEEDS} simulated worlds"), "the simulator", &|| simulator::run(&["--seeds", SEEDS]))?;
    let binaries = Binaries::build()?;
    row(&format!("{KILLS} kills of wfg serve in the middle of a workflow"), "SQLite, in a file", &|| {
        binaries.test("wfg", "killed")?.run(&[], &[("WFG_KILLS", KILLS)])
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
    for kind in Kind::ALL {
        let cloud = Cloud::start(kind, &binaries)?;
        let served_by = kind.to_string();
        if kind == Kind::LocalStack {
            // On MiniStack every run of the tests does it.
            row("the end-to-end suite", &served_by, &|| tests::end_to_end(&cloud, &binaries))?;
        }
        row(&format!("{} workflows in chaos", CHAOS.1), &served_by, &|| {
            tests::end_to_end_filtered(&cloud, &binaries, "chaos::", &[CHAOS])
        })?;
        let [(_, jobs), (_, workers), (_, times)] = FAN;
        row(&format!("fan-out and fan-in of {jobs}, {times} times, {workers} workers"), &served_by, &|| {
            tests::end_to_end_filtered(&cloud, &binaries, "graphs::a_fan_out", &FAN)
        })?;
        if kind == Kind::MiniStack {
            row("every kind of fault at every call", &served_by, &|| {
                tests::own_tables(&cloud, &binaries, "faults", &[FAULTS])
            })?;
        }
        cloud.emulator.stop();
    }
    let path = root().join("docs/soak.md");
    let text = format!(
        "# The last soak\n\n`cargo xtask soak`, {} at commit {}: all passed. Times are of the machine it ran on.\n\n\
         | what | served by | took |\n| --- | --- | --- |\n{rows}{left_out}\n{}",
        output_of(&["date", "-u", "+%Y-%m-%d"])?,
        output_of(&["git", "rev-parse", "--short", "HEAD"])?,
        notes(&fs::read_to_string(&path).unwrap_or_default()),
    );
    fs::write(&path, &text)?;
    println!("{text}");
    Ok(())
}

/// The notes of the file, with the lines around them. A file without notes gets an empty place for them.
fn notes(text: &str) -> String {
    let [begin, end] = NOTES;
    let kept = text.split_once(begin).and_then(|(_, rest)| Some(rest.split_once(end)?.0)).unwrap_or("\n");
    format!("{begin}{kept}{end}\n")
}

fn output_of(command: &[&str]) -> Result<String> {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(root()).output()?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests_of_notes {
    use super::*;

    #[test]
    fn notes_between_the_marks_are_kept() {
        let [begin, end] = NOTES;
        let kept = format!("{begin}\n\nBy hand.\n\n{end}\n");
        assert_eq!(notes(&format!("# The last soak\n\n| old |\n\n{kept}")), kept);
        assert_eq!(notes("nothing"), format!("{begin}\n{end}\n"));
    }

    #[test]
    fn the_file_in_docs_has_the_marks() {
        let text = fs::read_to_string(root().join("docs/soak.md")).unwrap();
        assert!(text.ends_with(&notes(&text)), "docs/soak.md lacks the lines around its notes");
    }
}
