//! `cargo xtask`: the tasks of the project around the build.

// In this order: each uses only those above.
mod deny;
mod foreign;
mod fuzz;
mod lanes;
mod package;
mod project;
mod selection;
mod simulator;
mod unused;

mod binaries;
mod emulator;

mod deploy;

mod cloud;

mod schemathesis;
mod security;
mod tests;

mod demo;
mod soak;

mod suite;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use emulator::Kind;
use package::Arch;

/// What the project needs done around the build.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Runs the example on a local cloud and shows every job as it goes.
    Demo {
        /// What stands for AWS: localstack or ministack.
        #[arg(long, default_value = "localstack")]
        emulator: Kind,
        /// Shows who isn't let in instead.
        #[arg(long)]
        security: bool,
        /// Leave the cloud running afterwards, and print its address.
        #[arg(long)]
        keep: bool,
    },
    /// Sets up what it needs and runs every check and test.
    Test {
        /// Without LocalStack.
        #[arg(long)]
        quick: bool,
    },
    /// Runs one of the lanes of `cargo xtask test`.
    #[command(hide = true)]
    Lane {
        /// The folder of logs, and of the list of what was built.
        #[arg(long)]
        logs: PathBuf,
        /// Its name.
        name: String,
    },
    /// Runs the tests that take too long for every day, and keeps the result in docs/soak.md.
    Soak,
    /// Finds dependencies that no code uses.
    Unused,
    /// Checks the dependencies' licences, sources and versions, and known vulnerabilities if their database can be had.
    Deny,
    /// Plays the engine in simulated worlds: `--seeds N [--from A]`, `--seed N --trace`, `--bugs`; `--help` says more.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<String>,
    },
    /// Compares what `wfg serve` answers, to thousands of made-up requests, with its own description.
    Schemathesis,
    /// Builds the functions for AWS and writes target/package/<name>.zip.
    Package {
        /// arm64 or x86_64.
        #[arg(long, default_value = "arm64")]
        arch: Arch,
    },
    /// Installs, starts or shows an emulator.
    #[command(subcommand)]
    Emulator(EmulatorTask),
}

#[derive(Subcommand)]
enum EmulatorTask {
    /// Starts an emulator with the project deployed to it, until Enter is pressed.
    Up {
        /// localstack or ministack.
        kind: Kind,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Task::parse() {
        // The count of parts is the last that it prints, so a failure is no error here.
        Task::Test { quick } => return Ok(if suite::run(quick)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Task::Lane { logs, name } => suite::lane(&name, &logs),
        Task::Demo { emulator, security, keep } => demo::run(emulator, security, keep),
        Task::Soak => soak::run(),
        Task::Unused => unused::check(),
        Task::Deny => deny::check().map(|checked| println!("checked: {checked}")),
        Task::Sim { args } => simulator::run(&args),
        Task::Schemathesis => schemathesis::run(),
        Task::Package { arch } => package::package(arch),
        Task::Emulator(EmulatorTask::Up { kind }) => cloud::up(kind),
    }?;
    Ok(ExitCode::SUCCESS)
}
