//! The bill of materials: the crates in the program, as `CycloneDX`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::build::FEATURES;
use super::payload::{LICENCE, NAME, VERSION};
use super::target::Target;
use crate::project::root;

/// The bill's file name and text: what is linked into the program for one of the targets.
pub fn bill(targets: &[Target], compiler: &str, time: u64) -> Result<(String, String)> {
    let mut linked = BTreeSet::new();
    for target in targets {
        linked.extend(tree(*target)?);
    }
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--locked"])?)?;
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let (checksums, licences) = (checksums(&lock), licences(&metadata));
    let components: Vec<Value> = linked
        .iter()
        .filter(|(name, _)| name != NAME)
        .map(|of| component(of, checksums.get(of).map(String::as_str), licences.get(of).map(String::as_str)))
        .collect();
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": humantime::format_rfc3339_seconds(created).to_string(),
            "component": {
                "type": "application", "bom-ref": NAME, "name": NAME, "version": VERSION,
                "licenses": [{ "expression": LICENCE }],
            },
            "properties": [{ "name": "compiler", "value": compiler }],
        },
        "components": components,
    });
    Ok((format!("{NAME}-{VERSION}.cdx.json"), format!("{bill:#}\n")))
}

/// A crate: its name and version.
type Crate = (String, String);

fn component((name, version): &Crate, checksum: Option<&str>, licence: Option<&str>) -> Value {
    let mut component =
        json!({ "type": "library", "bom-ref": format!("{name}@{version}"), "name": name, "version": version });
    // Crates of this repository are on no registry, and have no checksum.
    if let Some(checksum) = checksum {
        component["purl"] = format!("pkg:cargo/{name}@{version}").into();
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(licence) = licence {
        // An older way to write OR.
        component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
    }
    component
}

/// The crates that are linked into the program.
fn tree(target: Target) -> Result<BTreeSet<Crate>> {
    let package = ["tree", "--locked", "--package", NAME, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let text = cargo(&[&package[..], &["--target", target.triple()], &FEATURES].concat())?;
    let crates = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    Ok(crates.collect())
}

/// The checksums of the crates in `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let packages = lock.split("[[package]]").skip(1);
    let value = |package: &str, key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    packages
        .filter_map(|package| {
            Some(((value(package, "name")?, value(package, "version")?), value(package, "checksum")?))
        })
        .collect()
}

fn licences(metadata: &Value) -> BTreeMap<Crate, String> {
    let text = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter_map(|package| Some(((text(package, "name")?, text(package, "version")?), text(package, "license")?)))
        .collect()
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().context("running cargo")?;
    ensure!(output.status.success(), "cargo {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_the_registry_have_a_checksum_and_own_ones_have_none() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"bytes\"\n\
                    version = \"1.2.3\"\nsource = \"registry\"\nchecksum = \"abc\"\n";
        let checksums = checksums(lock);
        assert_eq!(checksums.len(), 1);
        let bytes = ("bytes".to_owned(), "1.2.3".to_owned());
        let component = component(&bytes, checksums.get(&bytes).map(String::as_str), Some("MIT/Apache-2.0"));
        assert_eq!(component["hashes"][0]["content"], "abc");
        assert_eq!(component["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }
}
