//! Server-sent events, and a job's log as such.

use std::fmt::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use engine::Engine;
use engine::logs::LogPage;
use engine::ports::Ports;
use http::{HeaderValue, StatusCode, header};
use protocol::{JobId, WorkflowId};

use crate::error::ApiError;
use crate::request::Input;
use crate::response::{Answer, typed};
use crate::run_events::RunEvents;

/// The reader of the rest of a stream, which a response carries as an extension for servers that hold the connection open.
#[derive(Clone, Debug)]
pub enum Events {
    /// A job's log.
    Log(LogEvents),
    /// What changes in a run.
    Run(RunEvents),
}

impl Events {
    /// Answers with the run, or with what changed in it after `Last-Event-ID`.
    pub(crate) async fn of_run<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
        let (text, rest) = RunEvents::open(engine, input).await?;
        respond(input, text, rest.map(Self::Run))
    }

    /// The events since the last call; empty if there are none.
    pub async fn next<P: Ports>(&mut self, engine: &Engine<P>) -> Result<String, ApiError> {
        match self {
            Self::Log(events) => events.next(engine).await,
            Self::Run(events) => events.next(engine).await,
        }
    }

    /// Whether no more events follow.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Log(events) => events.ended,
            Self::Run(events) => events.is_ended(),
        }
    }

    /// How long to wait before the next read, after one that found events or none.
    #[must_use]
    pub fn pause(&self, found: bool) -> Duration {
        match self {
            Self::Log(_) if found => Duration::ZERO,
            Self::Log(_) => LOG_PAUSE,
            Self::Run(events) => events.pause(),
        }
    }
}

/// A log is read at most this often while there is nothing new, however often other data changes.
const LOG_PAUSE: Duration = Duration::from_millis(50);

/// Answers with the first events. With `once=true` the response ends after them.
fn respond(input: &Input<'_>, text: String, rest: Option<Events>) -> Answer {
    let once = input.query("once")?.unwrap_or(false);
    let mut response = typed(StatusCode::OK, "text/event-stream", Bytes::from(text));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(rest) = rest.filter(|_| !once) {
        response.extensions_mut().insert(rest);
    }
    Ok(response)
}

/// Tells the client to reconnect after a second when the connection ends. It then sends the last id it received.
const RETRY: &str = "retry: 1000\n\n";

/// A reader's position in a job's log.
#[derive(Clone, Debug)]
pub struct LogEvents {
    workflow: WorkflowId,
    job: JobId,
    /// The attempt that was asked for; without one, the latest and those after it.
    only: Option<u32>,
    run: Option<u32>,
    attempt: Option<u32>,
    after: Option<u64>,
    /// True if the job, or the attempt that was asked for, has ended and all of it was read.
    ended: bool,
}

impl LogEvents {
    /// Answers with the log so far. If more may come, the response carries the reader of the rest as an extension, for servers
    /// that hold the connection open.
    pub(crate) async fn open<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
        let (workflow, job) = input.job()?;
        let only = input.query("attempt")?;
        let seen = last_seen(input)?;
        // The sequence numbers of one attempt mean nothing in another.
        let after = seen.filter(|seen| only.is_none_or(|only| only == seen.attempt)).map(|seen| seen.sequence);
        let (run, attempt) = (seen.map(|seen| seen.run), only.or(seen.map(|seen| seen.attempt)));
        let mut events = Self { workflow, job, only, run, attempt, after, ended: false };
        let text = format!("{RETRY}{}", events.next(engine).await?);
        let is_ended = events.ended;
        respond(input, text, (!is_ended).then_some(Events::Log(events)))
    }

    /// The events since the last call, up to about two megabytes; empty if there are none.
    async fn next<P: Ports>(&mut self, engine: &Engine<P>) -> Result<String, ApiError> {
        let mut text = String::new();
        while text.is_empty() && !self.ended {
            let page = engine.queries().logs(&self.workflow, &self.job, self.after, self.attempt).await?;
            if self.run.is_some_and(|run| run != page.run) {
                // The workflow was started again; attempts and sequence numbers start again too.
                (self.run, self.attempt, self.after) = (Some(page.run), self.only.or(Some(0)), None);
                continue;
            }
            self.take(&page, &mut text);
            if !page.ended {
                break;
            }
        }
        Ok(text)
    }

    fn take(&mut self, page: &LogPage, text: &mut String) {
        (self.run, self.attempt) = (Some(page.run), Some(page.attempt));
        for chunk in &page.chunks {
            let data = serde_json::to_string(chunk).unwrap_or_default();
            let id = EventId { run: page.run, attempt: page.attempt, sequence: chunk.sequence };
            let _ = write!(text, "event: log\nid: {id}\ndata: {data}\n\n");
            self.after = Some(chunk.sequence);
        }
        if !page.ended || page.more {
            return;
        }
        if self.only.is_none() && page.attempt < page.latest {
            // The next attempt has begun; its sequence numbers start again.
            self.attempt = Some(page.attempt + 1);
            self.after = None;
        } else {
            self.ended = true;
            text.push_str("event: end\ndata: {}\n\n");
        }
    }
}

/// The id of an event: the sequence number. Sequence numbers start again with each attempt, and attempts with each run, so later
/// ones are named too: `1.500` is in the second attempt of the first run, `2.0.500` in the second run.
#[derive(Clone, Copy)]
struct EventId {
    run: u32,
    attempt: u32,
    sequence: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.run, self.attempt) {
            (1, 0) => {}
            (1, attempt) => write!(f, "{attempt}.")?,
            (run, attempt) => write!(f, "{run}.{attempt}.")?,
        }
        write!(f, "{}", self.sequence)
    }
}

impl EventId {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.rsplitn(3, '.');
        let sequence = parts.next()?.parse().ok()?;
        let attempt = parts.next().map_or(Ok(0), str::parse).ok()?;
        let run = parts.next().map_or(Ok(1), str::parse).ok()?;
        Some(Self { run, attempt, sequence })
    }
}

fn last_seen(input: &Input<'_>) -> Result<Option<EventId>, ApiError> {
    match input.header("Last-Event-ID")? {
        None | Some("") => Ok(None),
        Some(text) => EventId::parse(text).map(Some).ok_or_else(|| {
            ApiError::bad_request("invalid_header", format!("Last-Event-ID {text:?} isn't the id of an event of a log"))
        }),
    }
}
