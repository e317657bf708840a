//! `cargo xtask`: the tasks of the project around the build.

// In groups: each module uses only those of the groups above.
mod project;

mod debian;

mod foreign;
mod fuzz;
mod lanes;
mod modules;
mod mutants;
mod selection;
mod simulator;
mod venv;
mod workflows;

mod dependencies;
mod emulator;
mod package;

mod binaries;
mod deploy;
mod speed;

mod cloud;
mod dist;

mod page;
mod schemathesis;
mod security;
mod tests;

mod cold;
mod cost;
mod demo;
mod mixed;
mod restore;
mod stack;
mod weights;

mod soak;

mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use emulator::Kind;
use package::Arch;

/// The tasks of the project around the build.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Runs the example on a local cloud and shows every job as it goes.
    Demo {
        /// The emulator that stands in for AWS.
        #[arg(long, default_value = "localstack")]
        emulator: Kind,
        /// Show the refusals of a token for staging instead.
        #[arg(long)]
        security: bool,
        /// Leave the cloud running afterwards, and print its address.
        #[arg(long)]
        keep: bool,
    },
    /// Sets up what it needs and runs every check and test.
    Test {
        /// Without LocalStack, and without the page's tests in a browser.
        #[arg(long)]
        quick: bool,
    },
    /// Runs one of the lanes of `cargo xtask test`.
    #[command(hide = true)]
    Lane {
        /// The folder of logs, and of the list of what was built.
        #[arg(long)]
        logs: PathBuf,
        /// As for `test`.
        #[arg(long)]
        quick: bool,
        /// Its name.
        name: String,
    },
    /// Runs the tests that take too long for every day, and writes the result to docs/soak.md.
    Soak {
        /// Run this part alone, and don't write the result.
        #[arg(long)]
        only: Option<String>,
    },
    /// Runs the end-to-end tests on MiniStack with some functions of another revision, by default the parent commit.
    Mixed {
        #[command(flatten)]
        mixture: mixed::Mixture,
    },
    /// Measures servers of the protocol in turns: `wfg serve` in memory and on a file, the original, and others; and `wfg run`.
    Bench(speed::Bench),
    /// Measures the time from the start of a function's process to its first answer, on MiniStack.
    ColdStart {
        /// Measure the functions in this folder, with a name for the table, instead of a new build; may be repeated
        #[arg(long, value_name = "NAME=FOLDER", value_parser = speed::named)]
        functions: Vec<(String, PathBuf)>,
    },
    /// Changes the code in one place after the other, and fails if no test notices a change.
    Mutants {
        #[command(flatten)]
        selection: mutants::Selection,
    },
    /// Runs graphs through the real functions on MiniStack, counts their calls by AWS's rules, and prints what a job costs.
    Cost {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Write the figures to infra/cost-budget.json.
        #[arg(long)]
        bless: bool,
        /// Leave out the graphs of 1,000 jobs, which take minutes.
        #[arg(long)]
        quick: bool,
    },
    /// Measures on MiniStack how much each partition key of the table is used, and prints at which rate which one is throttled first.
    Scale,
    /// Tries `wfg stack` on an emulator: an update that changes nothing, one that fails, and the deletion.
    Stack {
        /// The emulator that stands in for AWS.
        #[arg(long, default_value = "ministack")]
        emulator: Kind,
    },
    /// Finds dependencies that no code uses.
    Unused,
    /// Finds modules of a crate that use each other in a circle.
    Modules,
    /// Measures what each direct dependency costs in a cold build, and writes docs/dependencies.md.
    Dependencies,
    /// Checks the dependencies' licences, sources and versions, and known vulnerabilities if their database can be reached.
    Deny,
    /// Runs the engine in simulated worlds: `--seeds N [--from A]`, `--seed N --trace`, `--bugs`; see `--help`.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<String>,
    },
    /// Sends thousands of generated requests to `wfg serve` and compares its answers with its OpenAPI description.
    Schemathesis,
    /// Builds the page in `shared/page`, or tests it.
    Page(page::Page),
    /// Builds the functions for AWS and writes target/package/<name>.zip.
    Package {
        /// The functions' processor.
        #[arg(long, default_value = "arm64")]
        arch: Arch,
    },
    Dist(dist::Dist),
    /// Prints the template by which a restored table becomes a stack's table: see infra/README.md.
    ImportTemplate,
    /// Starts an emulator.
    #[command(subcommand)]
    Emulator(EmulatorTask),
}

#[derive(Subcommand)]
enum EmulatorTask {
    /// Starts an emulator with the project deployed to it, until Enter is pressed.
    Up {
        /// Which one.
        kind: Kind,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        // The count of parts must be the last line, so a failure isn't an error here.
        Task::Test { quick } => return Ok(if suite::run(quick)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Task::Lane { logs, quick, name } => suite::lane(&name, &logs, quick),
        Task::Demo { emulator, security, keep } => demo::run(emulator, security, keep),
        Task::Soak { only } => soak::run(only.as_deref()),
        Task::Mixed { mixture } => mixed::run(&mixture),
        Task::Bench(bench) => speed::run(&bench),
        Task::ColdStart { functions } => cold::run(&functions),
        Task::Mutants { selection } => mutants::run(&selection),
        Task::Cost { json, bless, quick } => cost::run(json, bless, quick),
        Task::Scale => cost::scale(),
        Task::Stack { emulator } => stack::run(emulator),
        Task::Unused => dependencies::unused(),
        Task::Modules => modules::check(),
        Task::Dependencies => weights::write(),
        Task::Deny => dependencies::deny().map(|checked| println!("checked: {checked}")),
        Task::Sim { args } => simulator::run(&args),
        Task::Schemathesis => schemathesis::run(),
        Task::Page(page) => page::run(&page),
        Task::Package { arch } => package::package(arch),
        Task::Dist(dist) => dist::run(&dist),
        Task::ImportTemplate => restore::import_template().map(|template| print!("{template}")),
        Task::Emulator(EmulatorTask::Up { kind }) => cloud::up(kind),
    }?;
    Ok(ExitCode::SUCCESS)
}
