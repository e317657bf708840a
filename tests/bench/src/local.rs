//! `wfg run` beside `make`, as whole processes.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::load::Times;
use crate::report::{Row, Sample};
use crate::target::Program;

/// A graph whose jobs run `true`.
struct Graph {
    workload: &'static str,
    jobs: usize,
    /// Each job needs the one before.
    is_chain: bool,
}

impl Graph {
    /// Writes the graph for both programs into a folder.
    fn write(&self, folder: &Path) -> Result<()> {
        let (mut workflow, mut makefile) = ("jobs:\n".to_owned(), String::new());
        let names: Vec<String> = (0..self.jobs).map(|number| format!("j{number}")).collect();
        writeln!(makefile, ".PHONY: all {0}\nall: {0}", names.join(" "))?;
        for (number, name) in names.iter().enumerate() {
            let need = if self.is_chain && number > 0 { names[number - 1].as_str() } else { "" };
            let needs = if need.is_empty() { String::new() } else { format!("needs: {need}, ") };
            writeln!(workflow, "  {name}: {{{needs}run: 'true'}}")?;
            // A shell is started for this command, as `wfg` does for every one.
            writeln!(makefile, "{name}: {need}\n\t@true;")?;
        }
        fs::write(folder.join("workflow.yaml"), workflow)?;
        fs::write(folder.join("Makefile"), makefile)?;
        Ok(())
    }
}

/// Runs a graph of `roots` jobs that need nothing, and a chain of `chain` jobs, with each program and with `make -j2`, in turns.
pub fn compare(programs: &[Program], roots: usize, chain: usize, rounds: usize) -> Result<Vec<Row>> {
    let graphs = [
        Graph { workload: "run of roots", jobs: roots, is_chain: false },
        Graph { workload: "run of a chain", jobs: chain, is_chain: true },
    ];
    let mut rows = Vec::new();
    for graph in graphs {
        let folder = tempfile::tempdir()?;
        graph.write(folder.path())?;
        let mut commands: Vec<(String, Command)> = vec![("make -j2".to_owned(), Command::new("make"))];
        commands[0].1.args(["-j2", "-s"]);
        for program in programs {
            let mut command = Command::new(&program.path);
            command.args(["run", "--concurrency", "2", "workflow.yaml"]);
            commands.push((program.name.clone(), command));
        }
        let mut samples = vec![Vec::new(); commands.len()];
        for _ in 0..rounds {
            for ((name, command), samples) in commands.iter_mut().zip(&mut samples) {
                command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let began = Instant::now();
                let status = command.status().with_context(|| format!("running {name}"))?;
                let all = began.elapsed();
                ensure!(status.success(), "{name} ended with {status}");
                let each = all / u32::try_from(graph.jobs)?;
                samples.push(Sample::of(Times { each: vec![each; graph.jobs], all }, None));
            }
        }
        let jobs = graph.jobs as f64;
        let seconds =
            |samples: &[Sample]| jobs / Row::of("", String::new(), String::new(), samples, String::new()).per_second;
        let of_make = seconds(&samples[0]);
        for ((name, _), samples) in commands.into_iter().zip(samples) {
            let took = seconds(&samples);
            let note = format!("{:.0} ms, {:.2} times make", took * 1000.0, took / of_make);
            rows.push(Row::of(graph.workload, format!("{} jobs", graph.jobs), name, &samples, note));
        }
    }
    Ok(rows)
}
