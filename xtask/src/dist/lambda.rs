//! The functions' packages and their template, from which a stack is deployed without a compiler.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;

use super::archive::Tree;
use super::build;
use super::payload::{NAME, VERSION};
use super::target::Target;
use crate::package::{Arch, packaged_template};

/// The folder in the archive. `wfg stack deploy` looks for it beside the program.
const FOLDER: &str = "wfg-stack";
/// The cheaper processor, which is the template's default.
const TARGET: Target = Target::LinuxArm;

/// The archive's file name and bytes. Lambda's `provided.al2023` runs static programs too.
pub fn packages(source: &Path, out: &Path, time: u64) -> Result<(String, Vec<u8>)> {
    let mut tree = Tree::default();
    for (name, program) in build::functions(TARGET, source, out)? {
        let mut zip = Tree::default();
        zip.program("bootstrap", fs::read(&program).with_context(|| format!("reading {}", program.display()))?);
        // They are compressed already, so the archive isn't.
        tree.file(format!("{name}.zip"), zip.zip(Compression::best())?);
    }
    tree.file("template.yaml", packaged_template(Arch::Arm64)?);
    Ok((format!("{NAME}-stack-{VERSION}-arm64.tar.gz"), tree.tar_gz(&format!("{FOLDER}/"), Compression::none(), time)?))
}
