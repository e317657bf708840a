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

/// The longest wait before due deliveries and reports are looked for again, also after failures in a row.
const FORGES: Duration = Duration::from_mins(1);

/// Changes within this time are looked at together.
const GATHERED: Duration = Duration::from_millis(50);

/// Handles deliveries of forges and tells states, whenever some are due.
pub async fn follow_forges<P: Local>(engine: Engine<P>, signals: Arc<Signals>) {
    let mut changes = signals.changes();
    let mut again = AGAIN;
    loop {
        changes.mark_unchanged();
        let (did, nothing_due_for) = run_due(&engine, &signals).await;
        if did || nothing_due_for.is_some() {
            again = AGAIN;
        }
        let wait = if let Some(wait) = nothing_due_for {
            wait
        } else {
            // What failed is due as before, so changes don't shorten this wait.
            sleep(AGAIN).await;
            let rest = again.saturating_sub(AGAIN);
            again = (again * 2).min(FORGES);
            rest
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

/// Handles what is due at forges. Returns whether something was handled, and how long nothing is due then; `None` if something failed,
/// which may be due as before.
async fn run_due<P: Local>(engine: &Engine<P>, signals: &Signals) -> (bool, Option<Duration>) {
    let mut did = false;
    let due = async {
        let round = engine.forges().run_due().await?;
        did = round.did;
        if did {
            signals.may_be_ready();
        }
        let next = engine.forges().next_due().await?;
        let wait = next.map_or(FORGES, |at| at.since(engine.now()).clamp(SHORTEST, FORGES));
        Ok::<_, EngineError>((!round.failed).then_some(wait))
    };
    let nothing_due_for = due.await.unwrap_or_else(|error| {
        tracing::error!(%error, "following forges failed; retrying");
        None
    });
    (did, nothing_due_for)
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use engine::clock::Clock;
    use engine::forge::event::{Incoming, PullAction, Signal};
    use engine::forge::records::{Delivery, DeliveryKey, DeliveryState};
    use engine::forge::store::{ForgeItems, ForgeStore, Item};
    use engine::ids::random;
    use memory::Memory;
    use protocol::{LinkName, Millis};
    use tokio::time::timeout;

    use super::*;

    const NOW: Millis = Millis(1_000_000);

    /// A clock that stands still and counts how often it is read: a round over what is due reads it a few times.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Clock for Counting {
        fn now(&self) -> Millis {
            self.0.fetch_add(1, Ordering::Relaxed);
            NOW
        }
    }

    /// An engine with an App whose record can't be read, so that it stays due.
    async fn stuck() -> (Engine<Memory>, Arc<Counting>) {
        let clock = Arc::new(Counting::default());
        let engine = Engine::new(Memory::new()).with_clock(clock.clone());
        let (list, sort, record) = ("FORGE#acme".to_owned(), "APP#12".to_owned(), "{".to_owned());
        let item = Item { list, sort, due: Some(NOW), version: 0, expires: None, record };
        engine.ports().put_item(item).await.expect("memory answers");
        (engine, clock)
    }

    /// Stores a delivery, which is ignored: its repository isn't linked.
    async fn deliver(engine: &Engine<Memory>) -> DeliveryKey {
        let key = DeliveryKey::new(LinkName::new("acme").expect("a name"), NOW, random());
        let signal = Signal::PullRequest { number: 1, action: PullAction::Closed, head: None, actor: "bob".to_owned() };
        let incoming = Incoming { id: "one".to_owned(), repository: 7, name: "acme/app".to_owned(), signal };
        engine.ports().put_delivery(Delivery::new(key.clone(), incoming)).await.expect("memory answers");
        key
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_due_is_tried_ever_less_often_and_wakes_no_claims() {
        let (engine, clock) = stuck().await;
        let signals = Arc::new(Signals::default());
        let changes = signals.changes();
        let followed = timeout(Duration::from_mins(10), follow_forges(engine, Arc::clone(&signals))).await;
        assert!(followed.is_err(), "it goes on");
        let reads = clock.0.load(Ordering::Relaxed);
        assert!((10..100).contains(&reads), "{reads} reads of the clock");
        assert!(!changes.has_changed().expect("the signals are there"));
    }

    #[tokio::test(start_paused = true)]
    async fn delivery_is_handled_soon_while_something_else_stays_due() {
        let (engine, _) = stuck().await;
        let signals = Arc::new(Signals::default());
        let follow = tokio::spawn(follow_forges(engine.clone(), Arc::clone(&signals)));
        sleep(Duration::from_mins(10)).await;
        let key = deliver(&engine).await;
        signals.changed();
        sleep(AGAIN * 2).await;
        let delivery = engine.ports().delivery(&key).await.expect("memory answers").expect("it is there");
        assert_eq!(delivery.state, DeliveryState::Ignored);
        follow.abort();
    }
}
