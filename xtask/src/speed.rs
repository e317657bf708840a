//! `cargo xtask bench`: measures servers in turns. The workloads are in `tests/bench`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::report::{HEADING, Row};
use bench::target::{Program, Target};
use bench::{LOCAL, Sizes, WORKLOADS};
use clap::Args;

use crate::project::{cache, cargo, install_crate, root, target_folder};

/// The original project's server, a published crate.
const ORIGINAL: (&str, &str) = ("workflow-graph-server", "1.2.11");

#[derive(Args)]
pub struct Bench {
    /// Measure the server at this URL too; may be repeated
    #[arg(long, value_name = "URL")]
    peer: Vec<String>,
    /// Measure the original project's server too; it is built the first time
    #[arg(long)]
    original: bool,
    /// Measure this `wfg`, with a name for the table, instead of a new build; may be repeated to compare builds
    #[arg(long, value_name = "NAME=FILE", value_parser = named)]
    wfg: Vec<(String, PathBuf)>,
    /// Run this workload only; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave out servers that keep nothing, or those that keep it in a file
    #[arg(long, value_name = "memory|disk")]
    store: Option<String>,
    /// Clients at a time, separated by commas
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Jobs that are claimed and completed in each round
    #[arg(long)]
    jobs: Option<usize>,
    /// Numbers of waiting jobs, separated by commas
    #[arg(long, value_delimiter = ',')]
    waiting: Vec<usize>,
    /// Jobs of the workload `finished`
    #[arg(long)]
    finished: Option<usize>,
    /// How often each figure is taken
    #[arg(long)]
    rounds: Option<usize>,
    /// Folder for the files of servers, on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads `NAME=FILE`.
pub fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or_else(|| format!("`{text}` isn't NAME=FILE"))?;
    Ok((name.to_owned(), path.into()))
}

/// Runs the workloads, and prints each row as it is measured.
pub fn run(bench: &Bench) -> Result<()> {
    let programs = bench.programs()?;
    let (targets, sizes) = (bench.targets(&programs)?, bench.sizes());
    let folder = bench.folder.clone().unwrap_or_else(|| root().join("target"));
    let mut rows: Vec<Row> = Vec::new();
    let mut show = |row: Row| {
        if !bench.json {
            println!("{row}");
        }
        rows.push(row);
    };
    if !bench.json {
        println!("{HEADING}");
    }
    let all: Vec<&str> = WORKLOADS.into_iter().chain([LOCAL]).collect();
    let names = if bench.only.is_empty() { all } else { bench.only.iter().map(String::as_str).collect() };
    for name in names {
        if name == LOCAL {
            bench::compare_local(&programs, &sizes)?.into_iter().for_each(&mut show);
        } else {
            bench::measure(name, &targets, &folder, &sizes, &mut show)?;
        }
    }
    if bench.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(())
}

impl Bench {
    fn programs(&self) -> Result<Vec<Program>> {
        if !self.wfg.is_empty() {
            let programs = self.wfg.iter();
            return Ok(programs.map(|(name, path)| Program { name: name.clone(), path: path.clone() }).collect());
        }
        cargo(&["build", "--release", "--package", "wfg"], &[])?;
        Ok(vec![Program { name: "wfg".to_owned(), path: target_folder().join("release/wfg") }])
    }

    fn targets(&self, programs: &[Program]) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for program in programs {
            match self.store.as_deref() {
                None => targets.extend([Target::Memory(program.clone()), Target::Disk(program.clone())]),
                Some("memory") => targets.push(Target::Memory(program.clone())),
                Some("disk") => targets.push(Target::Disk(program.clone())),
                Some(other) => bail!("--store is `memory` or `disk`, not `{other}`"),
            }
        }
        if self.original {
            targets.push(Target::Original(original()?));
        }
        for url in &self.peer {
            let host = url.strip_prefix("http://").with_context(|| format!("{url} doesn't begin with http://"))?;
            targets.push(Target::Peer { host: host.trim_end_matches('/').to_owned() });
        }
        Ok(targets)
    }

    fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::full();
        sizes.rounds = self.rounds.unwrap_or(sizes.rounds);
        sizes.jobs = self.jobs.unwrap_or(sizes.jobs);
        sizes.finished = self.finished.unwrap_or(sizes.finished);
        for (given, of) in [(&self.threads, &mut sizes.threads), (&self.waiting, &mut sizes.waiting)] {
            if !given.is_empty() {
                of.clone_from(given);
            }
        }
        sizes
    }
}

/// The original's server. Builds it in the cache, unless it is there.
fn original() -> Result<Program> {
    let (name, version) = ORIGINAL;
    let folder = format!("original-{version}");
    install_crate(&folder, name, version)?;
    Ok(Program { name: "original".to_owned(), path: cache()?.join(folder).join("bin").join(name) })
}
