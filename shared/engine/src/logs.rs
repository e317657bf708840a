//! Logs: appends pieces from workers and reads pages for the API.

use std::time::Duration;

use futures::future::join;
use protocol::requests::LogPiece;
use protocol::wire::{Appended, LogChunk};
use protocol::{JobId, Millis, WorkflowId, limit, limits};

use crate::Queries;
use crate::Reports;
use crate::cache::Cache;
use crate::error::{EngineError, LeaseLost, Result};
use crate::ids::JobKey;
use crate::job::{JobRecord, Phase};
use crate::payload::size_in_json;
use crate::ports::{Consistency, JobStore, LogStore, RunStore};
use crate::run::RunState;
use crate::secrets;

/// The maximum size of a page in bytes.
const PAGE: usize = 2_000_000;
/// The maximum size in bytes of a piece's other fields in a response.
const AROUND: usize = 350;
/// The size in bytes of a text that fits an answer whatever its characters are.
const ALWAYS_FITS: usize = limits::ANSWER / 7 - AROUND;

/// The size of a log is read again from the store after this long, because other processes may append to it.
const SIZE_TTL: Duration = Duration::from_mins(1);
const SIZES_CACHED: usize = 4096;

/// Somebody who read the log of a running attempt counts as its reader for this long.
const FOLLOW_TIME: Duration = Duration::from_secs(30);
/// A process notes at most this often that somebody reads the log of an attempt.
const FOLLOW_NOTED_EVERY: Duration = Duration::from_secs(10);
const FOLLOWED_CACHED: usize = 4096;

/// The attempts of which this process noted a reader within [`FOLLOW_NOTED_EVERY`].
pub(crate) type FollowedCache = Cache<(JobKey, u32), ()>;

pub(crate) fn followed_cache() -> FollowedCache {
    Cache::new(FOLLOW_NOTED_EVERY, FOLLOWED_CACHED)
}

/// The sizes in bytes of the logs that this process appends to, by job and attempt.
pub(crate) type LogSizesCache = Cache<(JobKey, u32), u64>;

pub(crate) fn log_sizes_cache() -> LogSizesCache {
    Cache::new(SIZE_TTL, SIZES_CACHED)
}

/// A page of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// The pieces, ascending by sequence number, without duplicates.
    pub chunks: Vec<LogChunk>,
    /// True if more pieces follow the last one now.
    pub more: bool,
    /// True if nothing will be added because the job, or the requested attempt, has ended.
    pub ended: bool,
    /// The run that this log belongs to.
    pub run: u32,
    /// The attempt that this log belongs to.
    pub attempt: u32,
    /// The job's latest attempt.
    pub latest: u32,
}

impl<P: RunStore + JobStore + LogStore> Reports<'_, P> {
    /// Appends log pieces of the attempt that the lease holds, with the job's secrets masked. Returns whether somebody reads the log.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] if the lease no longer holds the attempt or the run was cancelled.
    /// [`EngineError::TooMuch`] for too many pieces or a piece that is too long.
    pub async fn append_logs(self, lease: &str, mut pieces: Vec<LogPiece>) -> Result<Appended> {
        let lost = |why| Err(EngineError::LeaseLost(why));
        let Some(token) = self.engine.lease(lease) else { return lost(LeaseLost::Unknown) };
        check_pieces(&pieces)?;
        let control = self.engine.ports.control(&token.job.run, Consistency::Strong).await?;
        match control.map(|control| control.state) {
            Some(RunState::Open) => {}
            Some(RunState::Cancelling) => return lost(LeaseLost::Cancelled),
            _ => return lost(LeaseLost::Ended),
        }
        let now = self.engine.now();
        let Some((job, held)) = self.engine.records().held(&token).await? else { return lost(LeaseLost::Ended) };
        if held.until <= now {
            return lost(LeaseLost::Ended);
        }
        if pieces.is_empty() {
            return Ok(Appended { followed: self.is_followed(&job).await });
        }
        for piece in pieces.iter_mut().filter(|piece| piece.timestamp_ms == Millis(0)) {
            piece.timestamp_ms = now;
        }
        pieces.sort_by_key(|piece| piece.sequence);
        if job.has_secrets {
            let spec = self.engine.records().spec(&job).await?;
            secrets::hide(self.engine.job_secrets().masker(&job, &spec).await?, &mut pieces);
        }
        let append = Box::pin(self.append_to_limit(&job, pieces));
        let (appended, followed) = join(append, self.is_followed(&job)).await;
        appended.map(|()| Appended { followed })
    }

    /// Returns true if somebody reads the log of the job's attempt, or if that can't be read: lines that come late do more harm than
    /// pushes that nobody waits for.
    async fn is_followed(self, job: &JobRecord) -> bool {
        match self.engine.ports.followed_until(&job.key, job.attempt).await {
            Ok(until) => until.is_some_and(|until| until > self.engine.now()),
            Err(error) => {
                tracing::warn!(job = %job.key, %error, "whether somebody reads a log can't be read");
                true
            }
        }
    }

    /// Appends pieces until the log has [`limits::LOG_PER_ATTEMPT`] bytes. Further pieces are dropped, and the log says
    /// so.
    async fn append_to_limit(self, job: &JobRecord, mut pieces: Vec<LogPiece>) -> Result<()> {
        let (sizes, now) = (&self.engine.caches.log_sizes, self.engine.now());
        let log = (job.key.clone(), job.attempt);
        let before = if let Some(size) = sizes.get(&log, now) {
            size
        } else {
            let size = self.engine.ports.size(&job.key, job.attempt).await?;
            sizes.insert(log.clone(), size, now);
            size
        };
        let added = cut_to_limit(&mut pieces, before);
        if pieces.is_empty() {
            return Ok(());
        }
        sizes.change(&log, now, |size| *size += added);
        let appended = self.engine.ports.append(&job.key, job.attempt, pieces, before).await;
        if appended.is_err() {
            // The worker sends the pieces again. They would count twice.
            sizes.remove(&log);
        }
        Ok(appended?)
    }
}

