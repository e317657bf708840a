//! A local cloud: an emulator with the project deployed to it.

use std::io::stdin;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::binaries::Binaries;
use crate::deploy::{self, Deployed, Gateway};
use crate::emulator::{self, Emulator, Kind};

/// The stack's name on an emulator.
const STACK: &str = "workflow-graph";

/// An emulator, empty but for the project. Dropping it ends it.
pub struct Cloud {
    /// The emulator that stands in for AWS.
    pub emulator: Emulator,
    /// The project on it.
    pub deployed: Deployed,
}

impl Cloud {
    /// Installs the emulator if it isn't, starts it, and deploys the functions.
    pub fn start(kind: Kind, binaries: &Binaries) -> Result<Self> {
        Self::start_with(kind, binaries, &binaries.packages()?)
    }

    /// Like [`Self::start`], with the functions' packages in this folder.
    pub fn start_with(kind: Kind, binaries: &Binaries, zips: &Path) -> Result<Self> {
        let began = Instant::now();
        let emulator = emulator::start(kind)?;
        let deployed = deploy_zips(&emulator, Gateway::of(kind), binaries, zips, STACK)?;
        eprintln!("{} is up with the project deployed, after {:.1} s", kind.title(), began.elapsed().as_secs_f32());
        Ok(Self { emulator, deployed })
    }
}

/// Deploys the functions to an emulator as another stack, with this gateway. Its API's address has the first token in it.
pub fn deploy_to(emulator: &Emulator, gateway: Gateway, binaries: &Binaries, stack: &str) -> Result<Deployed> {
    deploy_zips(emulator, gateway, binaries, &binaries.packages()?, stack)
}

fn deploy_zips(
    emulator: &Emulator,
    gateway: Gateway,
    binaries: &Binaries,
    zips: &Path,
    stack: &str,
) -> Result<Deployed> {
    let kind = emulator.kind();
    let mut deployed = deploy::deploy(emulator, binaries.path("wfg")?, gateway, zips, stack)
        .with_context(|| format!("deploying to {}, whose log ends:\n{}", kind.title(), emulator.log_tail()))?;
    let token = deployed.token.as_deref().context("a new stack has a first token")?;
    deployed.api_url = with_token(&deployed.api_url, token);
    Ok(deployed)
}

/// The API's address with a token in it.
pub fn with_token(url: &str, token: &str) -> String {
    let bare = url.split_once('@').map_or(url, |(_, rest)| rest).trim_start_matches("http://");
    format!("http://w:{token}@{bare}")
}

/// The API's address without the token in it, and the token.
pub fn without_token(url: &str) -> Result<(String, &str)> {
    let (user, bare) = url.split_once('@').context("the API's address has no token in it")?;
    let token = user.rsplit(':').next().unwrap_or_default();
    Ok((format!("http://{bare}"), token))
}

/// Runs a local cloud until Enter is pressed.
pub fn up(kind: Kind) -> Result<()> {
    let cloud = Cloud::start(kind, &Binaries::build()?)?;
    println!("SERVER_URL={}", cloud.deployed.api_url);
    println!(
        "{} answers at {}, its log is {}",
        kind.title(),
        cloud.emulator.endpoint(),
        cloud.emulator.log_path().display()
    );
    println!("Enter ends it.");
    stdin().read_line(&mut String::new())?;
    cloud.emulator.stop();
    Ok(())
}
