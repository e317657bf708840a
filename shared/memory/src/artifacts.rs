//! Outputs and logs in memory.

use bytes::Bytes;
use engine::ids::JobKey;
use engine::job::OutputsRef;
use engine::ports::{ArtifactStore, Consistency, LogStore, StoreError, Stored};
use protocol::requests::LogPiece;
use protocol::{Millis, Outputs};

use crate::store::Memory;

impl ArtifactStore for Memory {
    async fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> Stored<()> {
        self.state().outputs.insert((job.clone(), id.to_owned()), outputs.clone());
        Ok(())
    }

    async fn outputs(&self, job: &JobKey, id: &str, _size: usize, _how: Consistency) -> Stored<Option<Outputs>> {
        Ok(self.state().outputs.get(&(job.clone(), id.to_owned())).cloned())
    }

    async fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> Stored<()> {
        let OutputsRef::External { id, .. } = outputs else { return Ok(()) };
        let mut state = self.state();
        let kept = state.outputs.get(&(from.clone(), id.clone())).cloned();
        let kept = kept.ok_or_else(|| StoreError::outputs_missing(from))?;
        state.outputs.insert((to.clone(), id.clone()), kept);
        Ok(())
    }

    async fn publish(&self, _job: &JobKey, _document: Bytes) -> Stored<Option<String>> {
        Ok(None)
    }
}

impl LogStore for Memory {
    async fn append(&self, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>, _before: u64) -> Stored<()> {
        let mut state = self.state();
        for piece in pieces {
            state.logs.entry((job.clone(), attempt, piece.sequence)).or_insert(piece);
        }
        Ok(())
    }

    async fn size(&self, job: &JobKey, attempt: u32) -> Stored<u64> {
        let state = self.state();
        let log = state.logs.range((job.clone(), attempt, 0)..=(job.clone(), attempt, u64::MAX));
        Ok(log.map(|(_, piece)| piece.data.len() as u64).sum())
    }

    async fn read(&self, job: &JobKey, attempt: u32, after: Option<u64>, bytes: usize) -> Stored<Vec<LogPiece>> {
        let state = self.state();
        let Some(first) = after.map_or(Some(0), |after| after.checked_add(1)) else { return Ok(Vec::new()) };
        let mut size = 0;
        let range = state.logs.range((job.clone(), attempt, first)..=(job.clone(), attempt, u64::MAX));
        let page = range.map(|(_, piece)| piece.clone()).take_while(|piece| {
            let fits = size < bytes;
            size += piece.data.len();
            fits
        });
        Ok(page.collect())
    }

    async fn follow(&self, job: &JobKey, attempt: u32, until: Millis) -> Stored<()> {
        self.followed.follow(job, attempt, until);
        Ok(())
    }

    async fn followed_until(&self, job: &JobKey, attempt: u32) -> Stored<Option<Millis>> {
        Ok(self.followed.until(job, attempt))
    }
}
