//! What goes on beside the requests: following up changes, ending leases, and the slow sweep.

use std::sync::Arc;
use std::time::Duration;

use engine::ports::{Local, Work};
use engine::{Engine, Outcome};
use tokio::time::sleep;

use crate::signals::Signals;

/// After an error of the store.
const AGAIN: Duration = Duration::from_secs(1);
/// Between sweeps, which find what nothing else has.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Leases are looked at no less often, should the machine have slept.
const LONGEST: Duration = Duration::from_mins(1);
/// And no more often, however many end.
const SHORTEST: Duration = Duration::from_millis(5);

/// Does what is listed, as it comes.
pub async fn work_off<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    loop {
        signals.work.notified().await;
        while let Err(error) = work_until_none(&engine, &signals).await {
            tracing::error!(%error, "working off changes; trying again");
            sleep(AGAIN).await;
        }
    }
}

/// As `Engine::settle`, but who waits is told after each piece, not after the last.
async fn work_until_none<P: Local>(engine: &Engine<P>, signals: &Signals) -> Outcome<()> {
    while let Some((number, work)) = engine.ports().next_work().await? {
        match work {
            Work::Notice(notice) => engine.on_notice(&notice).await?,
            Work::Walk(walk) => engine.walk_step(walk).await?,
        }
        engine.ports().work_done(number).await?;
        signals.may_be_ready();
    }
    Ok(())
}

/// Ends leases when they are over.
pub async fn end_leases<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    let timer = &signals.leases;
    loop {
        timer.forget();
        let wait = match engine.end_overdue().await {
            Ok(next) => {
                timer.set(next);
                next.map_or(LONGEST, |at| at.since(engine.ports().now()).clamp(SHORTEST, LONGEST))
            }
            Err(error) => {
                tracing::error!(%error, "ending leases; trying again");
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

/// At the start, for what was left undone, and then slowly.
pub async fn sweep<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    loop {
        if let Err(error) = engine.sweep().await {
            tracing::error!(%error, "sweeping");
        }
        signals.may_be_ready();
        sleep(SWEEP_EVERY).await;
    }
}
