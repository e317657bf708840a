//! `cargo xtask dist --check`: installs and runs every package, and builds all of them a second time elsewhere.

mod tried;

mod installs;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::payload::{Payload, VERSION};
use super::target::Target;
use super::{Release, npm, wheel};
use crate::project::{between, cache, output_of, root, run as checked};
use crate::venv::install_tools;

/// The lines around the result in `docs/install.md`.
const MARKS: [&str; 2] = ["<!-- result: written by `cargo xtask dist --check` -->\n", "<!-- end of the result -->\n"];
const REPORT: &str = "docs/install.md";

/// A check of the release, in an empty folder.
type Check<'a> = (&'a str, Box<dyn Fn(&Path) -> Result<()> + 'a>);

/// Runs every check, and writes the result if all passed.
pub fn run(release: &Release) -> Result<()> {
    let report = root().join(REPORT);
    let text = fs::read_to_string(&report).with_context(|| format!("reading {REPORT}"))?;
    between(&text, MARKS, "").with_context(|| format!("{REPORT} lacks the lines around the result"))?;
    let changed = output_of(&["git", "status", "--porcelain", "--", ".", &format!(":!{REPORT}")])?;
    ensure!(changed.is_empty(), "the second build is of the last commit, so commit this first:\n{changed}");
    let mut rows = String::new();
    for (what, check) in checks(release) {
        let (folder, began) = (tempfile::tempdir()?, Instant::now());
        println!("checking: {what}");
        check(folder.path()).with_context(|| what.to_owned())?;
        writeln!(rows, "| {what} | {:.0} s |", began.elapsed().as_secs_f32())?;
    }
    let (date, commit) =
        (output_of(&["date", "-u", "+%Y-%m-%d"])?, output_of(&["git", "rev-parse", "--short", "HEAD"])?);
    let files = release.files.iter();
    let files: String = files.map(|(name, bytes)| format!("| `{name}` | {} |\n", bytes.len())).collect();
    let result = format!(
        "{date}, commit `{commit}`, {}: all passed.\n\n| checked | took |\n| --- | --- |\n{rows}\n| file | bytes |\n| --- | --- |\n{files}",
        release.compiler
    );
    let text = between(&text, MARKS, &result).context("the lines around the result were there")?;
    Ok(fs::write(report, text)?)
}

fn checks(release: &Release) -> Vec<Check<'_>> {
    let file = |name: String| root().join("target/dist").join(name);
    let archive = move |target: Target| file(format!("wfg-{VERSION}-{}.tar.gz", target.triple()));
    let wheel = move || file(format!("wfg-{VERSION}-py3-none-{}.whl", Target::LinuxX86.wheel()));
    let npm = move |name: &str| file(format!("{name}-{VERSION}.tgz"));
    vec![
        (
            "checksums",
            Box::new(|_| {
                let mut sums = Command::new("sha256sum");
                checked(sums.args(["--check", "--quiet", "SHA256SUMS"]).current_dir(root().join("target/dist")))
            }),
        ),
        ("the archive for x86_64", Box::new(move |folder| installs::archive(&archive(Target::LinuxX86), folder))),
        (
            "the archive for aarch64, under qemu-user",
            Box::new(move |folder| installs::archive_on_arm(&archive(Target::LinuxArm), folder)),
        ),
        ("the wheel, by pip in a venv", Box::new(move |folder| installs::wheel(&wheel(), folder))),
        (
            "the npm package, by npm in a prefix",
            Box::new(move |folder| installs::npm(&npm("wfg"), &npm("wfg-linux-x64"), folder)),
        ),
        (
            "the package for Debian, by dpkg in a fresh Debian",
            Box::new(move |folder| installs::deb(&file(format!("wfg_{VERSION}_amd64.deb")), folder)),
        ),
        (
            "the container image for x86_64, in a chroot as its user",
            Box::new(move |folder| installs::image(&file(format!("wfg-{VERSION}-oci.tar")), folder)),
        ),
        (
            "the functions' packages: each program starts under qemu-user",
            Box::new(move |folder| installs::stack(&file(format!("wfg-stack-{VERSION}-arm64.tar.gz")), folder)),
        ),
        (
            "the bill of materials, against CycloneDX's schema",
            Box::new(move |_| valid_bill(&file(format!("wfg-{VERSION}.cdx.json")))),
        ),
        ("a second build in another folder gives the same bytes", Box::new(|_| same_elsewhere(release))),
    ]
}

fn valid_bill(bill: &Path) -> Result<()> {
    let tools = install_tools("bill", "infra/requirements-bill.txt")?;
    let script = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
                  error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\nsys.exit(error and str(error))";
    checked(Command::new(tools.program("python")).args(["-c", script]).arg(bill))
}

/// Builds a clone of the repository in the cache. What is built there persists, since it takes long: a check that was stopped goes on
/// where it was.
fn same_elsewhere(release: &Release) -> Result<()> {
    let folder = cache()?.join("dist/second");
    let clone = folder.join("another/place");
    if clone.exists() {
        fs::remove_dir_all(&clone)?;
    }
    checked(Command::new("git").args(["clone", "--quiet", "--shared"]).arg(root()).arg(&clone))?;
    let second = Release::build(&Target::LINUX, &clone, &folder.join("results"))?;
    let differ: Vec<&String> = release
        .files
        .iter()
        .filter(|(name, bytes)| second.files.get(*name) != Some(*bytes))
        .map(|(name, _)| name)
        .collect();
    second.write(&root().join("target/dist-second"))?;
    ensure!(differ.is_empty(), "these differ in target/dist-second: {differ:?}");
    ensure!(release.files.len() == second.files.len(), "the second build has other files");
    Ok(())
}

/// Makes the wheel and the npm packages around a program that isn't static, and installs and runs them.
pub fn packages_around(wfg: &Path) -> Result<()> {
    let target = if cfg!(target_arch = "aarch64") { Target::LinuxArm } else { Target::LinuxX86 };
    let payload = Payload::quick(wfg)?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?, tempfile::tempdir()?];
    let write = |(name, bytes): (String, Vec<u8>)| -> Result<PathBuf> {
        let path = folders[0].path().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let tag = format!("linux_{}", std::env::consts::ARCH);
    installs::wheel(&write(wheel::wheel(&payload, &tag)?)?, folders[1].path()).context("the wheel")?;
    let (main, platform) = (write(npm::main(&payload, 0)?)?, write(npm::platform(&payload, target, 0)?)?);
    installs::npm(&main, &platform, folders[2].path()).context("the npm package")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_docs_has_the_marks() {
        assert!(between(&fs::read_to_string(root().join(REPORT)).unwrap(), MARKS, "").is_some());
    }
}
