//! The writing end of a job's log: a bounded queue of pieces.

use protocol::Millis;
use protocol::requests::LogPiece;
use protocol::wire::Stream;
use tokio::sync::mpsc;

/// A longer line is sent in pieces of about this size.
pub(crate) const PIECE: usize = 64 * 1024;
/// Number of pieces that may wait for the network; a job that writes faster waits.
const QUEUE: usize = 16;

/// A job's log. Clones write to the same one.
///
/// Writing waits while the network is behind, so that a job that writes too much is slowed down and memory stays bounded.
#[derive(Clone, Debug)]
pub struct LogSink(mpsc::Sender<LogPiece>);

impl LogSink {
    /// The log and its reading end.
    pub(crate) fn new() -> (Self, mpsc::Receiver<LogPiece>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Writes a line, or several if the text contains line ends. Text written after the job's end is dropped.
    pub async fn line(&self, stream: Stream, text: &str) {
        let mut rest = text;
        while rest.len() > PIECE {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
            self.write(stream, piece.to_owned()).await;
            rest = after;
        }
        self.write(stream, format!("{rest}\n")).await;
    }

    /// Writes text as it is: lines with their line ends, or a part of one.
    pub(crate) async fn write(&self, stream: Stream, data: String) {
        // The sequence number is assigned when the piece is sent. An error means that the log is closed.
        let _ = self.0.send(LogPiece { sequence: 0, data, timestamp_ms: Millis::now(), stream }).await;
    }
}
