//! Sends a job's log to the server: in batches, with sequence numbers, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use protocol::Millis;
use protocol::limits::{LOG_PER_ATTEMPT, REQUEST_BODY};
use protocol::mask::{MaskStream, Masker};
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::lease::{HeldLease, is_lost};
use crate::pace::PushPace;
use crate::sink::{LogSink, PIECE};
use crate::stop::StopReason;
use client::Client;
use client::retry::retry;

/// The most text in one request. JSON escapes make it at most six times as long, which is still under
/// [`REQUEST_BODY`].
const BATCH: usize = 256 * 1024;
/// A batch may exceed [`BATCH`] by one piece: at most twice [`PIECE`], and three times that after replacements.
const _: () = assert!((BATCH + 3 * 2 * PIECE) * 6 < REQUEST_BODY);
/// Lines are joined to chunks of about this size.
const CHUNK: usize = 64 * 1024;

/// Sends a log in the background.
#[derive(Debug)]
pub(crate) struct Shipper {
    finish: oneshot::Sender<()>,
    task: AbortOnDropHandle<()>,
}

impl Shipper {
    pub fn start(client: Client, lease: HeldLease, flush: Duration, masker: &Arc<Masker>) -> (LogSink, Self) {
        let masks = [(); 2].map(|()| MaskStream::new(Arc::clone(masker)));
        let (sink, written) = LogSink::new();
        let (finish, finished) = oneshot::channel();
        let pace = PushPace::new(flush);
        let sending = Sending { client, lease, pace, masks, batch: Batch::default() };
        (sink, Self { finish, task: AbortOnDropHandle::new(tokio::spawn(sending.run(written, finished))) })
    }

    /// Sends the pieces written so far. Returns when they arrived, when the lease is gone, or after `time`: what the server didn't
    /// take by then is dropped. Later writes are dropped.
    pub async fn finish(self, time: Duration) {
        let _ = self.finish.send(());
        match timeout(time, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("{error}"),
            Err(_) => tracing::warn!("the rest of a job's log is lost: the server didn't store it within {time:?}"),
        }
    }
}

struct Sending {
    client: Client,
    lease: HeldLease,
    pace: PushPace,
    /// One for each [`Stream`].
    masks: [MaskStream; 2],
    batch: Batch,
}

impl Sending {
    async fn run(mut self, mut written: mpsc::Receiver<LogPiece>, finish: oneshot::Receiver<()>) {
        let lease = self.lease.clone();
        tokio::select! {
            biased;
            () = lease.gone() => {}
            () = self.send_all(&mut written, finish) => return,
        }
        // Writers no longer wait.
        written.close();
        let mut dropped: usize = self.batch.pieces.iter().map(|piece| piece.data.len()).sum();
        while let Some(piece) = written.recv().await {
            dropped += piece.data.len();
        }
        if dropped > 0 {
            tracing::info!("{dropped} bytes of the log were dropped, as the server takes no more of it");
        }
    }

    async fn send_all(&mut self, written: &mut mpsc::Receiver<LogPiece>, mut finish: oneshot::Receiver<()>) {
        let mut due = Instant::now();
        let mut finishing = false;
        loop {
            tokio::select! {
                piece = written.recv() => {
                    let Some(mut piece) = piece else {
                        self.add_withheld(MaskStream::finish);
                        return self.send().await;
                    };
                    if !self.is_pending() {
                        due = self.pace.due(Instant::now());
                    }
                    piece.data = self.masks[piece.stream as usize].push(piece.data);
                    self.batch.add(piece);
                    if self.batch.size >= BATCH {
                        self.send().await;
                    }
                }
                () = sleep_until(due), if self.is_pending() => {
                    self.add_withheld(MaskStream::flush_lines);
                    self.send().await;
                }
                _ = &mut finish, if !finishing => {
                    finishing = true;
                    written.close();
                }
            }
        }
    }

    /// Whether there is text that can be sent.
    fn is_pending(&self) -> bool {
        !self.batch.pieces.is_empty() || self.masks.iter().any(MaskStream::withholds_lines)
    }

