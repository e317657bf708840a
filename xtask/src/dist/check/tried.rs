//! Uses an installed `wfg` as a person would: its version, the example, and a server with a worker.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::dist::payload::VERSION;
use crate::project::{Running, root};

/// The end of the example's run.
const SUCCEEDED: &str = "multi-env-deploy succeeded";

/// An installed program.
pub struct Installed {
    /// The words that start it, such as `chroot FOLDER /usr/bin/wfg`.
    words: Vec<OsString>,
    /// A folder that it may write to.
    folder: PathBuf,
    /// That folder as the program sees it.
    inside: PathBuf,
    /// Where it looks for other programs.
    path: OsString,
}

impl Installed {
    /// A program that runs in this system.
    pub fn here(words: &[&Path], folder: &Path) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let words = words.iter().map(|word| word.as_os_str().to_owned()).collect();
        Self { words, folder: folder.to_owned(), inside: folder.to_owned(), path }
    }

    /// The program `/usr/bin/wfg` of another system's root folder, run by a user who may write to `/{folder}` there.
    pub fn in_root(root: &Path, user: &str, folder: &str) -> Self {
        let words =
            ["/usr/sbin/chroot".into(), format!("--userspec={user}").into(), root.into(), "/usr/bin/wfg".into()];
        let inside = Path::new("/").join(folder);
        Self { words: words.into(), folder: root.join(folder), inside, path: "/usr/bin:/bin".into() }
    }

    /// The program with no variables but those that it needs.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(arguments).stdin(Stdio::null());
        command.env_clear().env("PATH", &self.path).env("TMPDIR", "/tmp");
        command
    }

    /// What the program prints. Fails if it fails.
    pub fn output(&self, arguments: &[&str]) -> Result<String> {
        let output =
            self.command(arguments).output().with_context(|| format!("starting {}", self.words[0].display()))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "wfg {} failed ({}): {printed}{errors}", arguments.join(" "), output.status);
        Ok(printed)
    }

    /// The path of a file in the folder, as the program sees it.
    fn inside(&self, name: &str) -> Result<String> {
        self.inside.join(name).into_os_string().into_string().ok().context("the path isn't UTF-8")
    }

    /// Asks for the version, runs the example, and runs it again with a server and a worker.
    pub fn try_out(&self) -> Result<()> {
        let version = self.output(&["--version"])?;
        ensure!(version == format!("wfg {VERSION}\n"), "the version is {version}");
        std::fs::copy(root().join("examples/multi-env-deploy.yml"), self.folder.join("example.yml"))?;
        let example = self.inside("example.yml")?;
        let printed = self.output(&["run", &example])?;
        ensure!(printed.contains(SUCCEEDED), "the example's run printed:\n{printed}");
        let (server, url) = self.serve()?;
        ensure!(self.output(&["health", "--server", &url])?.starts_with("ok, version"), "the server isn't healthy");
        let worker = self.command(&["worker", "--server", &url, "--labels", "staging,production"]).spawn()?;
        let worker = Running(worker);
        let printed = self.output(&["submit", "--server", &url, "--watch", &example])?;
        ensure!(printed.contains(SUCCEEDED), "the example on the server printed:\n{printed}");
        drop(worker);
        drop(server);
        ensure!(self.output(&["health", "--server", &url]).is_err(), "the server goes on after SIGTERM");
        Ok(())
    }

    /// Starts a server with its data in the folder. Returns its URL.
    fn serve(&self) -> Result<(Running, String)> {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &self.inside("wfg.db")?];
        let mut server = self.command(&arguments).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(server.stdout.take().context("its output is piped")?).lines();
        let server = Running(server);
        let url = lines.find_map(|line| Some(line.ok()?.strip_prefix("wfg serves ")?.to_owned()));
        // What else it prints is of no interest, but somebody must read it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((server, url.context("the server ended before it served")?))
    }
}
