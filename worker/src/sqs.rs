//! Occasions to claim from the pools' queues on SQS: each covered pool's is polled while a slot is free.
//!
//! A message is a hint. It is deleted once the claim it led to was answered, whatever the answer; left to come back if
//! the claim failed; and released at once if there is no slot for it. Now and then, and when a queue is new, the worker
//! also claims without a ticket, so that one that was lost costs a wait and not the job.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use aws::{TicketError, TicketMessage, TicketQueues};
use protocol::wire::QueueInfo;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::WorkerConfig;
use crate::config::ConfigError;
use crate::retry::Backoff;
use crate::source::{Boxed, ClaimResult, ClaimTrigger, Source, jittered};
use crate::task::AbortOnDrop;

/// A queue that has a ticket has given it by then; only then is a free slot filled without.
const HEAD_START: Duration = Duration::from_millis(200);
/// The functions know of a new queue after a second. What became ready before that has no ticket.
const KNOWN: Duration = Duration::from_secs(2);
/// A draining worker ends when claims found nothing for 10 s, so several must fit.
const DRAINING: Duration = Duration::from_secs(2);
/// The longest pause after a queue that can't be received from.
const ERROR_PAUSE: Duration = Duration::from_secs(30);
/// How long deleting and releasing may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Tickets of the queues, and claims without one when they are due.
pub(crate) struct Tickets {
    /// Free slots. Dropping it ends the polling.
    room: watch::Sender<usize>,
    news: mpsc::UnboundedReceiver<News>,
    following: AbortOnDrop<()>,
    every: Duration,
    /// When to claim without a ticket.
    due: Instant,
    /// Whether a queue was new lately.
    new_queue: bool,
    /// How the last claim without a ticket went.
    asked: Option<oneshot::Receiver<ClaimResult>>,
    had_room: bool,
}

enum News {
    Ticket(ClaimTrigger),
    NewQueue,
}

impl Tickets {
    /// Polls the queues that are listed, as the list changes.
    pub async fn open(config: &WorkerConfig, listed: watch::Receiver<Vec<QueueInfo>>) -> Result<Self, ConfigError> {
        let queues = TicketQueues::from_env().await;
        let queues = queues.map_err(|error| ConfigError { name: "transport", reason: error.to_string() })?;
        let (room, has_room) = watch::channel(0);
        let (tell, news) = mpsc::unbounded_channel();
        let every = recheck(config);
        if listed.borrow().is_empty() {
            tracing::info!("there is no queue to poll yet; until there is, the server is asked every {every:?}");
        }
        let wait = Duration::from_secs(config.wait_secs.into());
        let poller = Poller { queues, listed, room: has_room, tell, wait, pace: config.poll };
        Ok(Self {
            room,
            news,
            following: AbortOnDrop::spawn(follow(poller)),
            every,
            due: Instant::now(),
            new_queue: true,
            asked: None,
            had_room: true,
        })
    }

    /// What the last claim without a ticket, if it was answered, says of when the next is due.
    fn heed(&mut self) {
        let Some(verdict) = self.asked.take().and_then(|mut asked| asked.try_recv().ok()) else { return };
        let wait = match verdict {
            ClaimResult::Failed => Duration::ZERO,
            ClaimResult::Given => HEAD_START,
            ClaimResult::Nothing if std::mem::take(&mut self.new_queue) => KNOWN,
            ClaimResult::Nothing => jittered(self.every),
        };
        self.due = Instant::now() + wait;
    }

    fn hear_of_new_queue(&mut self) {
        self.due = Instant::now();
        self.new_queue = true;
    }

