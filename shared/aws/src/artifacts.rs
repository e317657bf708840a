//! Outputs that do not fit a job's record, and the deletion of a run's records.

use std::time::Duration;

use bytes::Bytes;
use engine::ids::{JobKey, RunKey};
use engine::job::OutputsRef;
use engine::ports::{ArtifactStore, Consistency, Stored};
use engine::{ids, ports::StoreError};
use protocol::Outputs;

use crate::aws::Aws;
use crate::error::corrupt;
use crate::item::{self, Item, expires_on, string};
use crate::table::Query;
use crate::{keys, logs};

/// Outputs up to this size, as JSON, are kept in an item; larger ones in the bucket. An item costs a write unit for each KB, and about
/// as much as an object at this size.
const IN_ITEM: usize = 8 * 1024;
/// How long a published document may be fetched.
const PUBLISHED: Duration = Duration::from_mins(15);
/// The number of items of a deleted run, including its logs, that one step removes.
const DELETED_AT_ONCE: usize = 300;

fn object(job: &JobKey, id: &str) -> String {
    format!("outputs/{}/{}/{id}", job.run, job.index)
}

impl ArtifactStore for Aws {
    async fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> Stored<()> {
        let text = serde_json::to_string(outputs).map_err(corrupt)?;
        if text.len() > IN_ITEM {
            return self.objects.put(&object(job, id), text.into_bytes(), "application/json").await;
        }
        self.jobs.put(item::item(keys::outputs(job, id), expires_on(), [("outputs", string(text))])).await
    }

    async fn outputs(&self, job: &JobKey, id: &str, size: usize, how: Consistency) -> Stored<Option<Outputs>> {
        let text = if size > IN_ITEM {
            self.objects.get(&object(job, id)).await?
        } else {
            let item = self.jobs.get(keys::outputs(job, id), how).await?;
            item.map(|item| item::text(&item, "outputs").map(|text| text.as_bytes().to_vec())).transpose()?
        };
        text.map(|text| serde_json::from_slice(&text).map_err(corrupt)).transpose()
    }

    async fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> Stored<()> {
        let OutputsRef::External { id, size } = outputs else { return Ok(()) };
        if *size > IN_ITEM {
            let copied = self.objects.copy(&object(from, id), &object(to, id)).await?;
            return if copied { Ok(()) } else { Err(StoreError::outputs_missing(from)) };
        }
        let kept = self.outputs(from, id, *size, Consistency::Strong).await?;
        let kept = kept.ok_or_else(|| StoreError::outputs_missing(from))?;
        self.put_outputs(to, id, &kept).await
    }

    async fn publish(&self, job: &JobKey, document: Bytes) -> Stored<Option<String>> {
        let key = format!("upstream/{}/{}/{}", job.run, job.index, hex::encode(ids::random()));
        self.objects.put(&key, document.to_vec(), "application/json").await?;
        Ok(Some(self.objects.presign(&key, PUBLISHED).await?))
    }
}

impl Aws {
    /// One step of the deletion of a run: first objects, then its partitions, the run's own last. Logs are deleted with
    /// the job whose record counts the attempts. Returns true if anything may be left.
    pub(crate) async fn delete_some_records(&self, run: &RunKey, jobs: u32) -> Stored<bool> {
        for prefix in ["outputs", "logs", "defs", "upstream"] {
            if self.objects.delete_some(&format!("{prefix}/{run}/")).await? {
                return Ok(true);
            }
        }
        for partition in keys::job_partitions(run, jobs).rev().chain([keys::run_partition(run)]) {
            let query = Query { limit: Some(DELETED_AT_ONCE), how: Consistency::Strong, ..Query::of(&partition) };
            let items = self.jobs.query(query).await?;
            if items.is_empty() {
                continue;
            }
            let (mut done, mut left) = (Vec::new(), DELETED_AT_ONCE);
            for item in &items {
                left -= self.delete_logs(item, left).await?;
                if left == 0 {
                    break;
                }
                done.push(item::key(item)?);
                left -= 1;
            }
            self.jobs.delete_many(done).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Deletes up to `at_most` items of the logs of a job, if the item is a job. Returns the number of items deleted.
    async fn delete_logs(&self, item: &Item, at_most: usize) -> Stored<usize> {
        if !item::text(item, "sk")?.starts_with("JOB#") {
            return Ok(0);
        }
        let job = item::job_record(item.clone())?;
        let mut left = at_most;
        for attempt in 0..=job.attempt {
            let partition = logs::partition(&job.key, attempt);
            while left > 0 {
                let query = Query { limit: Some(left), how: Consistency::Strong, ..Query::of(&partition) };
                let items = self.logs.query(query).await?;
                if items.is_empty() {
                    break;
                }
                left -= items.len();
                self.logs.delete_many(items.iter().map(item::key).collect::<Stored<_>>()?).await?;
            }
        }
        Ok(at_most - left)
    }
}
