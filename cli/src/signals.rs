//! Signals that ask a program to end.

use futures::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// All signals that would end the program. From now on they end nothing by themselves.
pub struct Signals(Vec<(Signal, u8)>);

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> Result<Self, Failure> {
        // A system may not know all of them.
        let signals: Vec<_> = worker::signals::ending().into_iter().filter_map(catch).collect();
        if signals.is_empty() { Err(Failure::Usage("can't catch signals.".to_owned())) } else { Ok(Self(signals)) }
    }

    /// Waits for one. Returns the exit code by which a shell knows it.
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

fn catch(kind: SignalKind) -> Option<(Signal, u8)> {
    let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(u8::MAX);
    Some((signal(kind).ok()?, code))
}
