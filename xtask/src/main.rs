//! `cargo xtask`: what the project needs done around the build.

use std::io::stdin;

use anyhow::bail;

mod emulator;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up", kind] => up(kind.parse()?),
        _ => bail!("usage: cargo xtask up localstack|ministack"),
    }
}

/// Runs an emulator until Enter is pressed.
fn up(kind: emulator::Kind) -> anyhow::Result<()> {
    let venv = emulator::install(kind)?;
    let emulator = emulator::start(kind, &venv)?;
    println!("{} answers at {}", emulator.kind(), emulator.endpoint());
    println!("process {}, log {}", emulator.pid(), emulator.log_path().display());
    println!("{}", emulator.aws(&["dynamodb", "list-tables"])?);
    println!("Enter ends it.");
    stdin().read_line(&mut String::new())?;
    emulator.stop();
    Ok(())
}
