//! A container image in the layout of OCI, as one archive for both processors.
//!
//! The image has the static program, busybox for the shell of jobs (`wfg run`, `wfg worker`), and certificates of authorities for
//! HTTPS. Jobs that need more run in an image of their own that copies `/usr/bin/wfg` from this one. It runs as
//! [`USER`], which owns `/data` alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::archive::{Tree, gz};
use super::payload::{DESCRIPTION, LICENCE, NAME, Payload, VERSION};
use super::target::Target;
use super::toolchain::unpack;
use crate::project::cache;

/// The id of the user and of its group, as other images without root have it.
pub const USER: u64 = 65532;
/// The release of Debian that [`PACKAGES`] are from.
const SUITE: &str = "stable";
/// The packages of Debian whose files are in the image.
const PACKAGES: [&str; 2] = ["busybox-static", "ca-certificates"];
/// The programs for which busybox stands. Jobs of the examples and of the documentation need these.
const APPLETS: [&str; 34] = [
    "awk",
    "basename",
    "cat",
    "chmod",
    "cp",
    "cut",
    "date",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "printf",
    "pwd",
    "rm",
    "sed",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "tail",
    "tee",
    "test",
    "tr",
    "true",
    "uniq",
    "wc",
];
const MEDIA: &str = "application/vnd.oci.image";

/// The image's blobs, by digest.
#[derive(Default)]
struct Blobs(Tree);

impl Blobs {
    /// Adds a blob. Returns its descriptor.
    fn add(&mut self, media: &str, bytes: Vec<u8>) -> Value {
        let digest = hex::encode(Sha256::digest(&bytes));
        let descriptor = json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len() });
        self.0.file(format!("blobs/sha256/{digest}"), bytes);
        descriptor
    }

    fn json(&mut self, media: &str, value: &Value) -> Value {
        self.add(media, value.to_string().into_bytes())
    }
}

/// Adds to each payload the folder in which [`PACKAGES`] are unpacked for its processor.
pub fn with_debian(payloads: &[(Target, Payload)]) -> Result<Vec<(Target, &Payload, PathBuf)>> {
    let folder = |target: Target| -> Result<PathBuf> {
        let folder = cache()?.join("dist").join(format!("debian-{}", target.debian()));
        unpack(SUITE, target.debian(), &PACKAGES, &folder)?;
        Ok(folder)
    };
    payloads.iter().map(|(target, payload)| Ok((*target, payload, folder(*target)?))).collect()
}

/// The archive's file name and bytes. Each target comes with a folder in which [`PACKAGES`] are unpacked.
pub fn image(payloads: &[(Target, &Payload, PathBuf)], time: u64) -> Result<(String, Vec<u8>)> {
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for (target, payload, debian) in payloads {
        let layers = [base(debian)?, program(payload)];
        manifests.push(manifest(&mut blobs, *target, &layers, time)?);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": format!("{MEDIA}.index.v1+json"), "manifests": manifests });
    let mut archive = blobs.0.with_parents();
    archive.file("index.json", index.to_string());
    archive.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    Ok((format!("{NAME}-{VERSION}-oci.tar"), archive.tar("", time)?))
}

fn manifest(blobs: &mut Blobs, target: Target, layers: &[Tree], time: u64) -> Result<Value> {
    let (mut descriptors, mut plain) = (Vec::new(), Vec::new());
    for layer in layers {
        let tar = layer.tar("", time)?;
        plain.push(format!("sha256:{}", hex::encode(Sha256::digest(&tar))));
        descriptors.push(blobs.add(&format!("{MEDIA}.layer.v1.tar+gzip"), gz(&tar, Compression::best())?));
    }
    let config = blobs.json(&format!("{MEDIA}.config.v1+json"), &config(target, &plain, time));
    let media = format!("{MEDIA}.manifest.v1+json");
    let manifest = json!({ "schemaVersion": 2, "mediaType": media, "config": config, "layers": descriptors });
    let mut descriptor = blobs.json(&media, &manifest);
    descriptor["platform"] = json!({ "os": "linux", "architecture": target.debian() });
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": VERSION });
    Ok(descriptor)
}

fn config(target: Target, layers: &[String], time: u64) -> Value {
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
    json!({
        "created": humantime::format_rfc3339_seconds(created).to_string(),
        "architecture": target.debian(),
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": ["PATH=/usr/bin:/bin"],
            "WorkingDir": "/data",
            "Entrypoint": ["wfg"],
            "Cmd": ["serve", "--data", "/data/wfg.db", "--listen", "0.0.0.0:3000"],
            "ExposedPorts": { "3000/tcp": {} },
            "Volumes": { "/data": {} },
            "StopSignal": "SIGTERM",
            // Docker's field; other runtimes ignore it. Times in nanoseconds.
            "Healthcheck": { "Test": ["CMD", "wfg", "health"], "Interval": 30_000_000_000_u64, "Timeout": 10_000_000_000_u64 },
            "Labels": {
                "org.opencontainers.image.title": NAME,
                "org.opencontainers.image.description": DESCRIPTION,
                "org.opencontainers.image.version": VERSION,
                "org.opencontainers.image.licenses": LICENCE,
            },
        },
        "rootfs": { "type": "layers", "diff_ids": layers },
    })
}

/// What changes seldom: the user, the shell, the certificates.
fn base(debian: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.file("etc/passwd", format!("root:x:0:0::/:/bin/false\nwfg:x:{USER}:{USER}::/data:/bin/false\n"));
    tree.file("etc/group", format!("root:x:0:\nwfg:x:{USER}:\n"));
    tree.file("etc/ssl/certs/ca-certificates.crt", certificates(&debian.join("usr/share/ca-certificates/mozilla"))?);
    let busybox =
        ["bin/busybox", "usr/bin/busybox"].map(|path| debian.join(path)).into_iter().find(|path| path.exists());
    let busybox = busybox.with_context(|| format!("there is no busybox in {}", debian.display()))?;
    tree.program("bin/busybox", fs::read(busybox)?);
    for applet in APPLETS {
        tree.link(format!("bin/{applet}"), "busybox");
    }
    for package in PACKAGES {
        let notice = format!("usr/share/doc/{package}/copyright");
        let text = fs::read(debian.join(&notice)).with_context(|| format!("reading {notice} of {package}"))?;
        tree.file(notice, text);
    }
    let mut tree = tree.with_parents();
    tree.folder("tmp", 0o1777, 0);
    tree.folder("data", 0o700, USER);
    Ok(tree)
}

/// All certificates in the folder, one after the other.
fn certificates(folder: &Path) -> Result<Vec<u8>> {
    let read = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = read.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!paths.is_empty(), "there is no certificate in {}", folder.display());
    paths.sort();
    let mut bundle = Vec::new();
    for path in paths {
        bundle.extend(fs::read(path)?.trim_ascii_end());
        bundle.push(b'\n');
    }
    Ok(bundle)
}

fn program(payload: &Payload) -> Tree {
    let mut tree = Tree::default();
    tree.program("usr/bin/wfg", payload.binary.clone());
    tree.below("usr/share/doc/wfg/", &payload.licences);
    tree.with_parents()
}
