//! Runs the simulator, `tests/simulator`.

use anyhow::Result;

use crate::project::cargo;

/// Runs `sim` with these arguments; see `cargo xtask sim --help`.
pub fn run<T: AsRef<str>>(arguments: &[T]) -> Result<()> {
    let sim = ["run", "--quiet", "--profile", "sim", "-p", "workflow-graph-simulator", "--features", "planted", "--"];
    let all: Vec<&str> = sim.into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect();
    cargo(&all, &[])
}
