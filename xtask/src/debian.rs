//! Programs that Debian's packages provide.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::project::run;

/// A requirement on the machine: a command that succeeds if it is met, and Debian's packages for it.
pub struct Needed {
    pub check: &'static [&'static str],
    pub packages: &'static [&'static str],
}

impl Needed {
    fn is_there(&self) -> bool {
        let Some((program, arguments)) = self.check.split_first() else { return true };
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}

/// Installs missing packages with apt-get, as root or with sudo.
pub fn install(needed: &[Needed]) -> Result<()> {
    let missing = || needed.iter().filter(|needed| !needed.is_there()).flat_map(|needed| needed.packages).copied();
    let packages: Vec<&str> = missing().collect();
    if packages.is_empty() {
        return Ok(());
    }
    let hint = || format!("installing {0} failed; install it by hand (apt-get install {0})", packages.join(" "));
    apt_get(&["update", "--quiet"]).with_context(hint)?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages.as_slice()].concat()).with_context(hint)?;
    let missing: Vec<&str> = missing().collect();
    ensure!(missing.is_empty(), "what apt-get installed for {} is too old, or isn't found in PATH", missing.join(" "));
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let id = Command::new("id").arg("-u").output().context("running id")?;
    let own: &[&str] = if id.stdout.trim_ascii() == b"0" { &[] } else { &["sudo"] };
    let command = [own, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    run(Command::new(command[0]).args(&command[1..]))
}
