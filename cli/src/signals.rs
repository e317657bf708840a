//! Signals that ask a program to end.

use std::io;

use futures::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// SIGINT and SIGTERM, and SIGHUP unless the program was started to outlive its terminal (`nohup`). They end nothing by
/// themselves from now on.
pub struct Signals(Vec<(Signal, u8)>);

impl Signals {
    /// From now on.
    pub fn catch() -> Result<Self, Failure> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        kinds.extend((!hangup_is_ignored()).then(SignalKind::hangup));
        kinds
            .into_iter()
            .map(catch)
            .collect::<io::Result<_>>()
            .map(Self)
            .map_err(|error| Failure::Usage(format!("can't catch signals: {error}.")))
    }

    /// Waits for one; the exit code by which a shell knows it.
    pub async fn next(&mut self) -> u8 {
        let each = self.0.iter_mut().map(|(signal, code)| {
            Box::pin(async move {
                signal.recv().await;
                *code
            })
        });
        select_all(each).await.0
    }
}

fn catch(kind: SignalKind) -> io::Result<(Signal, u8)> {
    let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX);
    Ok((signal(kind)?, code))
}

/// As Linux tells; elsewhere it counts as not ignored.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
