//! `cargo xtask cost`: what a job costs, measured by `tests/meter` on `MiniStack`.

use std::process::Command;

use anyhow::Result;

use crate::binaries::Binaries;
use crate::cloud::deploy_to;
use crate::deploy::Gateway;
use crate::emulator::{self, Emulator, Kind};
use crate::project::{root, run as checked};
use crate::tests::stack;

/// The stack of the meter. It is used by nothing else, so its tables hold only what the meter runs.
const STACK: &str = "metered";

/// Measures everything on an emulator of its own. `bless`: the figures become the budget. `quick`: without what takes minutes.
pub fn run(json: bool, bless: bool, quick: bool) -> Result<()> {
    let binaries = Binaries::build()?;
    let emulator = emulator::start(Kind::MiniStack)?;
    let arguments = [("--json", json), ("--bless", bless), ("--quick", quick)];
    let arguments: Vec<&str> = arguments.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    measure(&emulator, &binaries, &arguments)
}

/// Prints at which rate which partition key of the table is throttled first, for each kind of growth.
pub fn scale() -> Result<()> {
    let binaries = Binaries::build()?;
    measure(&emulator::start(Kind::MiniStack)?, &binaries, &["--scale"])
}

/// Measures what takes little time on a stack of its own, and compares it with the budget.
pub fn check(emulator: &Emulator, binaries: &Binaries) -> Result<()> {
    measure(emulator, binaries, &["--quick"])
}

fn measure(emulator: &Emulator, binaries: &Binaries, arguments: &[&str]) -> Result<()> {
    let deployed = deploy_to(emulator, Gateway::Url, binaries, STACK)?;
    let mut meter = Command::new(binaries.path("meter")?);
    meter.args(arguments).envs(stack(emulator.endpoint(), &deployed)).current_dir(root());
    checked(&mut meter)
}
