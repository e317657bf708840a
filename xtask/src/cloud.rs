//! A local cloud: an emulator with the project deployed to it.

use std::io::stdin;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::binaries::Binaries;
use crate::deploy::{self, Deployed};
use crate::emulator::{self, Emulator, Kind};

/// The stack's name on an emulator.
const STACK: &str = "workflow-graph";

/// An emulator, empty but for the project. Dropping it ends it.
pub struct Cloud {
    /// What stands for AWS.
    pub emulator: Emulator,
    /// The project on it.
    pub deployed: Deployed,
}

impl Cloud {
    /// Installs the emulator if it isn't, starts it, and deploys the functions.
    pub fn start(kind: Kind, binaries: &Binaries) -> Result<Self> {
        let began = Instant::now();
        let venv = emulator::install(kind)?;
        let emulator = emulator::start(kind, &venv)?;
        let zips = binaries.packages()?;
        let aws = |arguments: &[&str]| emulator.aws(arguments);
        let deployed = deploy::deploy(&aws, kind, emulator.endpoint(), &zips, STACK)
            .with_context(|| format!("deploying to {kind}, whose log ends:\n{}", emulator.log_tail()))?;
        eprintln!("{kind} is up with the project deployed, after {:.1} s", began.elapsed().as_secs_f32());
        Ok(Self { emulator, deployed })
    }
}

/// Runs a local cloud until Enter is pressed.
pub fn up(kind: Kind) -> Result<()> {
    let cloud = Cloud::start(kind, &Binaries::build()?)?;
    println!("SERVER_URL={}", cloud.deployed.api_url);
    println!(
        "{} answers at {}, its log is {}",
        cloud.emulator.kind(),
        cloud.emulator.endpoint(),
        cloud.emulator.log_path().display()
    );
    println!("Enter ends it.");
    stdin().read_line(&mut String::new())?;
    cloud.emulator.stop();
    Ok(())
}
