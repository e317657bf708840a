//! Jobs on DynamoDB.

use std::collections::HashMap;

use engine::ids::{JobIndex, JobKey, PoolId, RunKey, Waits};
use engine::job::{JobRecord, JobSpec, JobUpdate};
use engine::ports::{Consistency, JobStore, ReadyHead, ShardWaits, Stored, Updated};
use futures::future::try_join_all;
use protocol::Millis;

use crate::aws::Aws;
use crate::error::corrupt;
use crate::item::{self, Item, expires_on, numbers};
use crate::keys;
use crate::table::{Answer, Query};
use crate::update::{self, Expression};

/// The number of heads of a ready list that a claim reads from all its shards together.
const HEADS: usize = 32;
/// A compressed spec up to this size is kept in its item. An item may have 400 KB.
const SPEC_IN_ITEM: usize = 300_000;

impl Aws {
    /// The item of a spec that is stored apart from its job's record.
    pub(crate) async fn spec_item(&self, key: &JobKey, spec: &JobSpec) -> Stored<Item> {
        let spec = serde_json::to_vec(spec).map_err(corrupt)?;
        let object = format!("defs/{}/spec-{}", key.run, key.index);
        self.data_item(keys::spec(key), &spec, SPEC_IN_ITEM, object).await
    }

    async fn read_spec(&self, key: &JobKey, item: Option<Item>) -> Stored<JobSpec> {
        let spec = match item {
            Some(item) => self.data(&item).await?,
            None => None,
        };
        let spec = spec.ok_or_else(|| corrupt(format!("the spec of job {key} is missing")))?;
        serde_json::from_slice(&spec).map_err(corrupt)
    }
}

/// The item of a shard of a job's many needs.
pub(crate) fn wait_item(key: &JobKey, shard: u32, members: &Waits) -> Item {
    item::item(keys::wait_shard(key, shard), expires_on(), numbers(members).map(|members| ("members", members)))
}

/// Reads a shard's item.
fn waits(mut item: Item) -> Stored<ShardWaits> {
    let members = item.remove("members").map(serde_dynamo::from_attribute_value);
    let need_failed = item.remove("need_failed").map(serde_dynamo::from_attribute_value);
    Ok(ShardWaits {
        members: members.transpose().map_err(corrupt)?.unwrap_or_default(),
        need_failed: need_failed.transpose().map_err(corrupt)?.unwrap_or_default(),
    })
}

/// Groups items by their sort keys.
fn by_sort_key(items: Vec<Item>) -> HashMap<String, Item> {
    let named = |item: Item| item::text(&item, "sk").map(str::to_owned).ok().map(|sk| (sk, item));
    items.into_iter().filter_map(named).collect()
}

impl JobStore for Aws {
    async fn job(&self, key: &JobKey, how: Consistency) -> Stored<Option<JobRecord>> {
        self.jobs.get(keys::job(key), how).await?.map(item::job_record).transpose()
    }

    async fn jobs_at(&self, run: &RunKey, indexes: &[JobIndex], how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        if let [index] = indexes {
            return Ok(vec![self.job(&JobKey::new(run, *index), how).await?]);
        }
        let keys = indexes.iter().map(|&index| keys::job(&JobKey::new(run, index))).collect();
        let mut found = by_sort_key(self.jobs.get_many(keys, how).await?);
        let record = |index: &JobIndex| found.remove(&keys::job_sort(*index)).map(item::job_record).transpose();
        indexes.iter().map(record).collect()
    }

