//! `cargo xtask soak`: the tests that take too long for every day. `docs/soak.md` has the last result, and notes.

use std::fmt::Write;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::binaries::Binaries;
use crate::cloud::Cloud;
use crate::emulator::Kind;
use crate::project::{between, output_of, root};
use crate::tests::{end_to_end, end_to_end_filtered, forges_on, own_tables};
use crate::{fuzz, mixed, mutants, simulator};

/// Mutants that are tried. No run of the tests tries any.
const MUTANTS: u64 = 40;
/// Simulated worlds. Every run of the tests has the first 10,000 of them.
const SEEDS: &str = "100000";
/// Kills of a server. Every run of the tests has twenty.
const KILLS: &str = "100";
/// Repetitions of graphs of a thousand jobs in one process. Every run of the tests has two.
const WIDE: (&str, &str) = ("WFG_WIDE_RUNS", "50");
/// Jobs side by side, their workers, and repetitions. The tests have 200, 4 and 1.
const FAN: [(&str, &str); 3] = [("WFG_FAN", "1000"), ("WFG_FAN_WORKERS", "8"), ("WFG_FAN_TIMES", "10")];
/// Workflows that run in chaos. The tests have 4.
const CHAOS: (&str, &str) = ("WFG_CHAOS_WORKFLOWS", "30");
/// Every kind of fault at every call. The tests have one kind at each.
const FAULTS: (&str, &str) = ("WFG_FAULTS", "all");
/// The lines around the result in `docs/soak.md`. All other text in the file is written by hand, and stays as it is.
const MARKS: [&str; 2] = ["<!-- result: written by `cargo xtask soak` -->\n", "<!-- end of the result -->\n"];

/// A part of the soak: a row of its table.
struct Part {
    /// Selects it on the command line.
    name: String,
    what: String,
    served_by: &'static str,
    on: Option<Kind>,
    run: Box<Run>,
}

type Run = dyn Fn(&Binaries, Option<&Cloud>) -> Result<()>;

impl Part {
    fn local(
        name: &str,
        what: String,
        served_by: &'static str,
        run: impl Fn(&Binaries) -> Result<()> + 'static,
    ) -> Self {
        Self { name: name.to_owned(), what, served_by, on: None, run: Box::new(move |binaries, _| run(binaries)) }
    }

    fn on(kind: Kind, name: &str, what: String, run: impl Fn(&Cloud, &Binaries) -> Result<()> + 'static) -> Self {
        let run =
            move |binaries: &Binaries, cloud: Option<&Cloud>| run(cloud.context("no cloud was started")?, binaries);
        let name = format!("{name}-{}", kind.name());
        Self { name, what, served_by: kind.title(), on: Some(kind), run: Box::new(run) }
    }
}

/// All parts. Those on the same emulator follow one another.
fn parts() -> Result<Vec<Part>> {
    let seeds = |_: &Binaries| simulator::run(&["--seeds", SEEDS]);
    let kills = |binaries: &Binaries| binaries.test("wfg", "killed")?.run(&[], &[("WFG_KILLS", KILLS)]);
    let wide = |binaries: &Binaries| {
        let (server, filter) = (binaries.test("workflow-graph-server", "server")?, ["wide::wide_graphs"]);
        ensure!(server.count(&filter)? > 0, "no test of the server has {} in its name", filter[0]);
        server.run(&filter, &[WIDE])
    };
    let mutants = |_: &Binaries| mutants::run(&mutants::Selection::sample(MUTANTS));
    let mut parts = vec![
        Part::local("simulator", format!("{SEEDS} simulated worlds"), "the simulator", seeds),
        Part::local(
            "kills",
            format!("{KILLS} kills of wfg serve in the middle of a workflow"),
            "SQLite, in a file",
            kills,
        ),
        Part::local(
            "wide",
            format!("graphs of 1,000 jobs in one process, {} times", WIDE.1),
            "memory, and SQLite",
            wide,
        ),
        Part::local(
            "mixed",
            "selected end-to-end tests with functions of this commit and its parent".to_owned(),
            Kind::MiniStack.title(),
            |_: &Binaries| mixed::run(&mixed::Mixture::with_parent()),
        ),
        Part::local("mutants", format!("a sample of {MUTANTS} mutants"), "cargo-mutants", mutants),
    ];
    let secs = fuzz::secs()?;
    parts.extend(fuzz::TARGETS.map(|target| {
        let run = move |_: &Binaries| fuzz::run(target, secs);
        Part::local(&format!("fuzz-{target}"), format!("fuzz target `{target}`, {secs} s"), "libFuzzer", run)
    }));
    for &kind in Kind::value_variants() {
        if kind == Kind::LocalStack {
            // On MiniStack both are part of `cargo xtask test`.
            parts.push(Part::on(kind, "suite", "the end-to-end suite".to_owned(), end_to_end));
            parts.push(Part::on(kind, "forges", "the tests of links to forges".to_owned(), forges_on));
        }
        parts.push(Part::on(kind, "chaos", format!("{} workflows in chaos", CHAOS.1), |cloud, binaries| {
            end_to_end_filtered(cloud, binaries, "chaos::", &[CHAOS])
        }));
        let [(_, jobs), (_, workers), (_, times)] = FAN;
        let what = format!("fan-out and fan-in of {jobs}, {times} times, {workers} workers");
        parts.push(Part::on(kind, "fan", what, |cloud, binaries| {
            end_to_end_filtered(cloud, binaries, "graphs::a_fan_out", &FAN)
        }));
        if kind == Kind::MiniStack {
            let what = "every kind of fault at every call".to_owned();
            parts.push(Part::on(kind, "faults", what, |cloud, binaries| {
                own_tables(cloud, binaries, "faults", &[FAULTS])
            }));
        }
    }
    Ok(parts)
}

