//! Streams a job's log over one connection until the job has ended.

use std::convert::Infallible;
use std::time::Duration;

use api::{Accepted, LogEvents};
use bytes::Bytes;
use engine::Engine;
use engine::ports::Local;
use futures::future::BoxFuture;
use futures::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::shared::{Response, Shared};

/// A comment is sent after this much silence, so that no proxy closes the connection as idle.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";
/// The log is read at most this often, however often other data changes.
const PACE: Duration = Duration::from_millis(50);

struct Held<P> {
    engine: Engine<P>,
    /// The caller must still be admitted whenever there are new events.
    accepted: Accepted<P>,
    events: LogEvents,
    changes: watch::Receiver<()>,
    stopped: BoxFuture<'static, ()>,
}

/// The response, followed by the events as they come.
pub fn held_open<P: Local + 'static>(
    shared: &Shared<P>,
    accepted: Accepted<P>,
    response: http::Response<Bytes>,
    events: LogEvents,
) -> Response {
    let signals = &shared.signals;
    let mut held = Held {
        engine: shared.service.engine().clone(),
        accepted,
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
            let is_silent = tokio::select! {
                changed = self.changes.changed() => changed.map(|()| false).ok()?,
                () = sleep_until(silent_until) => true,
                () = &mut self.stopped => return None,
            };
            self.accepted.readmit().await.ok()?;
            // Also after a silence: each read tells the worker that somebody waits for lines.
            match self.events.next(&self.engine).await {
                Ok(text) if text.is_empty() && is_silent => return Some(Bytes::from_static(COMMENT)),
                Ok(text) if text.is_empty() => sleep(PACE).await,
                Ok(text) => return Some(text.into()),
                // The client reconnects, and gets the error then if it persists.
                Err(_) => return None,
            }
        }
        None
    }
}
