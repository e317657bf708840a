//! Outputs that don't fit a job's record, and logs.

use bytes::Bytes;
use engine::ids::JobKey;
use engine::job::OutputsRef;
use engine::ports::{ArtifactStore, Consistency, LogStore, StoreError, Stored};
use protocol::requests::LogPiece;
use protocol::{Millis, Outputs};

use crate::rows::{execute, failed, from_json, one, prepare, record, to_json};
use crate::store::Sqlite;

impl ArtifactStore for Sqlite {
    async fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> Stored<()> {
        let (job, id, outputs) = (job.clone(), id.to_owned(), to_json(outputs)?);
        self.write(move |db| {
            let text = "INSERT OR REPLACE INTO outputs (run, job_index, id, outputs) VALUES (?1, ?2, ?3, ?4)";
            execute(db, text, (job.run.as_str(), job.index, id, outputs)).map(drop)
        })
        .await
    }

    async fn outputs(&self, job: &JobKey, id: &str, _size: usize, _how: Consistency) -> Stored<Option<Outputs>> {
        let text = "SELECT outputs FROM outputs WHERE run = ?1 AND job_index = ?2 AND id = ?3";
        self.read(|db| record(db, text, (job.run.as_str(), job.index, id)))
    }

    async fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> Stored<()> {
        let OutputsRef::External { id, .. } = outputs else { return Ok(()) };
        let (from, to, id) = (from.clone(), to.clone(), id.clone());
        self.write(move |db| {
            let text = "INSERT OR REPLACE INTO outputs (run, job_index, id, outputs)
                        SELECT ?3, ?4, id, outputs FROM outputs WHERE run = ?1 AND job_index = ?2 AND id = ?5";
            let copied = execute(db, text, (from.run.as_str(), from.index, to.run.as_str(), to.index, id))?;
            if copied == 0 {
                return Err(StoreError::outputs_missing(&from));
            }
            Ok(())
        })
        .await
    }

    async fn publish(&self, _job: &JobKey, _document: Bytes) -> Stored<Option<String>> {
        Ok(None)
    }
}

/// Converts a sequence number, an unsigned number of 64 bits, to a column value with the same order.
fn to_sequence(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

impl LogStore for Sqlite {
    async fn append(&self, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>, _before: u64) -> Stored<()> {
        let job = job.clone();
        self.write(move |db| {
            for piece in &pieces {
                let text = "INSERT OR IGNORE INTO logs (run, job_index, attempt, sequence, piece)
                            VALUES (?1, ?2, ?3, ?4, ?5)";
                let sequence = to_sequence(piece.sequence);
                execute(db, text, (job.run.as_str(), job.index, attempt, sequence, to_json(piece)?))?;
            }
            Ok(())
        })
        .await
    }

    async fn size(&self, job: &JobKey, attempt: u32) -> Stored<u64> {
        let text =
            "SELECT coalesce(sum(length(piece)), 0) FROM logs WHERE run = ?1 AND job_index = ?2 AND attempt = ?3";
        let size = Self::read(self, |db| {
            one(db, text, (job.run.as_str(), job.index, attempt), |row| row.get::<_, i64>(0).map_err(failed))
        })?;
        Ok(size.unwrap_or_default().cast_unsigned())
    }

    async fn read(&self, job: &JobKey, attempt: u32, after: Option<u64>, bytes: usize) -> Stored<Vec<LogPiece>> {
        let Some(first) = after.map_or(Some(0), |after| after.checked_add(1)) else { return Ok(Vec::new()) };
        Self::read(self, |db| {
            let text = "SELECT piece FROM logs WHERE run = ?1 AND job_index = ?2 AND attempt = ?3 AND sequence >= ?4
                        ORDER BY sequence";
            let mut statement = prepare(db, text)?;
            let params = (job.run.as_str(), job.index, attempt, to_sequence(first));
            let mut rows = statement.query(params).map_err(failed)?;
            let mut pieces = Vec::new();
            let mut size = 0;
            while size < bytes
                && let Some(row) = rows.next().map_err(failed)?
            {
                let piece: LogPiece = from_json(row.get_ref(0).map_err(failed)?)?;
                size += piece.data.len();
                pieces.push(piece);
            }
            Ok(pieces)
        })
    }

    async fn follow(&self, job: &JobKey, attempt: u32, until: Millis) -> Stored<()> {
        self.followed.follow(job, attempt, until);
        Ok(())
    }

    async fn followed_until(&self, job: &JobKey, attempt: u32) -> Stored<Option<Millis>> {
        Ok(self.followed.until(job, attempt))
    }
}
