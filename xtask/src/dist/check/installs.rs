//! Installs each kind of package in a fresh place, and tries the program there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tried::Installed;
use crate::debian::{self, Needed};
use crate::dist::image::USER;
use crate::project::run;
use crate::venv::find_python;
use crate::workflows::NPM;

const QEMU: Needed = Needed { check: &["qemu-aarch64", "--version"], packages: &["qemu-user"] };
const MMDEBSTRAP: Needed = Needed { check: &["mmdebstrap", "--version"], packages: &["mmdebstrap"] };

/// The program of an archive.
pub fn archive(archive: &Path, folder: &Path) -> Result<()> {
    Installed::here(&[&unpacked(archive, folder)?], folder).try_out()
}

/// The program of an archive for ARM, emulated. Jobs run programs of this machine.
pub fn archive_on_arm(archive: &Path, folder: &Path) -> Result<()> {
    debian::install(&[QEMU])?;
    Installed::here(&["qemu-aarch64".as_ref(), &unpacked(archive, folder)?], folder).try_out()
}

fn unpacked(archive: &Path, folder: &Path) -> Result<PathBuf> {
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder).arg("--strip-components=1"))?;
    Ok(folder.join("wfg"))
}

/// A wheel, in a virtual environment.
pub fn wheel(wheel: &Path, folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    run(Command::new(find_python()?).args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]);
    run(pip.arg(wheel))?;
    for file in ["share/man/man1/wfg.1.gz", "share/bash-completion/completions/wfg"] {
        ensure!(venv.join(file).exists(), "the wheel installed no {file}");
    }
    Installed::here(&[&venv.join("bin/wfg")], folder).try_out()
}

/// The package that people install with npm, and the one for this platform.
pub fn npm(main: &Path, platform: &Path, folder: &Path) -> Result<()> {
    debian::install(&[NPM])?;
    // A folder of its own, so that npm doesn't use one further up.
    fs::write(folder.join("package.json"), "{}")?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", "--cache"])
        .arg(folder.join("cache"));
    run(npm.arg(main).arg(platform).current_dir(folder).stdout(Stdio::null()))?;
    let program = folder.join("node_modules/.bin/wfg");
    Installed::here(&[&program], folder).try_out()?;
    // The launcher alone says what is missing.
    let name = platform_name(platform)?;
    fs::remove_dir_all(folder.join("node_modules").join(&name))?;
    let error =
        Installed::here(&[&program], folder).output(&["--version"]).err().context("wfg ran without its program")?;
    ensure!(error.to_string().contains(&format!("the npm package {name} with the program is missing")), "{error}");
    Ok(())
}

/// `wfg-linux-x64` of `wfg-linux-x64-0.1.0.tgz`.
fn platform_name(package: &Path) -> Result<String> {
    let file = package.file_name().and_then(|name| name.to_str()).context("a package's name is UTF-8")?;
    Ok(file.rsplit_once('-').context("a package's name has a version")?.0.to_owned())
}

/// A package for Debian, by dpkg in a fresh Debian.
pub fn deb(deb: &Path, folder: &Path) -> Result<()> {
    debian::install(&[MMDEBSTRAP])?;
    let root = folder.join("root");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args([
        "--quiet",
        "--variant=essential",
        "--include=adduser",
        "--aptopt=Acquire::Check-Valid-Until \"false\"",
    ]);
    run(mmdebstrap.arg("stable").arg(&root).arg("http://deb.debian.org/debian"))?;
    let dpkg = |action: &str, what: &Path| {
        let mut dpkg = Command::new("dpkg");
        let option = format!("--root={}", root.display());
        run(dpkg.args([&option, action]).arg(what).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdout(Stdio::null()))
    };
    dpkg("--install", deb)?;
    for file in ["usr/lib/systemd/system/wfg.service", "usr/share/man/man1/wfg.1.gz"] {
        ensure!(root.join(file).exists(), "the package installed no {file}");
    }
    let data = root.join("var/lib/wfg");
    let of = Command::new("stat").args(["--format=%a %u"]).arg(&data).output()?.stdout;
    let user = fs::read_to_string(root.join("etc/passwd"))?;
    let id =
        user.lines().find_map(|line| line.strip_prefix("wfg:x:")?.split(':').next()).context("there is no user wfg")?;
    ensure!(String::from_utf8_lossy(&of) == format!("700 {id}\n"), "the data's folder isn't the user's alone");
    Installed::in_root(&root, "wfg:wfg", "var/lib/wfg").try_out()?;
    dpkg("--purge", Path::new("wfg"))?;
    ensure!(!data.exists() && !root.join("usr/bin/wfg").exists(), "purging leaves something behind");
    Ok(())
}

