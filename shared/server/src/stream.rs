//! Streams events over one connection until there are no more.

use std::convert::Infallible;
use std::time::Duration;

use api::{Accepted, Events};
use bytes::Bytes;
use engine::Engine;
use engine::ports::Local;
use futures::future::BoxFuture;
use futures::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::shared::{Response, Shared};

/// A comment is sent after this much silence, so that no proxy closes the connection as idle.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";

struct Held<P> {
    engine: Engine<P>,
    /// The caller must still be admitted whenever there are new events, and after each silence.
    accepted: Accepted<P>,
    events: Events,
    /// No read begins before.
    not_before: Instant,
    changes: watch::Receiver<()>,
    stopped: BoxFuture<'static, ()>,
}

/// The response, followed by the events as they come.
pub fn held_open<P: Local + 'static>(
    shared: &Shared<P>,
    accepted: Accepted<P>,
    response: http::Response<Bytes>,
    events: Events,
) -> Response {
    let signals = &shared.signals;
    let mut held = Held {
        engine: shared.service.engine().clone(),
        accepted,
        not_before: Instant::now() + events.pause(true),
        events,
        changes: signals.changes(),
        stopped: Box::pin(signals.stopped()),
    };
    // Chunks that were written after the first page was read and before this subscription must not be missed.
    held.changes.mark_changed();
    let (parts, first) = response.into_parts();
    let rest = unfold((Some(first), held), |(first, mut held)| async move {
        let next = match first {
            Some(first) => first,
            None => held.next().await?,
        };
        Some((Ok::<_, Infallible>(Frame::data(next)), (None, held)))
    });
    Response::from_parts(parts, StreamBody::new(rest).boxed_unsync())
}

impl<P: Local> Held<P> {
    /// The next events or a comment; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let silent_until = Instant::now() + KEEP_ALIVE;
        while !self.events.is_ended() {
            let not_before = self.not_before;
            let changed = async {
                sleep_until(not_before).await;
                self.changes.changed().await
            };
            let silent = tokio::select! {
                changed = changed => changed.map(|()| false).ok()?,
                () = sleep_until(silent_until) => true,
                () = &mut self.stopped => return None,
            };
            self.accepted.readmit().await.ok()?;
            // Also after a silence: each read tells the worker that somebody waits for lines. The client reconnects after an error, and
            // gets it then if it persists.
            let text = self.events.next(&self.engine).await.ok()?;
            self.not_before = Instant::now() + self.events.pause(!text.is_empty());
            if !text.is_empty() {
                return Some(text.into());
            }
            if silent {
                return Some(Bytes::from_static(COMMENT));
            }
        }
        None
    }
}