    async fn jobs(&self, keys: &[JobKey], how: Consistency) -> Stored<Vec<Option<JobRecord>>> {
        let items = self.jobs.get_many(keys.iter().map(keys::job).collect(), how).await?;
        let records = items.into_iter().map(item::job_record).collect::<Stored<Vec<_>>>()?;
        let found: HashMap<JobKey, JobRecord> = records.into_iter().map(|job| (job.key.clone(), job)).collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn jobs_from(&self, run: &RunKey, from: JobIndex, most: usize, how: Consistency) -> Stored<Vec<JobRecord>> {
        let partition = keys::job_partition(run, from);
        let (first, last) = (Some(keys::job_sort(from)), Some(keys::job_sort(99_999)));
        let query = Query { from: first, to: last, limit: Some(most), how, ..Query::of(&partition) };
        self.jobs.query(query).await?.into_iter().map(item::job_record).collect()
    }

    async fn specs(&self, run: &RunKey, indexes: &[JobIndex]) -> Stored<Vec<JobSpec>> {
        let jobs: Vec<JobKey> = indexes.iter().map(|&index| JobKey::new(run, index)).collect();
        let mut found =
            by_sort_key(self.jobs.get_many(jobs.iter().map(keys::spec).collect(), Consistency::Strong).await?);
        let items: Vec<(&JobKey, Option<Item>)> =
            jobs.iter().map(|key| (key, found.remove(&keys::spec(key).1))).collect();
        try_join_all(items.into_iter().map(|(key, item)| self.read_spec(key, item))).await
    }

    async fn update(&self, key: &JobKey, update: JobUpdate) -> Stored<Updated<JobRecord>> {
        let expression = update::job(key, &update, self.config.ready_shards)?;
        Ok(match self.jobs.update(keys::job(key), expression).await? {
            Answer::Done(item) => Updated::Done(item::job_record(item)?),
            Answer::Refused(item) => Updated::ConditionFailed(item.map(item::job_record).transpose()?),
        })
    }

    async fn wait_shard(&self, key: &JobKey, shard: u32, how: Consistency) -> Stored<ShardWaits> {
        let item = self.jobs.get(keys::wait_shard(key, shard), how).await?;
        Ok(item.map(waits).transpose()?.unwrap_or_default())
    }

    async fn drop_from_shard(&self, key: &JobKey, shard: u32, member: u32, failed: bool) -> Stored<ShardWaits> {
        let expression = Expression::of_existing().delete_from_set("members", member).flag("need_failed", failed);
        match self.jobs.update(keys::wait_shard(key, shard), expression).await? {
            Answer::Done(item) => waits(item),
            Answer::Refused(_) => Ok(ShardWaits::default()),
        }
    }

    async fn ready_heads(&self, pool: &PoolId, now: Millis) -> Stored<Vec<ReadyHead>> {
        let shards = self.parts_of(pool);
        let partitions: Vec<String> = (0..shards).map(|shard| keys::ready(pool, shard)).collect();
        let each = HEADS.div_ceil(shards as usize);
        let query = |partition: &String| {
            let partition = partition.clone();
            async move {
                let to = Some(keys::ready_until(now));
                self.jobs.query(Query { to, limit: Some(each), ..Query::of_index(&partition) }).await
            }
        };
        let pages = try_join_all(partitions.iter().map(query)).await?;
        pages.into_iter().flatten().map(|item| ready_head(&item)).collect()
    }

    async fn ready_count(&self, pool: &PoolId, most: usize) -> Stored<(u64, Option<Millis>)> {
        let partitions: Vec<String> = (0..self.parts_of(pool)).map(|shard| keys::ready(pool, shard)).collect();
        let counts = try_join_all(partitions.iter().map(|partition| self.count_part(partition, most))).await?;
        let count: u64 = counts.iter().map(|(count, _)| count).sum();
        Ok((count.min(most as u64), counts.iter().filter_map(|(_, oldest)| *oldest).min()))
    }
}

impl Aws {
    async fn count_part(&self, partition: &str, most: usize) -> Stored<(u64, Option<Millis>)> {
        let first = self.jobs.query(Query { limit: Some(1), ..Query::of_index(partition) }).await?;
        let Some(first) = first.first().map(ready_head).transpose()? else { return Ok((0, None)) };
        Ok((self.jobs.count(Query::of_index(partition), most).await?, Some(first.at)))
    }
}

fn ready_head(item: &Item) -> Stored<ReadyHead> {
    let at = keys::parse_ready_at(item::text(item, "index_sk")?);
    let job = keys::parse_job(item::text(item, "pk")?, item::text(item, "sk")?);
    match (at, job) {
        (Some(at), Some(job)) => Ok(ReadyHead { at, job }),
        _ => Err(corrupt("a ready list has an entry that isn't a job's")),
    }
}
