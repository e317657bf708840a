//! The packages that Lambda runs: a zip for each function, with its binary as `bootstrap`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::project::{root, run};
use crate::venv::{Venv, install_tools};

/// The functions of `infra/template.yaml`, which are also the names of their binaries.
pub const FUNCTIONS: [&str; 8] = ["submit", "claim", "complete", "query", "schedule", "expire", "hook", "forge"];

/// The glibc of `provided.al2023`. A binary that needs a newer one doesn't start there.
const GLIBC: (u32, u32) = (2, 34);

/// The processor a package is for, by the names of Lambda.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Arch {
    /// Graviton, the cheaper one.
    Arm64,
    /// Intel and AMD.
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// That of the programs that run here.
    pub fn of_this_machine() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 }
    }

    /// Lambda's name.
    fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Rust's name of the target, and `e_machine` of its ELF files.
    fn target(self) -> (&'static str, u16) {
        match self {
            Self::Arm64 => ("aarch64-unknown-linux-gnu", 183),
            Self::X86_64 => ("x86_64-unknown-linux-gnu", 62),
        }
    }
}

/// cargo's profile of what Lambda runs.
pub const PROFILE: &str = "lambda";
/// The compiler's flags for it. A function that panics ends, so nothing reads the tables by which a stack is unwound.
pub const RUSTFLAGS: &str = "-C force-unwind-tables=no";

/// Builds the functions for AWS and writes `target/package/<name>.zip`, and the template that names them there.
pub fn package(arch: Arch) -> Result<()> {
    lint_template()?;
    let tools = install_tools("package", "infra/requirements-package.txt")?;
    install_target(arch)?;
    let built = build(&tools, arch)?;
    let binaries = FUNCTIONS.map(|name| (name, built.join(name).join("bootstrap")));
    for (name, binary) in &binaries {
        let bytes = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
        check(&bytes, arch).with_context(|| format!("function {name} would not start on Lambda"))?;
    }
    let out = root().join("target/package");
    let binaries = binaries.each_ref().map(|(name, binary)| (*name, binary.as_path()));
    zip_all(&binaries, &out, CompressionMethod::Deflated)?;
    write_template(&out, arch)?;
    for (name, binary) in binaries {
        let zip = out.join(format!("{name}.zip"));
        println!("{name:9} {:>6} kB, zipped {:>6} kB", kilobytes(binary)?, kilobytes(&zip)?);
    }
    println!("for {} in target/package", arch.target().0);
    Ok(())
}

/// Writes `<name>.zip` for each binary to the folder `out`, quickly: not compressed, and only what changed.
pub fn zip_binaries(binaries: &[(&str, &Path)], out: &Path) -> Result<()> {
    zip_all(binaries, out, CompressionMethod::Stored)
}

/// Writes [`packaged_template`] to a folder of packages.
pub fn write_template(folder: &Path, arch: Arch) -> Result<()> {
    // Runs side by side may write at the same time, so the file appears complete or not at all.
    let partial = folder.join(format!("template.partial-{}", std::process::id()));
    fs::write(&partial, packaged_template(arch)?).with_context(|| format!("writing {}", partial.display()))?;
    Ok(fs::rename(partial, folder.join("template.yaml"))?)
}

/// `infra/template.yaml` for packages that lie beside it, so that `wfg stack deploy` can deploy it. Its default processor is
/// theirs.
pub fn packaged_template(arch: Arch) -> Result<String> {
    let path = root().join("infra/template.yaml");
    let mut template = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut put = |from: &str, to: &str| {
        ensure!(template.matches(from).count() == 1, "{} must have `{from}` once", path.display());
        template = template.replace(from, to);
        Ok(())
    };
    for name in FUNCTIONS {
        put(&format!("CodeUri: ../target/package/{name}.zip"), &format!("CodeUri: {name}.zip"))?;
    }
    let architecture = "  Architecture:
    Type: String
    Default: ";
    put(&format!("{architecture}arm64"), &format!("{architecture}{}", arch.name()))?;
    Ok(template)
}

fn zip_all(binaries: &[(&str, &Path)], out: &Path, method: CompressionMethod) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for (name, binary) in binaries {
        let bytes = fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
        let zip = out.join(format!("{name}.zip"));
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if content(&zip).is_ok_and(|there| there == (method, crc.sum(), bytes.len() as u64)) {
            continue;
        }
        zip_one(&bytes, &zip, method).with_context(|| format!("writing {}", zip.display()))?;
    }
    Ok(())
}

/// How the `bootstrap` in a package is stored, its checksum and its size.
fn content(zip: &Path) -> Result<(CompressionMethod, u32, u64)> {
    let mut archive = ZipArchive::new(File::open(zip)?)?;
    let bootstrap = archive.by_name("bootstrap")?;
    Ok((bootstrap.compression(), bootstrap.crc32(), bootstrap.size()))
}

fn zip_one(bytes: &[u8], zip: &Path, method: CompressionMethod) -> Result<()> {
    // The default time is a fixed one, so that the same binary gives the same package.
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .unix_permissions(0o755)
        .last_modified_time(zip::DateTime::default());
    let partial = zip.with_extension("zip.partial");
    let mut writer = ZipWriter::new(File::create(&partial)?);
    writer.start_file("bootstrap", options)?;
    writer.write_all(bytes)?;
    writer.finish()?.sync_all()?;
    Ok(fs::rename(partial, zip)?)
}