/// The image for this machine's processor: unpacked, checked against its digests, and started as its user.
pub fn image(archive: &Path, folder: &Path) -> Result<()> {
    let (layout, root) = (folder.join("layout"), folder.join("root"));
    fs::create_dir_all(&layout)?;
    fs::create_dir_all(root.join("dev"))?;
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout))?;
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let manifests = index["manifests"].as_array().context("the index has no manifests")?;
    ensure!(manifests.len() == 2, "the image is for {} processors", manifests.len());
    for manifest in manifests {
        let is_native = manifest["platform"]["architecture"] == "amd64";
        let manifest: Value = serde_json::from_slice(&blob(&layout, manifest)?)?;
        let config: Value = serde_json::from_slice(&blob(&layout, &manifest["config"])?)?;
        ensure!(config["config"]["User"] == format!("{USER}:{USER}"), "the image runs as another user");
        for layer in manifest["layers"].as_array().context("the image has no layers")? {
            let layer = blob(&layout, layer)?;
            if is_native {
                let file = folder.join("layer.tar.gz");
                fs::write(&file, layer)?;
                let mut tar = Command::new("tar");
                tar.args(["--numeric-owner", "--same-permissions", "-xzf"]).arg(&file).arg("-C").arg(&root);
                run(&mut tar)?;
            }
        }
    }
    // Runtimes provide it.
    run(Command::new("mknod").args(["-m", "666"]).arg(root.join("dev/null")).args(["c", "1", "3"]))?;
    Installed::in_root(&root, &format!("{USER}:{USER}"), "data").try_out()
}

/// The bytes of a blob, which must be as its descriptor says.
fn blob(layout: &Path, descriptor: &Value) -> Result<Vec<u8>> {
    let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let digest = digest.context("a descriptor has a digest")?;
    let bytes = fs::read(layout.join("blobs/sha256").join(digest))?;
    ensure!(hex::encode(Sha256::digest(&bytes)) == digest, "the blob {digest} has another digest");
    ensure!(descriptor["size"] == bytes.len(), "the blob {digest} has another size");
    Ok(bytes)
}

/// The functions' packages: each program starts, emulated, and misses its settings.
pub fn stack(archive: &Path, folder: &Path) -> Result<()> {
    debian::install(&[QEMU])?;
    run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder))?;
    let folder = folder.join("wfg-stack");
    let template = fs::read_to_string(folder.join("template.yaml"))?;
    for name in crate::package::FUNCTIONS {
        ensure!(template.contains(&format!("CodeUri: {name}.zip\n")), "the template doesn't name {name}.zip");
        let file = fs::File::open(folder.join(format!("{name}.zip")))?;
        let program = folder.join(name);
        std::io::copy(&mut zip::ZipArchive::new(file)?.by_name("bootstrap")?, &mut fs::File::create(&program)?)?;
        run(Command::new("chmod").arg("+x").arg(&program))?;
        let mut function = Command::new("qemu-aarch64");
        function.arg(&program).env_clear().env("AWS_REGION", "us-east-1").stdin(Stdio::null());
        let output = function.output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(!output.status.success() && said.contains("WFG_JOBS_TABLE"), "{name} said: {said}");
    }
    Ok(())
}
