//! Log batches: each is one compressed item, or an object if it is large.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use engine::ids::JobKey;
use engine::ports::{Consistency, LogStore, Stored};
use protocol::requests::LogPiece;

use crate::Aws;
use crate::compression::{IN_ITEM, compress, decompress};
use crate::error::corrupt;
use crate::item::{self, Item, expires_on};
use crate::table::Query;
use crate::update::{number, string};

/// Batches read in one call, and earlier batches read for pieces that follow the reader's position.
const BATCHES: usize = 50;
const OVERLAPPING: usize = 8;

/// The log of one attempt.
pub(crate) fn partition(job: &JobKey, attempt: u32) -> String {
    format!("{}#{}#{attempt}", job.run, job.index)
}

fn sort(first: u64, last: u64) -> String {
    format!("{first:020}-{last:020}")
}

impl LogStore for Aws {
    async fn append(&self, job: &JobKey, attempt: u32, pieces: Vec<LogPiece>) -> Stored<()> {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return Ok(()) };
        let partition = partition(job, attempt);
        let sort = sort(first.sequence, last.sequence);
        let batch = compress(&serde_json::to_vec(&pieces).map_err(corrupt)?)?;
        let mut item = Item::from([
            ("pk".to_owned(), string(partition)),
            ("sk".to_owned(), string(sort.clone())),
            ("expires_on".to_owned(), number(expires_on())),
        ]);
        if batch.len() <= IN_ITEM {
            item.insert("batch".to_owned(), AttributeValue::B(Blob::new(batch)));
        } else {
            let object = format!("logs/{}/{}/{attempt}/{sort}", job.run, job.index);
            self.objects.put(&object, batch, "application/octet-stream").await?;
            item.insert("object".to_owned(), string(object));
        }
        self.logs.put(item).await
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
            // No sort key lies between this one and the next.
            from = format!("{} ", item::text(last, "sk")?);
            for item in &items {
                let batch = self.batch(item).await?;
                read += size(&batch);
                pieces.extend(batch);
                // What compresses well is large by now, and memory is small.
                if read >= bytes {
                    break;
                }
            }
        }
        pieces.sort_by_key(|piece| piece.sequence);
        pieces.dedup_by_key(|piece| piece.sequence);
        Ok(up_to(pieces, bytes))
    }
}

/// The first pieces, until they have about so many bytes.
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
    async fn batch(&self, item: &Item) -> Stored<Vec<LogPiece>> {
        if let Some(AttributeValue::B(batch)) = item.get("batch") {
            return pieces(batch.as_ref());
        }
        let object = item::text(item, "object")?;
        match self.objects.get(object).await? {
            Some(batch) => pieces(&batch),
            None => Ok(Vec::new()),
        }
    }
}

fn pieces(batch: &[u8]) -> Stored<Vec<LogPiece>> {
    serde_json::from_slice(&decompress(batch)?).map_err(corrupt)
}
