//! Outputs that do not fit a job's record, and the deletion of a run's records.

use std::time::Duration;

use bytes::Bytes;
use engine::ids::{JobKey, RunKey};
use engine::job::OutputsRef;
use engine::ports::{ArtifactStore, Consistency, Stored};
use engine::{ids, ports::StoreError};
use protocol::Outputs;
use serde::{Deserialize, Serialize};

use crate::error::corrupt;
use crate::item::{self, Item, expires_on, from_item, to_item};
use crate::table::{Key, Query};
use crate::{Aws, keys, logs};

/// Outputs up to this size, as JSON, are kept in an item; larger ones in the bucket.
const IN_ITEM: usize = 64 * 1024;
/// How long a published document may be fetched.
const PUBLISHED: Duration = Duration::from_mins(15);
/// Items of a deleted run that one step removes.
const DELETED_AT_ONCE: usize = 300;
/// Pages of logs, of as many items, that one step removes on the way.
const LOG_PAGES: usize = 20;

#[derive(Serialize, Deserialize)]
struct OutputsItem {
    outputs: String,
    expires_on: u64,
}

fn object(job: &JobKey, id: &str) -> String {
    format!("outputs/{}/{}/{id}", job.run, job.index)
}

impl ArtifactStore for Aws {
    async fn put_outputs(&self, job: &JobKey, id: &str, outputs: &Outputs) -> Stored<()> {
        let text = serde_json::to_string(outputs).map_err(corrupt)?;
        if text.len() > IN_ITEM {
            return self.objects.put(&object(job, id), text.into_bytes(), "application/json").await;
        }
        let fields = OutputsItem { outputs: text, expires_on: expires_on() };
        self.jobs.put(to_item(keys::outputs(job, id), fields)?).await
    }

    async fn outputs(&self, job: &JobKey, id: &str, size: usize, how: Consistency) -> Stored<Option<Outputs>> {
        let text = if size > IN_ITEM {
            self.objects.get(&object(job, id)).await?
        } else {
            let item = self.jobs.get(keys::outputs(job, id), how).await?;
            item.map(from_item::<OutputsItem>).transpose()?.map(|item| item.outputs.into_bytes())
        };
        text.map(|text| serde_json::from_slice(&text).map_err(corrupt)).transpose()
    }

    async fn copy_outputs(&self, from: &JobKey, to: &JobKey, outputs: &OutputsRef) -> Stored<()> {
        let OutputsRef::External { id, size } = outputs else { return Ok(()) };
        if *size > IN_ITEM {
            return self.objects.copy(&object(from, id), &object(to, id)).await;
        }
        let kept = self.outputs(from, id, *size, Consistency::Strong).await?;
        let kept = kept.ok_or_else(|| StoreError::Corrupt(format!("the outputs of job {from} are missing")))?;
        self.put_outputs(to, id, &kept).await
    }

    async fn publish(&self, job: &JobKey, document: Bytes) -> Stored<Option<String>> {
        let key = format!("upstream/{}/{}/{}", job.run, job.index, hex::encode(ids::random()));
        self.objects.put(&key, document.to_vec(), "application/json").await?;
        Ok(Some(self.objects.presign(&key, PUBLISHED).await?))
    }
}

impl Aws {
    /// One step of removing a run: objects, then its partitions from the last to the run's own. Logs go with the job
    /// whose record names the attempts.
    pub(crate) async fn delete_some_records(&self, run: &RunKey, jobs: u32) -> Stored<bool> {
        for prefix in ["outputs", "logs", "defs", "upstream"] {
            if self.objects.delete_some(&format!("{prefix}/{run}/")).await? {
                return Ok(true);
            }
        }
        let partitions = (0..=jobs / keys::PARTITION).rev().map(|n| keys::job_partition(run, n * keys::PARTITION));
        for partition in partitions.chain([keys::run_partition(run)]) {
            let query = Query { limit: Some(DELETED_AT_ONCE), how: Consistency::Strong, ..Query::of(&partition) };
            let items = self.jobs.query(query).await?;
            if items.is_empty() {
                continue;
            }
            let (mut done, mut pages) = (Vec::new(), 0);
            for item in &items {
                pages += self.delete_logs(item, LOG_PAGES - pages).await?;
                if pages >= LOG_PAGES {
                    break;
                }
                done.push(key_of(item)?);
            }
            self.jobs.delete_many(done).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Deletes the logs of a job, if the item is one, until so many pages were; how many.
    async fn delete_logs(&self, item: &Item, at_most: usize) -> Stored<usize> {
        if !item::text(item, "sk")?.starts_with("JOB#") {
            return Ok(0);
        }
        let job = item::job_record(item.clone())?;
        let mut pages = 0;
        for attempt in 0..=job.attempt {
            while pages < at_most && self.delete_log_page(&logs::partition(&job.key, attempt)).await? {
                pages += 1;
            }
        }
        Ok(pages)
    }

    /// Whether there was anything to delete.
    async fn delete_log_page(&self, partition: &str) -> Stored<bool> {
        let items = self.logs.query(Query { limit: Some(DELETED_AT_ONCE), ..Query::of(partition) }).await?;
        self.logs.delete_many(items.iter().map(key_of).collect::<Stored<_>>()?).await?;
        Ok(!items.is_empty())
    }
}

fn key_of(item: &Item) -> Stored<Key> {
    Ok((item::text(item, "pk")?.to_owned(), item::text(item, "sk")?.to_owned()))
}
