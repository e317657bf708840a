//! Log batches: each is one compressed item, or an object if it is large.

use engine::ids::JobKey;
use engine::ports::{Consistency, LogStore, Stored};
use protocol::Millis;
use protocol::requests::LogPiece;

use crate::aws::Aws;
use crate::data::IN_ITEM;
use crate::error::corrupt;
use crate::item::{self, Item};
use crate::keys;
use crate::table::Query;

/// The number of batches that one call reads.
const BATCHES: usize = 50;
/// The number of earlier batches that are searched for pieces after the reader's position.
const OVERLAPPING: usize = 8;

/// What partitions of readers begin with. The role of `query` may put items only there.
const READER: &str = "READER";

/// The partition of one attempt's log.
pub(crate) fn partition(job: &JobKey, attempt: u32) -> String {
    format!("{}#{}#{attempt}", job.run, job.index)
}

/// The partition that says until when somebody reads the log of an attempt. Not the log's own, whose items are batches.
fn reader_partition(job: &JobKey, attempt: u32) -> String {
    format!("{READER}#{}", partition(job, attempt))
}

fn sort(first: u64, last: u64) -> String {
    format!("{first:020}-{last:020}")
}

impl LogStore for Aws {
    async fn append(&self, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>, before: u64) -> Stored<()> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let partition = partition(job, attempt);
        let sort = sort(first.sequence, last.sequence);
        let batch = serde_json::to_vec(&pieces).map_err(corrupt)?;
        let object = format!("logs/{}/{}/{attempt}/{sort}", job.run, job.index);
        let mut item = self.data_item((partition, sort), &batch, IN_ITEM, object).await?;
        let size = before + pieces.iter().map(|piece| piece.data.len() as u64).sum::<u64>();
        item.insert("size".to_owned(), item::number(size));
        self.logs.put(item).await
    }

    async fn size(&self, job: &JobKey, attempt: u32) -> Stored<u64> {
        let partition = partition(job, attempt);
        let last = Query { descending: true, limit: Some(1), how: Consistency::Strong, ..Query::of(&partition) };
        let last = self.logs.query(last).await?.pop();
        let size = last.as_ref().and_then(|item| item.get("size")?.as_n().ok()?.parse().ok());
        Ok(size.unwrap_or(0))
    }

    async fn read(&self, job: &JobKey, attempt: u32, after: Option<u64>, bytes: usize) -> Stored<Vec<LogPiece>> {
        let partition = partition(job, attempt);
        let strong = || Query { how: Consistency::Strong, ..Query::of(&partition) };
        let mut pieces = Vec::new();
        if let Some(after) = after {
            let to = Some(sort(after, u64::MAX));
            let query = Query { to, descending: true, limit: Some(OVERLAPPING), ..strong() };
            for item in self.logs.query(query).await? {
                pieces.extend(self.batch(&item).await?);
            }
            pieces.retain(|piece| piece.sequence > after);
        }
        let Some(mut from) = after.map_or(Some(0), |after| after.checked_add(1)).map(|from| sort(from, 0)) else {
            return Ok(pieces);
        };
        let size = |pieces: &[LogPiece]| pieces.iter().map(|piece| piece.data.len()).sum::<usize>();
        let mut read = size(&pieces);
        while read < bytes {
            let query = Query { from: Some(from), limit: Some(BATCHES), ..strong() };
            let items = self.logs.query(query).await?;
            let Some(last) = items.last() else { break };
            from = keys::after(item::text(last, "sk")?);
            for item in &items {
                let batch = self.batch(item).await?;
                read += size(&batch);
                pieces.extend(batch);
                // A batch that compresses well is large in memory.
                if read >= bytes {
                    break;
                }
            }
        }
        pieces.sort_by_key(|piece| piece.sequence);
        pieces.dedup_by_key(|piece| piece.sequence);
        Ok(up_to(pieces, bytes))
    }

    async fn follow(&self, job: &JobKey, attempt: u32, until: Millis) -> Stored<()> {
        let key = (reader_partition(job, attempt), READER.to_owned());
        self.logs.put(item::item(key, until.secs(), [("until", item::number(until.0))])).await
    }

    async fn followed_until(&self, job: &JobKey, attempt: u32) -> Stored<Option<Millis>> {
        let partition = reader_partition(job, attempt);
        // A query, since the function that asks may only query this table.
        let reader = self.logs.query(Query { limit: Some(1), ..Query::of(&partition) }).await?.pop();
        Ok(reader.and_then(|reader| reader.get("until")?.as_n().ok()?.parse().ok()).map(Millis))
    }
}

/// The first pieces, up to about `bytes`.
fn up_to(pieces: Vec<LogPiece>, bytes: usize) -> Vec<LogPiece> {
    let mut size = 0;
    let fits = |piece: &LogPiece| {
        let fits = size < bytes;
        size += piece.data.len();
        fits
    };
    pieces.into_iter().take_while(fits).collect()
}

impl Aws {
    /// The pieces of a batch. A batch whose object has expired is empty.
    async fn batch(&self, item: &Item) -> Stored<Vec<LogPiece>> {
        let batch = self.data(item).await?;
        batch.map_or_else(|| Ok(Vec::new()), |batch| serde_json::from_slice(&batch).map_err(corrupt))
    }
}
