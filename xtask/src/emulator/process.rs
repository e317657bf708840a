//! A process that ends, with everything it started, when its owner drops it or dies.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A process in a group of its own, and the shell script that ends the group.
///
/// In a group of its own the process doesn't receive the terminal's ctrl-C, so the owner decides when it ends. The script,
/// in a third group, detects the owner's death by the end of its standard input.
pub struct GuardedProcess {
    process: Child,
    guard: Child,
}

impl GuardedProcess {
    /// Starts `command`; `directory` is removed when the process is ended.
    pub fn spawn(command: &mut Command, directory: &Path) -> anyhow::Result<Self> {
        let mut process = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("can't start {}", command.get_program().display()))?;
        let guard = Command::new("/bin/sh")
            .args(["-c", include_str!("guard.sh"), "guard"])
            .arg(process.id().to_string())
            .arg(directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self { process, guard }),
            Err(error) => {
                process.kill()?;
                Err(error).context("can't start /bin/sh, which would end the process")
            }
        }
    }

    /// The process id, which is also the id of the group.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The exit status, if the process has ended by itself.
    pub fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Leaves the process running and its directory in place.
    pub fn keep(mut self) -> anyhow::Result<()> {
        let order = self.guard.stdin.take().context("the guard has no input")?;
        writeln!(&order, "keep").context("the guard is gone")?;
        drop(order);
        self.guard.wait()?;
        // `drop` would wait for the process; a `Child` by itself doesn't.
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for GuardedProcess {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Until the process is reaped, its group isn't empty for the guard.
        while let Ok(None) = self.guard.try_wait() {
            let _ = self.process.try_wait();
            sleep(POLL_INTERVAL);
        }
        // Has an effect only if the guard failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::time::Instant;

    use super::*;

    /// A process with a child, in a directory where both write their numbers.
    fn start(script: &str) -> (GuardedProcess, PathBuf, Vec<u32>) {
        let directory = tempfile::tempdir().unwrap().keep();
        let script = format!("{script}\nsleep 600 & echo $$ $! > pids.new; mv pids.new pids; wait; wait");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).current_dir(&directory);
        let process = GuardedProcess::spawn(&mut command, &directory).unwrap();
        let file = directory.join("pids");
        assert!(becomes_true(|| file.exists()));
        let pids = fs::read_to_string(file).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        (process, directory, pids)
    }

    fn alive(pid: u32) -> bool {
        let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
        let state = String::from_utf8(output.stdout).unwrap();
        !state.trim().is_empty() && !state.starts_with('Z')
    }

    fn becomes_true(condition: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while !condition() {
            if started.elapsed() > Duration::from_secs(10) {
                return false;
            }
            sleep(Duration::from_millis(10));
        }
        true
    }

    #[test]
    fn dropping_ends_the_process_with_its_children_and_removes_the_directory() {
        let (process, directory, pids) = start("");
        assert!(pids.iter().all(|&pid| alive(pid)));
        let started = Instant::now();
        drop(process);
        assert!(started.elapsed() < Duration::from_secs(4));
        assert!(!pids.iter().any(|&pid| alive(pid)));
        assert!(!directory.exists());
    }

    #[test]
    fn a_process_that_ignores_sigterm_is_killed() {
        let (process, directory, pids) = start("trap '' TERM");
        drop(process);
        // A killed process ends a moment later.
        assert!(becomes_true(|| !pids.iter().any(|&pid| alive(pid))));
        assert!(!directory.exists());
    }

    #[test]
    fn the_owners_death_ends_the_process() {
        let (mut process, directory, pids) = start("");
        // This is what the kernel does when the owner is killed; `drop` does more.
        drop(process.guard.stdin.take());
        process.process.wait().unwrap();
        assert!(becomes_true(|| !directory.exists()));
        assert!(!pids.iter().any(|&pid| alive(pid)));
    }

    #[test]
    fn a_kept_process_lives_on() {
        let (process, directory, pids) = start("");
        let group = process.id();
        process.keep().unwrap();
        assert!(pids.iter().all(|&pid| alive(pid)));
        assert!(directory.exists());
        Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status().unwrap();
        fs::remove_dir_all(directory).unwrap();
    }
}
