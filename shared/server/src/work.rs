//! Background tasks: process change events and fire due timers.

use std::sync::Arc;
use std::time::Duration;

use engine::ports::Local;
use engine::{Engine, EngineError, Result};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::signals::Signals;

/// The delay after an error of the store.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest wait before due timers are checked again, in case the machine slept.
const LONGEST: Duration = Duration::from_mins(1);
/// How often expired workflows are deleted.
const EXPIRY: Duration = Duration::from_hours(1);
/// The shortest wait, however many timers are due.
const SHORTEST: Duration = Duration::from_millis(5);

/// Has the listed work processed whenever there may be some, until the signals stop.
pub fn process_with<P: Local + 'static>(engine: &Engine<P>, signals: &Arc<Signals>) {
    let (engine, weak) = (engine.clone(), Arc::downgrade(signals));
    signals.work.start_with(move || {
        if let Some(signals) = weak.upgrade() {
            tokio::spawn(process(engine.clone(), signals));
        }
    });
}

async fn process<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    let work = async {
        let _turn = signals.work.turn().await;
        while let Err(error) = work_until_none(&engine, &signals).await {
            tracing::error!(%error, "processing changes failed; retrying");
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = signals.stopped() => {}
    }
}

/// As `Scheduling::drain`, but wakes waiting claims after each step, not after the last. Between two steps other tasks of the
/// thread have their turn.
async fn work_until_none<P: Local>(engine: &Engine<P>, signals: &Signals) -> Result<()> {
    while engine.scheduling().drain_one().await? {
        signals.worked();
        yield_now().await;
    }
    Ok(())
}

/// The longest wait before due deliveries and reports are looked for again.
const FORGES: Duration = Duration::from_mins(1);

/// Changes within this time are looked at together.
const GATHERED: Duration = Duration::from_millis(50);

/// Handles deliveries of forges and tells states, whenever some are due.
pub async fn follow_forges<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    let mut changes = signals.changes();
    loop {
        changes.mark_unchanged();
        let due = async { Ok::<_, EngineError>((engine.forges().run_due().await?, engine.forges().next_due().await?)) };
        let wait = match due.await {
            Ok((any, next)) => {
                if any {
                    signals.may_be_ready();
                }
                next.map_or(FORGES, |at| at.since(engine.now()).clamp(SHORTEST, FORGES))
            }
            Err(error) => {
                tracing::error!(%error, "following forges failed; retrying");
                AGAIN
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            next = changes.changed() => {
                if next.is_err() {
                    return;
                }
                sleep(GATHERED).await;
            }
        }
    }
}

/// Fires the timers of all open runs once, in case one was lost, and then each timer when it is due.
pub async fn run_timers<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    while let Err(error) = engine.scheduling().fire_all_timers().await {
        tracing::error!(%error, "firing the timers of open runs failed; retrying");
        sleep(AGAIN).await;
    }
    let timer = &signals.timer;
    let mut expiry = engine.now();
    loop {
        if engine.now() >= expiry {
            expiry = engine.now() + EXPIRY;
            if let Err(error) = engine.scheduling().expire_workflows().await {
                tracing::error!(%error, "deleting expired workflows failed; trying again in an hour");
            }
        }
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
