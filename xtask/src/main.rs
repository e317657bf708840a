//! `cargo xtask`: what the project needs done around the build.

use std::io::stdin;

use anyhow::bail;

mod emulator;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["up", kind] => up(kind.parse()?, false),
        ["up", kind, "--keep"] => up(kind.parse()?, true),
        _ => bail!("usage: cargo xtask up localstack|ministack [--keep]"),
    }
}

/// Runs an emulator until Enter is pressed, or leaves it running.
fn up(kind: emulator::Kind, keep: bool) -> anyhow::Result<()> {
    let venv = emulator::install(kind)?;
    let emulator = emulator::start(kind, &venv)?;
    println!("{} answers at {}", emulator.kind(), emulator.endpoint());
    println!("process group {}, log {}", emulator.pid(), emulator.log_path().display());
    print!("{}", emulator.aws(&["dynamodb", "list-tables"])?);
    if keep {
        return emulator.keep();
    }
    println!("Enter ends it.");
    stdin().read_line(&mut String::new())?;
    emulator.stop();
    Ok(())
}
