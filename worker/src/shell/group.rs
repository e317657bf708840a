//! The process group of a job: signals it and waits for its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// Interval at which it checks whether an ending group is gone.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the kernel may take to remove killed processes. Zombies whose parent doesn't reap them stay longer.
const KILL_TIME: Duration = Duration::from_secs(3);

/// The processes of a job. Killed when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Pid>,
    /// It had no member, so that its number may be that of another group by now.
    gone: AtomicBool,
}

impl Group {
    /// The group that `child` leads.
    pub fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Self { leader, gone: AtomicBool::new(false) }
    }

    /// Whether the group has a member, which may be a zombie.
    pub fn is_alive(&self) -> bool {
        self.signal(None)
    }

    /// Sends SIGTERM, and SIGKILL if the group still has a member after `grace`. Returns when the group is gone, or
    /// [`KILL_TIME`] after SIGKILL.
    pub async fn end(&self, grace: Duration) {
        for (signal, time) in [(Signal::SIGTERM, grace), (Signal::SIGKILL, KILL_TIME)] {
            self.signal(signal);
            let until = Instant::now() + time;
            while Instant::now() < until {
                if !self.is_alive() {
                    return;
                }
                sleep(CHECK_INTERVAL).await;
            }
        }
    }

    /// Returns false if the group has no member.
    fn signal(&self, signal: impl Into<Option<Signal>>) -> bool {
        let Some(leader) = self.leader.filter(|_| !self.gone.load(Ordering::Relaxed)) else { return false };
        let sent = killpg(leader, signal);
        if sent == Err(Errno::ESRCH) {
            self.gone.store(true, Ordering::Relaxed);
        }
        sent.is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn group_that_had_no_member_is_never_signalled_again() {
        let mut child = Command::new("true").process_group(0).spawn().expect("`true` starts");
        let group = Group::of(&child);
        child.wait().await.expect("it ends");
        assert!(!group.is_alive());
        let own = Group { leader: Some(nix::unistd::getpgrp()), gone: AtomicBool::new(true) };
        assert!(!own.is_alive(), "the number is in use again");
        assert!(group.gone.load(Ordering::Relaxed));
    }
}