fn kilobytes(file: &Path) -> io::Result<u64> {
    Ok(fs::metadata(file)?.len().div_ceil(1000))
}

/// Checks the template with cfn-lint, and that it keeps the rules of `infra/security`.
pub fn lint_template() -> Result<()> {
    let tools = install_tools("lint", "infra/requirements-lint.txt")?;
    run(Command::new(tools.program("cfn-lint")).arg(root().join("infra/template.yaml")))?;
    let tests = ["-m", "unittest", "discover", "-s", "infra/security"];
    run(Command::new(tools.program("python")).args(tests).current_dir(root()))
}

/// Whether the toolchain has the standard library of a target, by Rust's name.
pub fn has_standard_library(target: &str) -> Result<bool> {
    let mut rustc = Command::new("rustc");
    let output = rustc.args(["--print", "target-libdir", "--target", target]).current_dir(root()).output();
    let output = output.context("running rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Installs the target's standard library, unless the toolchain has it.
fn install_target(arch: Arch) -> Result<()> {
    let (target, _) = arch.target();
    if has_standard_library(target)? {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", target]).current_dir(root())).with_context(|| {
        format!("this Rust has no standard library for {target}, and rustup, which could install it, failed")
    })
}

/// Returns the folder with `<name>/bootstrap`.
fn build(tools: &Venv, arch: Arch) -> Result<PathBuf> {
    let (target, _) = arch.target();
    let out = root().join("target/package").join(target);
    let (major, minor) = GLIBC;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.programs()).chain(std::env::split_paths(&path)))?;
    let mut build = Command::new(tools.program("cargo-lambda"));
    build.args(["lambda", "build", "--profile", PROFILE, "--locked", "--output-format", "binary"]);
    build.arg("--target").arg(format!("{target}.{major}.{minor}"));
    build.arg("--lambda-dir").arg(&out);
    build.args(["--package", "workflow-graph-functions"]);
    for name in FUNCTIONS {
        build.args(["--bin", name]);
    }
    // cargo-lambda finds zig by way of the tools' Python.
    run(build.env("PATH", path).env("RUSTFLAGS", RUSTFLAGS).current_dir(root()))?;
    Ok(out)
}

/// Refuses a binary that would not start on Lambda: one for another machine, or one that needs a newer glibc.
fn check(binary: &[u8], arch: Arch) -> Result<()> {
    ensure!(binary.starts_with(b"\x7fELF"), "it is no Linux binary");
    let (target, machine) = arch.target();
    ensure!(binary.get(18..20) == Some(&machine.to_le_bytes()), "it is not for {target}");
    let (major, minor) = newest_glibc(binary);
    ensure!((major, minor) <= GLIBC, "it needs glibc {major}.{minor}; Lambda has {}.{}", GLIBC.0, GLIBC.1);
    Ok(())
}

/// The newest `GLIBC_x.y` in the binary. The names of versioned symbols contain these.
fn newest_glibc(binary: &[u8]) -> (u32, u32) {
    const PREFIX: &[u8] = b"GLIBC_";
    let versions = binary.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    let version = |at: usize| {
        let text = binary[at + PREFIX.len()..].split(|byte| !matches!(byte, b'0'..=b'9' | b'.')).next()?;
        let mut numbers = str::from_utf8(text).ok()?.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    versions.filter_map(|(at, _)| version(at)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_compared_by_number_not_by_text() {
        assert_eq!(newest_glibc(b"..GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0"), (2, 34));
        assert_eq!(newest_glibc(b"GLIBC_"), (0, 0));
    }

    #[test]
    fn a_binary_that_would_not_start_is_refused() {
        let mut elf = b"\x7fELF".to_vec();
        elf.resize(18, 0);
        elf.extend(Arch::Arm64.target().1.to_le_bytes());
        elf.extend(b"GLIBC_2.34\0");
        assert!(check(&elf, Arch::Arm64).is_ok());
        assert!(check(&elf, Arch::X86_64).is_err());
        elf.extend(b"GLIBC_2.35\0");
        assert!(check(&elf, Arch::Arm64).unwrap_err().to_string().contains("2.35"));
        assert!(check(b"#!/bin/sh", Arch::Arm64).is_err());
    }

    #[test]
    fn the_same_binary_gives_the_same_package_and_is_not_zipped_again() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("wfg-package-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let (binary, zip) = (dir.join("binary"), dir.join("claim.zip"));
        let zipped = |content: &[u8]| -> Result<_> {
            fs::write(&binary, content)?;
            zip_binaries(&[("claim", &binary)], &dir)?;
            Ok((fs::metadata(&zip)?.modified()?, fs::read(&zip)?))
        };
        let (written, bytes) = zipped(b"one")?;
        assert_eq!(zipped(b"one")?, (written, bytes.clone()));
        assert_ne!(zipped(b"two")?.1, bytes);
        assert_eq!(zipped(b"one")?.1, bytes);
        let mode = ZipArchive::new(File::open(&zip)?)?.by_name("bootstrap")?.unix_mode();
        assert_eq!(mode.map(|mode| mode & 0o777), Some(0o755));
        Ok(fs::remove_dir_all(dir)?)
    }
}
