//! A log's stream, held open until the job has ended.

use std::convert::Infallible;
use std::time::Duration;

use api::{LogEvents, Service};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use engine::ports::Local;
use futures::future::BoxFuture;
use futures::stream::unfold;
use http::request::Parts;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Shared;

/// A comment goes out when nothing else has for this long, so that nobody in between takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const COMMENT: &[u8] = b":\n\n";
/// The log is read at most this often, however much changes elsewhere.
const PACE: Duration = Duration::from_millis(50);

struct Held<P> {
    service: Service<P>,
    /// What was asked, without a body: whoever asked must still be allowed to when something comes.
    asked: Parts,
    events: LogEvents,
    changes: watch::Receiver<()>,
    stopped: BoxFuture<'static, ()>,
}

/// The answer, followed by what comes.
pub fn held_open<P: Local + 'static>(
    shared: &Shared<P>,
    asked: Parts,
    response: http::Response<Bytes>,
    events: LogEvents,
) -> Response {
    let signals = &shared.signals;
    let mut held = Held {
        service: shared.service.clone(),
        asked,
        events,
        changes: signals.changes(),
        stopped: Box::pin(signals.stopped()),
    };
    // What came after the first page was read and before changes were listened to isn't to be missed.
    held.changes.mark_changed();
    let (parts, first) = response.into_parts();
    let rest = unfold((Some(first), held), |(first, mut held)| async move {
        let next = match first {
            Some(first) => first,
            None => held.next().await?,
        };
        Some((Ok::<_, Infallible>(next), (None, held)))
    });
    Response::from_parts(parts, Body::from_stream(rest))
}

impl<P: Local> Held<P> {
    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let silent_until = Instant::now() + KEEP_ALIVE;
        while !self.events.is_ended() {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = sleep_until(silent_until) => return Some(Bytes::from_static(COMMENT)),
                () = &mut self.stopped => return None,
            }
            let Parts { method, uri, headers, .. } = &self.asked;
            if self.service.refusal(method, uri, headers).await.is_some() {
                return None;
            }
            match self.events.next(self.service.engine()).await {
                Ok(text) if text.is_empty() => sleep(PACE).await,
                Ok(text) => return Some(text.into()),
                // The client comes again, and is told then if it is for long.
                Err(_) => return None,
            }
        }
        None
    }
}
