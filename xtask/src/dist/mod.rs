//! `cargo xtask dist`: everything that a release consists of, in `target/dist`.

// In groups: each module uses only those of the groups above.
mod archive;
mod target;

mod payload;
mod toolchain;

mod build;
mod deb;
mod image;
mod npm;
mod wheel;

mod lambda;
mod sbom;

mod check;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

pub use check::packages_around;
use payload::{NAME, Payload, VERSION};
use target::Target;

use crate::project::{cache, root};

/// Builds what a release consists of, in target/dist.
#[derive(Args)]
pub struct Dist {
    /// Build a second time in another folder, install and run every package, and write the result to docs/install.md
    #[arg(long)]
    check: bool,
    /// Only for this platform: its program, wheel and npm package
    #[arg(long, conflicts_with = "check")]
    target: Option<Target>,
    /// Fail unless this tag is that of the version in Cargo.toml, such as v1.2.3
    #[arg(long)]
    tag: Option<String>,
}

/// Builds, and checks if asked to.
pub fn run(args: &Dist) -> Result<()> {
    if let Some(tag) = &args.tag {
        ensure!(*tag == format!("v{VERSION}"), "the tag is {tag}, and the version in Cargo.toml is {VERSION}");
    }
    let source = fs::canonicalize(root())?;
    let release = match args.target {
        Some(target) => Release::build(&[target], &source, &results(&source)?)?,
        None => Release::build(&Target::LINUX, &source, &results(&source)?)?,
    };
    release.write(&source.join("target/dist"))?;
    if args.check { check::run(&release) } else { Ok(()) }
}

/// The files of a release, by name.
pub struct Release {
    files: BTreeMap<String, Vec<u8>>,
    /// The compiler's version.
    compiler: String,
}

impl Release {
    /// Builds the sources in a folder. The same sources give the same bytes in any folder.
    fn build(targets: &[Target], source: &Path, out: &Path) -> Result<Self> {
        let time = time(source)?;
        let programs = targets.iter().map(|target| Ok((*target, build::wfg(*target, source, out)?)));
        let programs: Vec<(Target, PathBuf)> = programs.collect::<Result<_>>()?;
        let native = programs.iter().find(|(target, _)| target.runs_here());
        let (_, native) =
            native.context("the manual pages are printed by the program, so one must run on this machine")?;
        let mut release = Self { files: BTreeMap::new(), compiler: build::compiler(targets[0])? };
        let mut payloads = Vec::new();
        for (target, program) in &programs {
            let payload = Payload::new(program, native)?;
            println!("{}: {} bytes", target.triple(), payload.binary.len());
            release.add(archive(&payload, *target, time)?);
            release.add(wheel::wheel(&payload, target.wheel())?);
            release.add(npm::platform(&payload, *target, time)?);
            if target.is_linux() {
                release.add(deb::deb(&payload, *target, time)?);
            }
            payloads.push((*target, payload));
        }
        if targets == Target::LINUX {
            release.add(npm::main(&payloads[0].1, time)?);
            release.add(image::image(&image::with_debian(&payloads)?, time)?);
            release.add(lambda::packages(source, out, time)?);
            release.add(sbom::bill(targets, &release.compiler, time)?);
        }
        Ok(release)
    }

    fn add(&mut self, (name, bytes): (String, impl Into<Vec<u8>>)) {
        self.files.insert(name, bytes.into());
    }

    /// The lines of `SHA256SUMS`.
    fn sums(&self) -> String {
        self.files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)))).collect()
    }

    /// Writes the files, and nothing else, to a folder.
    fn write(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for (name, bytes) in &self.files {
            fs::write(folder.join(name), bytes)?;
            println!("{:>10} {name}", bytes.len());
        }
        fs::write(folder.join("SHA256SUMS"), self.sums())?;
        Ok(())
    }
}

/// The archive for `cargo binstall` and for people.
fn archive(payload: &Payload, target: Target, time: u64) -> Result<(String, Vec<u8>)> {
    let name = format!("{NAME}-{VERSION}-{}", target.triple());
    let mut tree = archive::Tree::default();
    tree.program(NAME, payload.binary.clone());
    tree.file("README.md", payload.readme.clone());
    tree.below("", &payload.licences);
    tree.below("", &payload.shared);
    Ok((format!("{name}.tar.gz"), tree.tar_gz(&format!("{name}/"), payload.compression, time)?))
}

/// The time that archives contain: `SOURCE_DATE_EPOCH`, or the time of the commit.
fn time(source: &Path) -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH isn't a number of seconds");
    }
    let output = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(source).output()?;
    ensure!(output.status.success(), "git can't tell the time of the commit; set SOURCE_DATE_EPOCH");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The folder of cargo's results for sources in this folder. It persists, and is outside of the sources: it has gigabytes.
fn results(source: &Path) -> Result<PathBuf> {
    let digest = hex::encode(Sha256::digest(source.as_os_str().as_encoded_bytes()));
    Ok(cache()?.join("dist").join(&digest[..12]))
}