/// Drops what exceeds the limit of a log that has `before` bytes, and marks where it was cut. Returns the size of the
/// rest.
fn cut_to_limit(pieces: &mut Vec<LogPiece>, before: u64) -> u64 {
    let limit = limits::LOG_PER_ATTEMPT as u64;
    let mut size = before;
    let mut at = 0;
    while at < pieces.len() {
        if size > limit {
            // The log was cut and marked before.
            pieces.truncate(at);
            break;
        }
        let data = &mut pieces[at].data;
        let room = usize::try_from(limit - size).unwrap_or(usize::MAX);
        if data.len() > room {
            data.truncate(data.floor_char_boundary(room));
            data.push_str(&format!("\n[cut here: a job's log may have {} MB]\n", limit >> 20));
            pieces.truncate(at + 1);
        }
        size += pieces[at].data.len() as u64;
        at += 1;
    }
    size - before
}

impl<P: RunStore + JobStore + LogStore> Queries<'_, P> {
    /// Returns the pieces of a job's log after a sequence number, for `attempt` or the latest attempt.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`], [`EngineError::NoJob`].
    pub async fn logs(
        self,
        workflow: &WorkflowId,
        id: &JobId,
        after: Option<u64>,
        attempt: Option<u32>,
    ) -> Result<LogPage> {
        let record = self.engine.records().workflow_record(workflow).await?;
        let job = self.engine.records().job_of(&record, id).await?;
        let attempt = attempt.unwrap_or(job.attempt);
        let read = self.engine.ports.read(&job.key, attempt, after, PAGE);
        let (pieces, ()) = join(read, self.note_reader(&job, attempt)).await;
        let mut pieces = pieces?;
        let (found, read) = (pieces.len(), pieces.iter().map(|piece| piece.data.len()).sum::<usize>());
        let shown = first_page(&mut pieces);
        let chunks = pieces
            .into_iter()
            .take(shown)
            .map(|piece| LogChunk {
                workflow_id: workflow.clone(),
                job_id: id.clone(),
                sequence: piece.sequence,
                data: piece.data,
                timestamp_ms: piece.timestamp_ms,
                stream: piece.stream,
            })
            .collect();
        let ended = job.is_ended() || attempt < job.attempt;
        let (more, latest) = (read >= PAGE || shown < found, job.attempt);
        Ok(LogPage { chunks, more, ended, run: record.number, attempt, latest })
    }

    /// Notes that somebody reads the log of the attempt, if it is running, so that its worker sends new lines soon. If this fails, the
    /// reader sees them later.
    async fn note_reader(self, job: &JobRecord, attempt: u32) {
        let now = self.engine.now();
        let (noted, log) = (&self.engine.caches.followed, (job.key.clone(), attempt));
        if !matches!(job.phase, Phase::Running(_)) || attempt != job.attempt || noted.get(&log, now).is_some() {
            return;
        }
        noted.insert(log, (), now);
        if let Err(error) = self.engine.ports.follow(&job.key, attempt, now + FOLLOW_TIME).await {
            tracing::warn!(job = %job.key, %error, "the reader of a log could not be noted");
        }
    }
}

fn check_pieces(pieces: &[LogPiece]) -> Result<()> {
    EngineError::over(limit!(LOG_PIECES), || "the number of `chunks`".to_owned(), pieces.len())?;
    pieces.iter().try_for_each(|piece| {
        let what = || format!("the size in bytes of `data` of the chunk with sequence {}", piece.sequence);
        EngineError::over(limit!(LOG_PIECE), what, piece.data.len())
    })
}

/// The size of a text in an answer, as JSON text within JSON, as a function gives it to its gateway. A control character
/// takes seven bytes there, and a quote four.
fn escaped_size(text: &str) -> usize {
    size_in_json(&serde_json::to_string(text).unwrap_or_default())
}

