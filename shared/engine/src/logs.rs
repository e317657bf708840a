//! Logs: what a worker sends under its lease, and what people read.

use protocol::requests::LogPiece;
use protocol::wire::LogChunk;
use protocol::{JobId, Millis, WorkflowId};

use crate::Engine;
use crate::error::{EngineError, LeaseLost, Outcome};
use crate::ports::{Consistency, Ports};
use crate::run::RunState;
use crate::secrets;

/// Bytes of log in one answer.
const PAGE: usize = 2_000_000;
/// What else an answer says of a piece, at the most.
const AROUND: usize = 350;

/// A page of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Ascending by sequence, each number once.
    pub chunks: Vec<LogChunk>,
    /// Whether there is more after the last of them right now.
    pub more: bool,
    /// Whether nothing will be added: the job, or the attempt that was asked for, has ended.
    pub ended: bool,
    /// Whose log this is.
    pub attempt: u32,
    /// The job's latest attempt.
    pub latest: u32,
}

impl<P: Ports> Engine<P> {
    /// Keeps a piece of the log of the attempt that the lease holds, without the job's secrets.
    ///
    /// # Errors
    /// [`EngineError::LeaseLost`] once the attempt isn't the holder's any more, or after a cancel.
    pub async fn append_logs(&self, lease: &str, mut pieces: Vec<LogPiece>) -> Outcome<()> {
        let lost = |why| Err(EngineError::LeaseLost(why));
        let Some(token) = self.lease(lease) else { return lost(LeaseLost::Unknown) };
        let control = self.ports.control(&token.job.run, Consistency::Strong).await?;
        match control.map(|control| control.state) {
            Some(RunState::Open) => {}
            Some(RunState::Cancelling) => return lost(LeaseLost::Cancelled),
            _ => return lost(LeaseLost::Ended),
        }
        let now = self.ports.now();
        let Some((job, hold)) = self.held(&token).await? else { return lost(LeaseLost::Ended) };
        if hold.until <= now {
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
            let spec = self.spec(&job).await?;
            secrets::hide(self.masker(&spec.secrets).await?, &mut pieces);
        }
        Ok(self.ports.append(&job.key, job.attempt, pieces).await?)
    }

    /// A job's log after a sequence number, of an attempt or the latest.
    ///
    /// # Errors
    /// [`EngineError::NoWorkflow`], [`EngineError::NoJob`].
    pub async fn read_logs(
        &self,
        workflow: &WorkflowId,
        id: &JobId,
        after: Option<u64>,
        attempt: Option<u32>,
    ) -> Outcome<LogPage> {
        let job = self.job_by_id(workflow, id).await?;
        let attempt = attempt.unwrap_or(job.attempt);
        let pieces = self.ports.read(&job.key, attempt, after, PAGE).await?;
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
        Ok(LogPage { chunks, more: read >= PAGE || shown < found, ended, attempt, latest: job.attempt })
    }
}

/// How many pieces fit a page, as JSON: at least one. A control character takes six bytes there.
fn first_page(pieces: &[LogPiece]) -> usize {
    let mut size = 0;
    let fits = |piece: &&LogPiece| {
        size += AROUND + serde_json::to_string(&piece.data).map_or(0, |json| json.len());
        size <= 2 * PAGE
    };
    pieces.iter().take_while(fits).count().max(1)
}
