//! A package for Debian and Ubuntu: the program, a systemd unit, a user and the folder of its data.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::archive::{Tree, ar};
use super::payload::{DESCRIPTION, NAME, Payload, VERSION};
use super::target::Target;
use crate::project::root;

/// Where the units in `infra` expect the program, and where the package has it.
const PROGRAM: [&str; 2] = ["/usr/local/bin/wfg", "/usr/bin/wfg"];

/// Makes the user and the folder. The service isn't started: on loopback every user of the machine may use it.
const POSTINST: &str = "#!/bin/sh
set -e
if [ \"$1\" = configure ]; then
    adduser --system --group --quiet --home /var/lib/wfg --no-create-home wfg
    install -d -m 0700 -o wfg -g wfg /var/lib/wfg
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        # After an upgrade the new program serves.
        if [ -n \"$2\" ]; then systemctl try-restart wfg.service; fi
    fi
fi
";

/// Stops the service before its program is removed.
const PRERM: &str = "#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now wfg.service; fi
";

/// `apt-get purge` removes the data too. The user stays, so that its id isn't given to another.
const POSTRM: &str = "#!/bin/sh
set -e
if [ \"$1\" = purge ]; then rm -rf /var/lib/wfg; fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
";

/// The package's file name and bytes.
pub fn deb(payload: &Payload, target: Target, time: u64) -> Result<(String, Vec<u8>)> {
    let data = content(payload)?;
    let installed: usize = data.files().map(|(_, bytes)| bytes.len().div_ceil(1024)).sum();
    let mut control = Tree::default();
    control.file("control", fields(target, installed));
    for (name, script) in [("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)] {
        control.program(name, script);
    }
    let level = payload.compression;
    let (control, data) = (control.tar_gz("./", level, time)?, data.with_parents().tar_gz("./", level, time)?);
    let members = [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)];
    Ok((format!("{NAME}_{VERSION}_{}.deb", target.debian()), ar(&members, time)))
}

fn content(payload: &Payload) -> Result<Tree> {
    let mut data = Tree::default();
    data.program("usr/bin/wfg", payload.binary.clone());
    data.below("usr/", &payload.shared);
    data.file("usr/lib/systemd/system/wfg.service", unit("wfg.service")?);
    // Not a unit yet: it names a user and a folder that only the machine's administrator knows.
    data.file("usr/share/doc/wfg/examples/wfg-worker@.service", unit("wfg-worker@.service")?);
    data.file("usr/share/doc/wfg/copyright", copyright(payload));
    Ok(data)
}

fn unit(name: &str) -> Result<String> {
    let path = root().join("infra").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let [there, here] = PROGRAM;
    ensure!(text.contains(there), "{name} doesn't start {there}");
    Ok(text.replace(there, here))
}

fn copyright(payload: &Payload) -> Vec<u8> {
    payload.licences.files().flat_map(|(_, text)| text).copied().collect()
}

fn fields(target: Target, kilobytes: usize) -> String {
    format!(
        "Package: {NAME}\nVersion: {VERSION}\nArchitecture: {}\nMaintainer: the workflow-graph project\nSection: utils\n\
         Priority: optional\nDepends: adduser\nRecommends: ca-certificates\nInstalled-Size: {kilobytes}\nDescription: {DESCRIPTION}\n",
        target.debian()
    )
}