/// Returns the number of pieces, at least one, that fit an answer. A first piece that doesn't fit is cut and marked.
fn first_page(pieces: &mut [LogPiece]) -> usize {
    if let Some(first) = pieces.first_mut()
        && escaped_size(&first.data) > limits::ANSWER - AROUND
    {
        let kept = first.data.floor_char_boundary(ALWAYS_FITS);
        let dropped = first.data.len() - kept;
        first.data.truncate(kept);
        first
            .data
            .push_str(&format!("\n[cut here: {dropped} bytes more, mostly control characters, don't fit an answer]\n"));
    }
    let mut size = 0;
    let fits = |piece: &&LogPiece| {
        size += AROUND + escaped_size(&piece.data);
        size <= limits::ANSWER
    };
    pieces.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_cut_at_its_limit_and_marked_once() {
        let piece = |sequence: u64, size: u64| LogPiece {
            sequence,
            data: "x".repeat(usize::try_from(size).expect("small")),
            timestamp_ms: Millis(1),
            stream: protocol::wire::Stream::Stdout,
        };
        let limit = limits::LOG_PER_ATTEMPT as u64;
        let mut fits = vec![piece(0, 4), piece(1, 6)];
        assert_eq!((cut_to_limit(&mut fits, limit - 10), fits.len()), (10, 2));
        let mut cut = vec![piece(0, 4), piece(1, 6), piece(2, 1)];
        let size = cut_to_limit(&mut cut, limit - 7);
        assert_eq!(cut.len(), 2);
        assert!(cut[1].data.starts_with("xxx\n[cut here: a job's log may have 64 MB]"), "{:?}", cut[1].data);
        assert!(size > 7, "the next piece finds a log beyond the limit");
        let mut dropped = vec![piece(3, 1), piece(4, 0)];
        assert_eq!((cut_to_limit(&mut dropped, limit - 7 + size), dropped.len()), (0, 0));
    }

    #[test]
    fn page_of_any_characters_fits_an_answer() {
        let piece = |sequence: u64, data: String| LogPiece {
            sequence,
            data,
            timestamp_ms: Millis(1),
            stream: protocol::wire::Stream::Stdout,
        };
        let size = |pieces: &[LogPiece]| {
            let page = serde_json::to_string(pieces).expect("JSON");
            serde_json::to_string(&page).expect("JSON").len()
        };
        let mut worst = [0, 1].map(|n| piece(n, "\u{1}".repeat(limits::LOG_PIECE)));
        assert!(size(&worst[..1]) > limits::ANSWER_ESCAPED, "one alone is larger than an answer");
        let shown = first_page(&mut worst);
        assert_eq!(shown, 1);
        assert!(size(&worst[..shown]) <= limits::ANSWER, "{} bytes", size(&worst[..shown]));
        let cut = limits::LOG_PIECE - ALWAYS_FITS;
        assert!(worst[0].data.contains(&format!("[cut here: {cut} bytes more,")), "it says that it was cut");
        for text in ["x", "\"", "\\", "\n", "ä", "😀"] {
            let mut whole = [piece(0, text.repeat(limits::LOG_PIECE / text.len()))];
            assert_eq!(first_page(&mut whole), 1);
            assert_eq!(whole[0].data.len(), limits::LOG_PIECE, "{text:?} fits");
            assert!(size(&whole) <= limits::ANSWER, "{text:?}: {}", size(&whole));
        }
    }

    #[test]
    fn too_many_or_too_long_log_pieces_are_refused_with_value_and_limit() {
        let piece = |sequence: u64, size: usize| {
            serde_json::from_value(serde_json::json!({ "sequence": sequence, "data": "x".repeat(size) }))
                .expect("a piece")
        };
        let many = |count: u64| (0..count).map(|n| piece(n, 0)).collect::<Vec<LogPiece>>();
        check_pieces(&many(50_000)).expect("at the limit");
        let error = check_pieces(&many(50_001)).expect_err("one too many").to_string();
        assert!(error.contains("`chunks`") && error.contains("50001") && error.contains("50000"), "{error}");
        check_pieces(&[piece(0, limits::LOG_PIECE)]).expect("at the limit");
        let error = check_pieces(&[piece(0, 1), piece(7, limits::LOG_PIECE + 1)]).expect_err("too long").to_string();
        assert!(error.contains("sequence 7") && error.contains("1048577") && error.contains("1048576"), "{error}");
    }

    #[test]
    fn page_has_the_pieces_that_fit_an_answer_and_at_least_one() {
        let piece = |data: String| LogPiece {
            sequence: 0,
            data,
            timestamp_ms: Millis(1),
            stream: protocol::wire::Stream::Stdout,
        };
        // Both quotes of a text count two bytes.
        let of_size = |size: usize| piece("x".repeat(size - AROUND - 4));
        let half = limits::ANSWER / 2;
        assert_eq!(first_page(&mut [of_size(half), of_size(half), of_size(500)]), 2);
        assert_eq!(first_page(&mut [of_size(half), of_size(half + 1)]), 1);
        assert_eq!(first_page(&mut [piece("\"".repeat(limits::ANSWER)), of_size(500)]), 2, "the first is cut");
        let quotes = (half - AROUND - 4) / 4;
        assert_eq!(first_page(&mut [piece("\"".repeat(quotes)), piece("\"".repeat(quotes))]), 2);
        assert_eq!(first_page(&mut [piece("\"".repeat(quotes)), piece("\"".repeat(quotes + 2))]), 1);
    }
}