    /// Adds the text that the masks withhold and that `take` returns.
    fn add_withheld(&mut self, take: fn(&mut MaskStream) -> String) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let data = take(&mut self.masks[stream as usize]);
            self.batch.add(LogPiece { sequence: 0, data, timestamp_ms: Millis::now(), stream });
        }
    }

    /// Returns when the batch has arrived or was given up. If the lease is lost it never returns; the batch stays, so that
    /// the dropped bytes can be counted.
    async fn send(&mut self) {
        if self.batch.pieces.is_empty() {
            return;
        }
        let (client, lease, pieces) = (&self.client, &self.lease, &self.batch.pieces);
        let sent = retry("log", || Some(lease.ends()), || client.logs_push(&lease.id, pieces)).await;
        match sent {
            Err(error) if is_lost(&error) => {
                lease.stop(StopReason::LeaseLost);
                std::future::pending::<()>().await;
            }
            Err(error) => {
                tracing::warn!("{} bytes of the log are lost: {error}", self.batch.size);
                self.pace.pushed(Instant::now(), None);
            }
            Ok(followed) => self.pace.pushed(Instant::now(), followed),
        }
        self.batch.clear();
    }
}

/// Pieces to be sent together.
#[derive(Default)]
struct Batch {
    pieces: Vec<LogPiece>,
    size: usize,
    sequence: u64,
    total: usize,
}

impl Batch {
    fn add(&mut self, mut piece: LogPiece) {
        if piece.data.is_empty() || self.total >= LOG_PER_ATTEMPT {
            return;
        }
        if self.total + piece.data.len() >= LOG_PER_ATTEMPT {
            piece.data.truncate(piece.data.floor_char_boundary(LOG_PER_ATTEMPT - self.total));
            self.append(piece);
            self.total = LOG_PER_ATTEMPT;
            let data = format!(
                "\n[cut here: an attempt's log may have {} MB, limit LOG_PER_ATTEMPT]\n",
                LOG_PER_ATTEMPT / 1024 / 1024
            );
            self.append(LogPiece { sequence: 0, data, timestamp_ms: Millis::now(), stream: Stream::Stderr });
        } else {
            self.total += piece.data.len();
            self.append(piece);
        }
    }

    fn append(&mut self, mut piece: LogPiece) {
        self.size += piece.data.len();
        match self.pieces.last_mut() {
            Some(last) if last.stream == piece.stream && last.data.len() + piece.data.len() <= CHUNK => {
                last.data.push_str(&piece.data);
            }
            _ => {
                piece.sequence = self.sequence;
                self.sequence += 1;
                self.pieces.push(piece);
            }
        }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: Stream, data: &str) -> LogPiece {
        LogPiece { sequence: 0, data: data.to_owned(), timestamp_ms: Millis(1), stream }
    }

    #[test]
    fn adjacent_lines_of_a_stream_share_a_chunk_and_sequence_numbers_have_no_gaps() {
        let mut batch = Batch::default();
        batch.add(piece(Stream::Stdout, "a\n"));
        batch.add(piece(Stream::Stdout, "b\n"));
        batch.add(piece(Stream::Stderr, "c\n"));
        batch.add(piece(Stream::Stdout, "d\n"));
        let chunks: Vec<_> = batch.pieces.iter().map(|piece| (piece.sequence, piece.data.as_str())).collect();
        assert_eq!(chunks, [(0, "a\nb\n"), (1, "c\n"), (2, "d\n")]);
        batch.clear();
        batch.add(piece(Stream::Stdout, "e\n"));
        assert_eq!(batch.pieces[0].sequence, 3);
    }

    #[tokio::test]
    async fn log_that_the_server_does_not_store_holds_a_result_up_for_a_limited_time() {
        // Nothing listens on this port, so that each push is tried again until the lease ends.
        let client = Client::new("http://127.0.0.1:1", None).expect("an address");
        let lease =
            r#"{"lease_id":"l","job_id":"j","workflow_id":"wf","worker_id":"w","ttl_secs":3600,"granted_at_ms":1}"#;
        let lease = HeldLease::new(&serde_json::from_str(lease).expect("a lease"), Instant::now());
        let masker = Arc::new(Masker::new([]));
        let (log, shipper) = Shipper::start(client, lease, Duration::from_millis(1), &masker);
        log.line(Stream::Stdout, "text").await;
        let finished = timeout(Duration::from_mins(1), shipper.finish(Duration::from_millis(50))).await;
        finished.expect("it gives up");
    }

    #[test]
    fn a_log_over_the_limit_is_cut_with_a_message() {
        let mut batch = Batch::default();
        let (mut total, mut last) = (0, String::new());
        let text = "é".repeat(500_000);
        for _ in 0..100 {
            batch.add(piece(Stream::Stdout, &text));
            total += batch.size;
            if let Some(piece) = batch.pieces.last() {
                last.clone_from(&piece.data);
            }
            batch.clear();
        }
        assert!(total <= LOG_PER_ATTEMPT + 100, "{total}");
        assert!(last.contains("64 MB"), "{last}");
    }
}