/// Runs all parts, and writes the result if all passed. `only`: runs this part, and writes nothing.
pub fn run(only: Option<&str>) -> Result<()> {
    let path = root().join("docs/soak.md");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    with_result(&text, "")?;
    let mut parts = parts()?;
    let mut left_out = String::new();
    if let Some(only) = only {
        let names: Vec<String> = parts.iter().map(|part| part.name.clone()).collect();
        parts.retain(|part| part.name == only);
        ensure!(!parts.is_empty(), "the soak has no part `{only}`; its parts are {}", names.join(", "));
    } else if let Some(missing) = fuzz::missing() {
        parts.retain(|part| !part.name.starts_with("fuzz-"));
        left_out = format!("\nLeft out: the fuzz targets, since there is {missing}.\n");
    }
    let rows = run_parts(&parts)?;
    let table = format!("| what | served by | took |\n| --- | --- | --- |\n{rows}{left_out}");
    println!("{table}");
    if only.is_none() {
        let (date, commit) =
            (output_of(&["date", "-u", "+%Y-%m-%d"])?, output_of(&["git", "rev-parse", "--short", "HEAD"])?);
        fs::write(&path, with_result(&text, &format!("{date}, commit `{commit}`: all passed.\n\n{table}"))?)?;
    }
    Ok(())
}

fn run_parts(parts: &[Part]) -> Result<String> {
    let binaries = Binaries::build()?;
    let mut rows = String::new();
    let mut cloud: Option<Cloud> = None;
    for Part { what, served_by, on, run, .. } in parts {
        if cloud.as_ref().map(|cloud| cloud.emulator.kind()) != *on {
            // The emulator of the parts before ends first.
            drop(cloud.take());
            cloud = on.map(|kind| Cloud::start(kind, &binaries)).transpose()?;
        }
        let began = Instant::now();
        run(&binaries, cloud.as_ref()).with_context(|| format!("{what} ({served_by})"))?;
        writeln!(rows, "| {what} | {served_by} | {:.0} s |", began.elapsed().as_secs_f32())?;
    }
    Ok(rows)
}

/// The text of the file with another result between the marks.
fn with_result(text: &str, result: &str) -> Result<String> {
    let [begin, end] = MARKS;
    between(text, MARKS, result).with_context(|| format!("docs/soak.md lacks the lines {begin}and {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_outside_the_marks_is_kept() {
        let [begin, end] = MARKS;
        let text = format!("# The last soak\n\nBy hand.\n{begin}\n| old |\n\n{end}\nAlso by hand.\n");
        let expected = format!("# The last soak\n\nBy hand.\n{begin}\n| new |\n\n{end}\nAlso by hand.\n");
        assert_eq!(with_result(&text, "| new |\n").unwrap(), expected);
        assert!(with_result("# The last soak\n", "").is_err(), "a file without the marks is refused");
    }

    #[test]
    fn the_file_in_docs_has_the_marks() {
        with_result(&fs::read_to_string(root().join("docs/soak.md")).unwrap(), "").unwrap();
    }

    #[test]
    fn names_of_parts_are_unique() {
        let names: Vec<String> = parts().unwrap().into_iter().map(|part| part.name).collect();
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }
}
