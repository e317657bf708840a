//! Background tasks: process change events and fire due timers.

use std::sync::Arc;
use std::time::Duration;

use engine::ports::Local;
use engine::{Engine, Result};
use tokio::time::sleep;

use crate::signals::Signals;

/// After an error of the store.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest wait before due timers are checked again, in case the machine slept.
const LONGEST: Duration = Duration::from_mins(1);
/// And no more often, however many are due.
const SHORTEST: Duration = Duration::from_millis(5);

/// Does what is listed, as it comes.
pub async fn process<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    loop {
        signals.work.notified().await;
        while let Err(error) = work_until_none(&engine, &signals).await {
            tracing::error!(%error, "working off changes; trying again");
            sleep(AGAIN).await;
        }
    }
}

/// As `Engine::drain`, but who waits is told after each piece, not after the last.
async fn work_until_none<P: Local>(engine: &Engine<P>, signals: &Signals) -> Result<()> {
    while engine.scheduling().drain_one().await? {
        signals.may_be_ready();
    }
    Ok(())
}

/// Looks at all open runs once, and then at each whose timer is due.
pub async fn run_timers<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    while let Err(error) = engine.scheduling().fire_all_timers().await {
        tracing::error!(%error, "looking at the open runs; trying again");
        sleep(AGAIN).await;
    }
    let timer = &signals.timer;
    loop {
        timer.forget();
        let wait = match engine.scheduling().run_timers().await {
            Ok(next) => {
                timer.set(next);
                next.map_or(LONGEST, |at| at.since(engine.now()).clamp(SHORTEST, LONGEST))
            }
            Err(error) => {
                tracing::error!(%error, "firing due timers failed; retrying");
                AGAIN
            }
        };
        signals.may_be_ready();
        tokio::select! {
            () = sleep(wait) => {}
            () = timer.earlier() => {}
        }
    }
}
