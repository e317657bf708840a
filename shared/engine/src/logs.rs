//! Logs: appends pieces from workers and reads pages for the API.

use protocol::requests::LogPiece;
use protocol::wire::LogChunk;
use protocol::{JobId, Millis, WorkflowId, limits};

use crate::Queries;
use crate::Reports;
use crate::error::{EngineError, LeaseLost, Result};
use crate::ports::{Consistency, JobStore, LogStore, RunStore};
use crate::run::RunState;
use crate::secrets;

/// The maximum size of a page in bytes.
const PAGE: usize = 2_000_000;
/// The maximum size in bytes of a piece's other fields in a response.
const AROUND: usize = 350;

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
    /// Appends log pieces of the attempt that the lease holds, with the job's secrets masked.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] if the lease no longer holds the attempt or the run was cancelled.
    /// [`EngineError::TooMuch`] for too many pieces or a piece that is too long.
    pub async fn append_logs(self, lease: &str, mut pieces: Vec<LogPiece>) -> Result<()> {
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
            return Ok(());
        }
        for piece in pieces.iter_mut().filter(|piece| piece.timestamp_ms == Millis(0)) {
            piece.timestamp_ms = now;
        }
        pieces.sort_by_key(|piece| piece.sequence);
        if job.has_secrets {
            let spec = self.engine.records().spec(&job).await?;
            secrets::hide(self.engine.job_secrets().masker(&spec.secrets).await?, &mut pieces);
        }
        Ok(self.engine.ports.append(&job.key, job.attempt, pieces).await?)
    }
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
        let pieces = self.engine.ports.read(&job.key, attempt, after, PAGE).await?;
        let (found, read) = (pieces.len(), pieces.iter().map(|piece| piece.data.len()).sum::<usize>());
        let shown = first_page(&pieces);
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
}

fn check_pieces(pieces: &[LogPiece]) -> Result<()> {
    EngineError::over(|| "the number of `chunks`".to_owned(), pieces.len(), limits::LOG_PIECES)?;
    pieces.iter().try_for_each(|piece| {
        let what = || format!("the size in bytes of `data` of the chunk with sequence {}", piece.sequence);
        EngineError::over(what, piece.data.len(), limits::LOG_PIECE)
    })
}

/// Returns the number of pieces that fit a page as JSON, at least one. A control character takes six bytes in JSON.
fn first_page(pieces: &[LogPiece]) -> usize {
    let mut size = 0;
    let fits = |piece: &&LogPiece| {
        size += AROUND + serde_json::to_string(&piece.data).map_or(0, |json| json.len());
        size <= 2 * PAGE
    };
    pieces.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
