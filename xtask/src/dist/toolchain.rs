//! The compiler for static binaries: zig as C compiler and linker, and Rust's standard library for musl.
//!
//! If the toolchain has the standard library for a target, it is used. If not, Debian's packages of
//! the compiler and of the standard library's source are unpacked in the cache, and cargo compiles the standard library too.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::target::Target;
use crate::debian::{self, Needed};
use crate::package::has_standard_library;
use crate::project::{cache, run};
use crate::venv::{Venv, install_tools};

const MMDEBSTRAP: Needed = Needed { check: &["mmdebstrap", "--version"], packages: &["mmdebstrap"] };
/// The release of Debian with a compiler that is new enough.
const SUITE: &str = "forky";
const MIRROR: &str = "http://deb.debian.org/debian";
/// The time that C code finds in `__DATE__` and `__TIME__`, as mimalloc does: 1980-01-01. Not that of the commit: what was compiled for
/// one commit serves the next.
const C_TIME: &str = "315532800";

/// Compiles for targets that this machine's own compiler may lack.
pub struct Toolchain {
    zig: Venv,
    /// Debian's compiler, if it is used.
    debian: Option<Debian>,
}

/// Debian's compiler, in the cache.
struct Debian {
    /// A script that runs it with Debian's own C library.
    rustc: PathBuf,
    /// Contains the source of the standard library.
    source: PathBuf,
}

impl Toolchain {
    /// Installs what is needed to compile for the target.
    pub fn install(target: Target) -> Result<Self> {
        let zig = install_tools("dist", "infra/requirements-dist.txt")?;
        let is_there = has_standard_library(target.triple())?;
        Ok(Self { zig, debian: if is_there { None } else { Some(Debian::install()?) } })
    }

    /// The command that builds the sources in a folder, with more flags of the compiler. Paths of this machine aren't in what it builds.
    pub fn cargo(&self, source: &Path, flags: &str) -> Result<Command> {
        let mut cargo = Command::new(self.zig.program("cargo-zigbuild"));
        cargo.current_dir(source).env("PATH", self.path()?).env("CARGO_INCREMENTAL", "0");
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_MANIFEST_DIR");
        let registry = cargo_home()?.join("registry/src");
        let mut prefixes = vec![(source, "/wfg"), (registry.as_path(), "/crates")];
        let mut flags = format!("{flags} ");
        if let Some(debian) = &self.debian {
            cargo.env("RUSTC", &debian.rustc).env("RUSTC_BOOTSTRAP", "1");
            prefixes.push((&debian.source, "/rust"));
            // It would name the start files of a musl that isn't there. Those of zig are used.
            flags.push_str("-C link-self-contained=no ");
        }
        let renamed = |flag: &str| {
            let each = prefixes.iter().map(|(path, name)| format!("{flag}={}={name}", path.display()));
            each.collect::<Vec<_>>().join(" ")
        };
        cargo
            .env("SOURCE_DATE_EPOCH", C_TIME)
            .env("RUSTFLAGS", flags + &renamed("--remap-path-prefix"))
            .env("TARGET_CFLAGS", renamed("-ffile-prefix-map"));
        Ok(cargo)
    }

    /// Options of cargo's build.
    pub fn options(&self) -> &'static [&'static str] {
        if self.debian.is_some() { &["-Zbuild-std=std,panic_abort"] } else { &[] }
    }

    /// The compiler's version, and where the standard library is from.
    pub fn version(&self) -> Result<String> {
        let rustc = self.debian.as_ref().map_or(Path::new("rustc"), |debian| &debian.rustc);
        let output = Command::new(rustc).arg("--version").output().context("running rustc")?;
        let version = String::from_utf8(output.stdout)?.trim().to_owned();
        Ok(if self.debian.is_some() { format!("{version}, from Debian {SUITE}") } else { version })
    }

    fn path(&self) -> Result<OsString> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ok(std::env::join_paths(std::iter::once(self.zig.programs()).chain(std::env::split_paths(&path)))?)
    }
}

fn cargo_home() -> Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(folder) => Ok(folder.into()),
        None => Ok(std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?.join(".cargo")),
    }
}

impl Debian {
    /// Unpacks the packages, unless they are there.
    fn install() -> Result<Self> {
        let folder = cache()?.join("dist-rust");
        fs::create_dir_all(&folder)?;
        let (root, rustc) = (folder.join("root"), folder.join("rustc"));
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        if !rustc.exists() {
            unpack(SUITE, "amd64", &["rustc", "rust-src"], &root)?;
            write_script(&rustc, &root)?;
        }
        Ok(Self { rustc, source: root.join("usr/src") })
    }
}

/// Unpacks packages of Debian, and those that they depend on, in an empty folder. Nothing of them runs.
pub fn unpack(suite: &str, processor: &str, packages: &[&str], folder: &Path) -> Result<()> {
    debian::install(&[MMDEBSTRAP])?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=extract", "--aptopt=APT::Install-Recommends \"false\""]);
    // A mirror may be an old copy. Its signature is checked all the same.
    mmdebstrap.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    mmdebstrap.arg(format!("--architectures={processor}")).arg(format!("--include={}", packages.join(",")));
    run(mmdebstrap.arg(suite).arg(folder).arg(MIRROR))
        .with_context(|| format!("unpacking {} of Debian {suite}", packages.join(", ")))
}

/// Writes a script that runs Debian's rustc. Programs that rustc starts, such as the linker, are this machine's own.
fn write_script(rustc: &Path, root: &Path) -> Result<()> {
    let (root, loader) = (root.display(), root.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
    ensure!(loader.exists(), "Debian's C library isn't where it was: {} is missing", loader.display());
    let script = format!(
        "#!/bin/sh\nexec {} --library-path {root}/usr/lib/x86_64-linux-gnu --argv0 rustc {root}/usr/bin/rustc --sysroot {root}/usr \"$@\"\n",
        loader.display()
    );
    let partial = rustc.with_extension("partial");
    fs::write(&partial, script)?;
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(partial, rustc)?)
}