    async fn next(&mut self) -> ClaimTrigger {
        loop {
            tokio::select! {
                biased;
                Some(news) = self.news.recv() => match news {
                    News::Ticket(trigger) => return trigger,
                    News::NewQueue => self.hear_of_new_queue(),
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
        self.heed();
        if !std::mem::replace(&mut self.had_room, true) {
            self.due = self.due.max(Instant::now() + HEAD_START);
        }
        self.set_room(room);
        Box::pin(self.next())
    }

    fn no_room(&mut self) -> Boxed<'_, Infallible> {
        self.had_room = false;
        self.set_room(0);
        Box::pin(async {
            loop {
                match self.news.recv().await {
                    Some(News::Ticket(unused)) => drop(unused),
                    Some(News::NewQueue) => self.hear_of_new_queue(),
                    None => pending().await,
                }
            }
        })
    }

    fn pause(&self) -> Option<Duration> {
        None
    }

    fn end(self: Box<Self>) -> Boxed<'static, ()> {
        let Self { room, news, mut following, .. } = *self;
        Box::pin(async move {
            // What was received and not decided is released.
            drop(news);
            drop(room);
            let _ = timeout(LAST_WORDS, following.ended()).await;
        })
    }
}

/// How often to claim without a ticket. A worker that ends for want of work must have asked before it does.
fn recheck(config: &WorkerConfig) -> Duration {
    let every = config.idle_exit.map_or(config.recheck, |limit| config.recheck.min(limit / 2));
    if config.drain { every.min(DRAINING) } else { every }
}

/// Sees that each listed queue is polled, until the worker ends and all are told what was decided.
async fn follow(mut all: Poller) {
    let mut pollers = JoinSet::new();
    let mut polled: HashMap<Id, String> = HashMap::new();
    // At the start the worker claims in any case.
    let mut started = false;
    loop {
        let mut new = all.listed.borrow_and_update().clone();
        new.retain(|queue| !polled.values().any(|url| *url == queue.url));
        if started && !new.is_empty() {
            let _ = all.tell.send(News::NewQueue);
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
            () = over(&mut all.room) => break,
        }
    }
    while pollers.join_next().await.is_some() {}
}

/// Resolves when the worker ends.
async fn over(room: &mut watch::Receiver<usize>) {
    while room.changed().await.is_ok() {}
}

/// What polls a queue.
#[derive(Clone)]
struct Poller {
    queues: TicketQueues,
    listed: watch::Receiver<Vec<QueueInfo>>,
    room: watch::Receiver<usize>,
    tell: mpsc::UnboundedSender<News>,
    /// How long an empty queue is waited for.
    wait: Duration,
    /// From one receive to the next, should a queue not wait.
    pace: Duration,
}

impl Poller {
    /// Until the queue isn't listed any more, or the worker ends.
    async fn poll(mut self, queue: QueueInfo) {
        let mut delays = Backoff::new(Duration::from_secs(1), ERROR_PAUSE);
        let mut told = false;
        tracing::debug!("polling the queue of pool [{}]", queue.labels);
        loop {
            let Ok(room) = self.room.wait_for(|room| *room > 0).await.map(|room| *room) else { return };
            if !self.listed.borrow_and_update().iter().any(|listed| listed.url == queue.url) {
                return tracing::debug!("the queue of pool [{}] isn't listed any more", queue.labels);
            }
            let began = Instant::now();
            let mut room_of_all = self.room.clone();
            // A receive that is dropped may have hidden a ticket for a while, so that is done at the very end only.
            let answer = tokio::select! {
                answer = self.queues.receive(&queue.url, room, self.wait) => answer,
                () = over(&mut room_of_all) => return,
            };
            match answer {
                Ok(messages) => {
                    told = false;
                    delays.reset();
                    let came = !messages.is_empty();
                    self.hand_over(&queue.url, messages).await;
                    if !came {
                        self.rest(self.pace.saturating_sub(began.elapsed())).await;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
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

    /// Offers each ticket, and tells the queue what became of it.
    async fn hand_over(&self, url: &str, messages: Vec<TicketMessage>) {
        let offered: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let (trigger, verdict) = ClaimTrigger::new(Some(message.ticket.clone()));
                let _ = self.tell.send(News::Ticket(trigger));
                (message, verdict)
            })
            .collect();
        for (message, verdict) in offered {
            let told = match verdict.await {
                Ok(ClaimResult::Given | ClaimResult::Nothing) => self.queues.delete(url, &message).await,
                Ok(ClaimResult::Failed) => Ok(()),
                Err(_) => self.queues.release(url, &message).await,
            };
            if let Err(error) = told {
                tracing::debug!("{url}: {error}; the message comes back by itself");
            }
        }
    }

    async fn rest(&mut self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = over(&mut self.room) => {}
        }
    }

    /// Waits for the next answer to the worker's heartbeat.
    async fn next_list(&mut self) {
        tokio::select! {
            _ = self.listed.changed() => {}
            () = over(&mut self.room) => {}
        }
    }
}
