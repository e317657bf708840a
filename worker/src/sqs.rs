//! Claim triggers from the pools' queues on SQS. The queue of each covered pool is polled while a slot is free.
//!
//! A message is a hint. It is deleted once its claim was answered, whether or not a job was found; it becomes visible again
//! if the claim failed; it is released at once if no slot is free. At an interval, and when a queue is new, the worker also
//! claims without a ticket, so that a lost message delays a job but doesn't lose it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use aws::{TicketError, TicketMessage, TicketQueues};
use client::retry::{Backoff, jittered};
use protocol::wire::QueueInfo;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::WorkerConfig;
use crate::config::ConfigError;
use crate::executor::Boxed;
use crate::source::{ClaimResult, ClaimTrigger, Source};

/// Delay of a claim without a ticket after a slot became free, so that a ticket that is already in a queue comes first.
const HEAD_START: Duration = Duration::from_millis(200);
/// Delay of the second claim after a queue is new. The functions learn of it within a second; earlier jobs have no ticket.
const KNOWN: Duration = Duration::from_secs(2);
/// Longest interval of claims with `drain`, so that several fit in the 10 s after which the worker ends.
const DRAINING: Duration = Duration::from_secs(2);
/// Longest pause after a receive that failed.
const ERROR_PAUSE: Duration = Duration::from_secs(30);
/// How long deleting and releasing messages may take at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A source of triggers: tickets from the queues, and claims without a ticket when they are due.
pub(crate) struct Tickets {
    /// Number of free slots. Dropping it ends the polling.
    room: watch::Sender<usize>,
    events: mpsc::UnboundedReceiver<Event>,
    following: AbortOnDropHandle<()>,
    every: Duration,
    /// When to claim without a ticket.
    due: Instant,
    /// Whether a queue is new since the last claim without a ticket.
    new_queue: bool,
    /// The result of the last claim without a ticket.
    asked: Option<oneshot::Receiver<ClaimResult>>,
    had_room: bool,
}

enum Event {
    Ticket(ClaimTrigger),
    NewQueue,
}

impl Tickets {
    /// Polls the listed queues and follows changes of the list.
    pub async fn open(config: &WorkerConfig, listed: watch::Receiver<Vec<QueueInfo>>) -> Result<Self, ConfigError> {
        let queues = TicketQueues::from_env().await;
        let queues =
            queues.map_err(|error| ConfigError { name: "WORKER_TRANSPORT".to_owned(), reason: error.to_string() })?;
        let (room, has_room) = watch::channel(0);
        let (sender, events) = mpsc::unbounded_channel();
        let every = recheck(config);
        if listed.borrow().is_empty() {
            tracing::info!("no queue to poll yet; until there is one, the worker polls the server every {every:?}");
        }
        let wait = Duration::from_secs(config.wait_secs.into());
        let poller = Poller { queues, listed, room: has_room, events: sender, wait, pace: config.poll };
        Ok(Self {
            room,
            events,
            following: AbortOnDropHandle::new(tokio::spawn(follow(poller))),
            every,
            due: Instant::now(),
            new_queue: true,
            asked: None,
            had_room: true,
        })
    }

    /// Sets when the next claim without a ticket is due, from the result of the last one.
    fn schedule_recheck(&mut self) {
        let Some(result) = self.asked.take().and_then(|mut asked| asked.try_recv().ok()) else { return };
        let wait = match result {
            ClaimResult::Failed => Duration::ZERO,
            ClaimResult::Claimed => HEAD_START,
            ClaimResult::NoJob if std::mem::take(&mut self.new_queue) => KNOWN,
            ClaimResult::NoJob => jittered(self.every),
        };
        self.due = Instant::now() + wait;
    }

    fn note_new_queue(&mut self) {
        self.due = Instant::now();
        self.new_queue = true;
    }

    async fn next(&mut self) -> ClaimTrigger {
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => match event {
                    Event::Ticket(trigger) => return trigger,
                    Event::NewQueue => self.note_new_queue(),
                },
                () = sleep_until(self.due) => {
                    let (trigger, asked) = ClaimTrigger::new(None);
                    self.asked = Some(asked);
                    return trigger;
                }
            }
        }
    }

    fn set_room(&self, room: usize) {
        self.room.send_if_modified(|now| std::mem::replace(now, room) != room);
    }
}

impl Source for Tickets {
    fn trigger(&mut self, room: usize) -> Boxed<'_, ClaimTrigger> {
        self.schedule_recheck();
        if !std::mem::replace(&mut self.had_room, true) {
            self.due = self.due.max(Instant::now() + HEAD_START);
        }
        self.set_room(room);
        Box::pin(self.next())
    }

    fn release(&mut self) -> Boxed<'_, Infallible> {
        self.had_room = false;
        self.set_room(0);
        Box::pin(async {
            loop {
                match self.events.recv().await {
                    Some(Event::Ticket(unused)) => drop(unused),
                    Some(Event::NewQueue) => self.note_new_queue(),
                    None => pending().await,
                }
            }
        })
    }

    fn pause(&self) -> Option<Duration> {
        None
    }

    fn end(self: Box<Self>) -> Boxed<'static, ()> {
        let Self { room, events, following, .. } = *self;
        Box::pin(async move {
            // Tickets without a result are released.
            drop(events);
            drop(room);
            let _ = timeout(SHUTDOWN_TIMEOUT, following).await;
        })
    }
}

