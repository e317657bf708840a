//! `cargo xtask`: what the project needs done around the build.

mod binaries;
mod cloud;
mod demo;
mod deploy;
mod emulator;
mod foreign;
mod package;
mod security;
mod soak;
mod suite;

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
    /// Runs what takes too long for every day, and keeps the result in docs/soak.md.
    Soak,
    /// Plays the engine in simulated worlds: `--seeds N [--from A]`, `--seed N --trace`, `--bugs`; `--help` says more.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<String>,
    },
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

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Demo { emulator, security, keep } => demo::run(emulator, security, keep),
        Task::Test { quick } => suite::run(quick),
        Task::Soak => soak::run(),
        Task::Sim { args } => suite::simulate(&args),
        Task::Package { arch } => package::package(arch),
        Task::Emulator(EmulatorTask::Up { kind }) => cloud::up(kind),
    }
}
