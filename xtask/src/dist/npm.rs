//! npm packages: one for each platform with the program, and one that depends on them, for `npx`.

use anyhow::Result;
use clap::ValueEnum;
use flate2::Compression;
use serde_json::{Map, Value, json};

use super::archive::Tree;
use super::payload::{DESCRIPTION, LICENCE, NAME, Payload, VERSION};
use super::target::Target;

/// Starts the program of the platform's package.
const LAUNCHER: &str = include_str!("launcher.js");

/// The file name and bytes of a platform's package.
pub fn platform(payload: &Payload, target: Target, time: u64) -> Result<(String, Vec<u8>)> {
    let (os, cpu) = target.node();
    let name = name(target);
    let mut tree = Tree::default();
    tree.below("", &payload.licences);
    tree.program("bin/wfg", payload.binary.clone());
    let about = json!({ "os": [os], "cpu": [cpu], "preferUnplugged": true, "files": ["bin/wfg"] });
    pack(
        tree,
        &name,
        &format!("{NAME} for {os} on {cpu}; install the package {NAME} instead"),
        about,
        payload.compression,
        time,
    )
}

/// The file name and bytes of the package that people install. The packages of all platforms are its optional dependencies.
pub fn main(payload: &Payload, time: u64) -> Result<(String, Vec<u8>)> {
    let packages: Map<String, Value> =
        Target::value_variants().iter().map(|target| (name(*target), VERSION.into())).collect();
    let mut tree = Tree::default();
    tree.below("", &payload.licences);
    tree.file("README.md", payload.readme.clone());
    tree.program("bin/wfg.js", LAUNCHER);
    let about = json!({
        "bin": { NAME: "bin/wfg.js" },
        "engines": { "node": ">=18" },
        "files": ["bin/wfg.js"],
        "optionalDependencies": packages,
    });
    pack(tree, NAME, DESCRIPTION, about, payload.compression, time)
}

/// The name of a platform's package. The launcher makes the same one.
fn name(target: Target) -> String {
    let (os, cpu) = target.node();
    format!("{NAME}-{os}-{cpu}")
}

/// Adds `package.json` with the fields that all packages have, and packs the tree as `npm pack` would.
fn pack(
    mut tree: Tree,
    name: &str,
    description: &str,
    about: Value,
    level: Compression,
    time: u64,
) -> Result<(String, Vec<u8>)> {
    let mut fields = json!({ "name": name, "version": VERSION, "description": description, "license": LICENCE });
    if let (Some(fields), Value::Object(about)) = (fields.as_object_mut(), about) {
        fields.extend(about);
    }
    tree.file("package.json", format!("{fields:#}\n"));
    Ok((format!("{name}-{VERSION}.tgz"), tree.tar_gz("package/", level, time)?))
}