/// Interval of claims without a ticket, short enough that a worker with `idle_exit` or `drain` claims before it ends.
fn recheck(config: &WorkerConfig) -> Duration {
    let every = config.idle_exit.map_or(config.recheck, |limit| config.recheck.min(limit / 2));
    if config.drain { every.min(DRAINING) } else { every }
}

/// Runs a poller for each listed queue until the worker ends and every message was deleted or released.
async fn follow(mut all: Poller) {
    let mut pollers = JoinSet::new();
    let mut polled: HashMap<Id, String> = HashMap::new();
    // The worker's first claim needs no trigger.
    let mut started = false;
    loop {
        let mut new = all.listed.borrow_and_update().clone();
        new.retain(|queue| !polled.values().any(|url| *url == queue.url));
        if started && !new.is_empty() {
            let _ = all.events.send(Event::NewQueue);
        }
        started = true;
        for queue in new {
            let url = queue.url.clone();
            polled.insert(pollers.spawn(all.clone().poll(queue)).id(), url);
        }
        tokio::select! {
            Ok(()) = all.listed.changed() => {}
            Some(ended) = pollers.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                polled.remove(&id);
            }
            () = ended(&mut all.room) => break,
        }
    }
    while pollers.join_next().await.is_some() {}
}

/// Resolves when the worker ends.
async fn ended(room: &mut watch::Receiver<usize>) {
    while room.changed().await.is_ok() {}
}

/// Polls one queue.
#[derive(Clone)]
struct Poller {
    queues: TicketQueues,
    listed: watch::Receiver<Vec<QueueInfo>>,
    room: watch::Receiver<usize>,
    events: mpsc::UnboundedSender<Event>,
    /// How long a receive waits at an empty queue.
    wait: Duration,
    /// Shortest time between receives that found no message.
    pace: Duration,
}

impl Poller {
    /// Polls until the queue is no longer listed or the worker ends.
    async fn poll(mut self, queue: QueueInfo) {
        let mut delays = Backoff::new(Duration::from_secs(1), ERROR_PAUSE);
        let mut warned = false;
        tracing::debug!("polling the queue of pool [{}]", queue.labels);
        loop {
            let Ok(room) = self.room.wait_for(|room| *room > 0).await.map(|room| *room) else { return };
            if !self.listed.borrow_and_update().iter().any(|listed| listed.url == queue.url) {
                return tracing::debug!("the queue of pool [{}] is no longer listed", queue.labels);
            }
            let began = Instant::now();
            let mut room_of_all = self.room.clone();
            // Dropping a receive may leave a ticket invisible for a while, so this happens only when the worker ends.
            let answer = tokio::select! {
                answer = self.queues.receive(&queue.url, room, self.wait) => answer,
                () = ended(&mut room_of_all) => return,
            };
            match answer {
                Ok(messages) => {
                    warned = false;
                    delays.reset();
                    let empty = messages.is_empty();
                    self.hand_over(&queue.url, messages).await;
                    if empty {
                        self.rest(self.pace.saturating_sub(began.elapsed())).await;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!("the queue of pool [{}] can't be polled: {error}", queue.labels);
                    }
                    match error {
                        TicketError::QueueGone => self.next_list().await,
                        _ => self.rest(delays.grow()).await,
                    }
                }
            }
        }
    }

    /// Offers each ticket to the worker, then deletes or releases its message.
    async fn hand_over(&self, url: &str, messages: Vec<TicketMessage>) {
        let offered: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let (trigger, result) = ClaimTrigger::new(Some(message.ticket.clone()));
                let _ = self.events.send(Event::Ticket(trigger));
                (message, result)
            })
            .collect();
        for (message, result) in offered {
            let outcome = match result.await {
                Ok(ClaimResult::Claimed | ClaimResult::NoJob) => self.queues.delete(url, &message).await,
                Ok(ClaimResult::Failed) => Ok(()),
                Err(_) => self.queues.release(url, &message).await,
            };
            if let Err(error) = outcome {
                tracing::debug!("{url}: {error}; the message becomes visible again by itself");
            }
        }
    }

    async fn rest(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = ended(&mut self.room) => {}
        }
    }

    /// Waits for the next list of queues.
    async fn next_list(&mut self) {
        tokio::select! {
            _ = self.listed.changed() => {}
            () = ended(&mut self.room) => {}
        }
    }
}
