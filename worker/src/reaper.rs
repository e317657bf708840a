//! Reaps orphans if this process is the first of a container, where no other process does it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};

/// The children that `tokio` waits for.
static OWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn own() -> MutexGuard<'static, BTreeSet<u32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a child as one that `tokio` waits for, until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnChild(Option<u32>);

impl Drop for OwnChild {
    fn drop(&mut self) {
        own().retain(|id| Some(*id) != self.0);
    }
}

/// Starts a process that is never reaped as an orphan.
pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, OwnChild)> {
    // The reaper waits for the lock, so that it doesn't see the child before it is marked.
    let mut own = own();
    let child = command.spawn()?;
    own.extend(child.id());
    let mark = OwnChild(child.id());
    Ok((child, mark))
}

/// Reaps orphans whenever a child ends. Returns at once if this process isn't the first of its container.
#[cfg(feature = "cli")]
pub async fn run() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    if std::process::id() != 1 {
        return Ok(());
    }
    let mut child_ended = signal(SignalKind::child())?;
    loop {
        reap();
        child_ended.recv().await;
    }
}

/// Reaps the zombies among the children of this process that are orphans: `tokio` doesn't know them, and they aren't in
/// this process's group, as the helpers are that a library starts.
#[cfg(feature = "cli")]
fn reap() {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::{Pid, getpgrp};

    let own = own();
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for id in numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the program's name in parentheses: state, parent, process group.
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        let (state, parent, group) = (fields.next(), fields.next(), fields.next());
        let is_orphan = parent == Some("1") && group != Some(&getpgrp().to_string()) && !own.contains(&id);
        if state == Some("Z") && is_orphan {
            let _ = waitpid(Pid::from_raw(id.cast_signed()), Some(WaitPidFlag::WNOHANG));
        }
    }
}
