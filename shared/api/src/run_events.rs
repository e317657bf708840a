//! What changes in a run as server-sent events.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use engine::Engine;
use engine::ports::Ports;
use engine::view::changes::{ReadPosition, RunChanges};
use protocol::page::{Ended, JobState, JobsChanged, Rerun, Snapshot};
use protocol::{Millis, Status, WorkflowId};
use serde::Serialize;

use crate::error::ApiError;
use crate::request::Input;

/// When a client asks again where connections aren't held open: so much time for each unfinished job, within these bounds.
const RETRY_FOR_EACH: Duration = Duration::from_millis(2);
const RETRY: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(20);
/// A held stream reads so many times as often as a client asks.
const HELD: u32 = 10;

/// A reader's position in a run's changes.
#[derive(Clone, Debug)]
pub struct RunEvents {
    workflow: WorkflowId,
    seen: Option<ReadPosition>,
    /// What was sent last: the run's status, and the hash of each job's state. So that a held stream sends nothing twice.
    status: Option<Status>,
    sent: HashMap<u32, u64>,
    unfinished: usize,
    ended: bool,
}

impl RunEvents {
    /// Returns the events of the run, or of what changed in it after `Last-Event-ID`. Returns the reader of the rest too, unless
    /// the run has ended.
    pub(crate) async fn open<P: Ports>(
        engine: &Engine<P>,
        input: &Input<'_>,
    ) -> Result<(String, Option<Self>), ApiError> {
        let (workflow, seen) = (input.param("id")?, last_seen(input)?);
        let mut events = Self { workflow, seen, status: None, sent: HashMap::new(), unfinished: 0, ended: false };
        let first = events.next(engine).await?;
        let text = format!("retry: {}\n\n{first}", retry(events.unfinished).as_millis());
        let is_ended = events.ended;
        Ok((text, (!is_ended).then_some(events)))
    }

    /// The events since the last call; empty if there are none.
    pub(crate) async fn next<P: Ports>(&mut self, engine: &Engine<P>) -> Result<String, ApiError> {
        let changes = engine.queries().changes(&self.workflow, self.seen).await?;
        Ok(self.take(changes))
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// How long to wait before the next read: a read takes a time in proportion to the unfinished jobs.
    pub(crate) fn pause(&self) -> Duration {
        retry(self.unfinished) / HELD
    }

    fn take(&mut self, changes: RunChanges) -> String {
        let mut text = String::new();
        let RunChanges { workflow, status, started_at, is_whole, jobs, seen, unfinished } = changes;
        if self.seen.is_some_and(|before| before.run != seen.run) {
            self.sent.clear();
            write_event(&mut text, "rerun", seen, &Rerun { run: seen.run });
        }
        let finished_at_ms = workflow.ended.map(|end| end.at);
        let jobs: Vec<JobState> = jobs.into_iter().filter(|job| self.is_new(job)).collect();
        if is_whole {
            let snapshot = Snapshot {
                run: seen.run,
                name: workflow.name,
                created_at_ms: workflow.created_at,
                started_at_ms: started_at,
                finished_at_ms,
                status,
                jobs,
            };
            write_event(&mut text, "snapshot", seen, &snapshot);
        } else if !jobs.is_empty() || self.status.is_some_and(|before| before != status) {
            write_event(&mut text, "jobs", seen, &JobsChanged { status, jobs });
        }
        self.ended = workflow.ended.is_some();
        if self.ended {
            write_event(&mut text, "end", seen, &Ended { status, finished_at_ms });
        }
        // Jobs below are never read again.
        self.sent.retain(|index, _| *index >= seen.from);
        (self.seen, self.status, self.unfinished) = (Some(seen), Some(status), unfinished);
        text
    }

    fn is_new(&mut self, job: &JobState) -> bool {
        let mut hasher = DefaultHasher::new();
        job.hash(&mut hasher);
        let hash = hasher.finish();
        self.sent.insert(job.0, hash) != Some(hash)
    }
}

fn write_event(text: &mut String, event: &str, seen: ReadPosition, data: &impl Serialize) {
    let data = serde_json::to_string(data).unwrap_or_default();
    let _ = write!(text, "event: {event}\nid: {}\ndata: {data}\n\n", EventId(seen));
}

fn retry(unfinished: usize) -> Duration {
    let wanted = RETRY_FOR_EACH * u32::try_from(unfinished).unwrap_or(u32::MAX);
    wanted.clamp(*RETRY.start(), *RETRY.end())
}

/// The id of an event, `2.1767225600000.17`: the run, when it was read in milliseconds since 1970, and the lowest index of a job that
/// wasn't shown as ended. The next read begins there.
struct EventId(ReadPosition);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadPosition { run, at, from } = self.0;
        write!(f, "{run}.{at}.{from}")
    }
}

impl EventId {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let run = parts.next()?.parse().ok()?;
        let at = Millis(parts.next()?.parse().ok()?);
        let from = parts.next()?.parse().ok()?;
        Some(Self(ReadPosition { run, at, from }))
    }
}

fn last_seen(input: &Input<'_>) -> Result<Option<ReadPosition>, ApiError> {
    match input.header("Last-Event-ID")? {
        None | Some("") => Ok(None),
        Some(text) => EventId::parse(text).map(|id| Some(id.0)).ok_or_else(|| {
            ApiError::bad_request("invalid_header", format!("Last-Event-ID {text:?} isn't the id of an event of a run"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_ask_every_2_s_and_less_often_for_more_than_1000_unfinished_jobs() {
        for (unfinished, secs) in [(0, 2), (1000, 2), (1500, 3), (10_000, 20), (1_000_000, 20)] {
            assert_eq!(retry(unfinished), Duration::from_secs(secs), "{unfinished}");
        }
    }

    #[test]
    fn id_of_an_event_is_read_as_it_was_written() {
        let seen = ReadPosition { run: 2, at: Millis(1_767_225_600_000), from: 17 };
        let text = EventId(seen).to_string();
        assert_eq!(text, "2.1767225600000.17");
        assert_eq!(EventId::parse(&text).expect("an id").0, seen);
        for bad in ["2", "2.1", "a.1.1", "2.1.1.1", "2..1", "-1.1.1"] {
            assert!(EventId::parse(bad).is_none(), "{bad}");
        }
    }
}
