//! Pool and worker records on DynamoDB, and the pools' queues.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_sqs::operation::create_queue::CreateQueueError;
use aws_sdk_sqs::types::QueueAttributeName;
use engine::ids::PoolId;
use engine::ports::{Consistency, Pool, PoolQueue, Stored, WorkerRecord, WorkerRegistry};
use futures::future::try_join_all;
use protocol::wire::Endpoints;
use protocol::{LabelSet, Millis, WorkerId, limits};

use crate::aws::Aws;
use crate::error::{corrupt, unavailable};
use crate::item::{self, Item, from_item, index, number, string, to_item, value};
use crate::keys;
use crate::table::{Answer, Query, unexpired};
use crate::update::Expression;

/// The minimum time between two writes of a queue's `wanted_at`.
const WANTED_EVERY: Duration = Duration::from_mins(5);
/// How long a pool's record keeps a number of parts after the last process that used it: longer than a job can be ready.
const PARTS_KEPT: Duration = limits::RUN_TIME.saturating_add(Duration::from_hours(24));
/// The largest number of parts that the settings allow.
const MAX_PARTS: u32 = 64;
/// How long a received ticket is hidden from other workers, in seconds. Long enough for a claim.
const TICKET_HIDDEN_SECS: u32 = 30;
/// How long a ticket is kept until it is received, in seconds. Claims over HTTP find its job without it.
const TICKET_KEPT_SECS: u32 = 24 * 3600;

/// The tag of a pool's queue whose value is the stack's name, for cost allocation.
const STACK_TAG: &str = "workflow-graph:stack";

/// The policy that the template also gives to its own queues.
const TLS_ONLY: &str = concat!(
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"TlsOnly","Effect":"Deny","Principal":"*","#,
    r#""Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#
);

/// A number of an item, if it has that.
fn number_of(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

impl Aws {
    /// The pools that must be written. A read of an item costs less than a write, and all submissions use the same few pools.
    async fn not_added_lately(&self, mut pools: Vec<Pool>, now: Millis) -> Stored<Vec<Pool>> {
        let keys = pools.iter().map(|pool| keys::pool(&pool.id)).collect();
        let known = self.jobs.get_many(keys, Consistency::Eventual).await?;
        // A pool of fewer parts must be written, so that claims read all parts.
        let has_parts =
            |item: &&Item| number_of(item, "parts").is_some_and(|parts| parts >= self.config.ready_shards.into());
        let lately = known.iter().filter(|item| unexpired(item, now + limits::POOL_TIME * 3 / 4)).filter(has_parts);
        let lately: HashSet<&str> = lately.map(|item| item::text(item, "sk")).collect::<Stored<_>>()?;
        pools.retain(|pool| !lately.contains(pool.id.as_str()));
        Ok(pools)
    }

    /// Adds a pool, or renews its expiry and the parts of its ready list. Its queue stays as it is.
    async fn add_pool(&self, pool: Pool, now: Millis) -> Stored<()> {
        let record = || {
            let expression = Expression::conditions()
                .set("id", value(&pool.id)?)
                .set("labels", value(&pool.labels)?)
                .set("secrets", value(&pool.secrets)?)
                .set("expires_on", number((now + limits::POOL_TIME).secs()));
            Stored::Ok(expression)
        };
        let parts = self.config.ready_shards;
        let with_parts = record()?.set("parts", number(parts)).set("parts_until", number((now + PARTS_KEPT).secs()));
        let answer = self.jobs.update(keys::pool(&pool.id), with_parts.when_parts_at_most(parts, now)).await?;
        if matches!(answer, Answer::Refused(_)) {
            // Jobs may wait in the parts of a larger number.
            self.jobs.update(keys::pool(&pool.id), record()?).await?;
        }
        Ok(())
    }

    /// The parts of a pool's ready list in which jobs may be: the setting, or the pool's own number if that is larger.
    pub(crate) fn parts_of(&self, pool: &PoolId) -> u32 {
        let known = self.parts.lock().unwrap_or_else(PoisonError::into_inner).get(pool).copied();
        known.unwrap_or(1).max(self.config.ready_shards)
    }

    fn keep_parts(&self, pools: &[Item], now: Millis) {
        let parts = pools.iter().filter_map(|item| {
            let parts = u32::try_from(number_of(item, "parts")?).ok()?.min(MAX_PARTS);
            let id = PoolId::from_stored(item::text(item, "sk").ok()?.to_owned());
            (parts > 1 && number_of(item, "parts_until")? > now.secs()).then_some((id, parts))
        });
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = parts.collect();
    }

    async fn create_queue(&self, pool: &Pool) -> Stored<String> {
        let name = format!("{}{}", self.config.queue_prefix, pool.id.as_str());
        let mut call = self
            .queues
            .create_queue()
            .queue_name(&name)
            .attributes(QueueAttributeName::VisibilityTimeout, TICKET_HIDDEN_SECS.to_string())
            .attributes(QueueAttributeName::MessageRetentionPeriod, TICKET_KEPT_SECS.to_string())
            .attributes(QueueAttributeName::SqsManagedSseEnabled, "true");
        if let Some(stack) = &self.config.stack {
            call = call.tags(STACK_TAG, stack);
        }
        if self.config.require_tls {
            call = call.attributes(QueueAttributeName::Policy, TLS_ONLY);
        }
        match call.send().await {
            Ok(answer) => answer.queue_url.ok_or_else(|| corrupt("SQS created a queue without a URL")),
            Err(error) if matches!(error.as_service_error(), Some(CreateQueueError::QueueNameExists(_))) => {
                tracing::warn!(
                    name,
                    "the queue was made by another version; delete it to have it made as it should be"
                );
                self.queue_url(&name).await
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Forgets a pool's queue that is gone, so that the next registration for the pool makes it again.
    pub(crate) async fn forget_queue(&self, pool: &PoolId, queue: &PoolQueue) -> Stored<()> {
        let as_known = Expression::conditions().when_is("queue.url", "=", string(&queue.url));
        self.jobs.update(keys::pool(pool), as_known.remove(&["queue"])).await.map(drop)
    }

    async fn queue_url(&self, name: &str) -> Stored<String> {
        let answer = self.queues.get_queue_url().queue_name(name).send().await.map_err(|error| unavailable(&error))?;
        answer.queue_url.ok_or_else(|| corrupt("SQS named a queue without a URL"))
    }
}

impl WorkerRegistry for Aws {
    async fn add_pools(&self, pools: Vec<Pool>, now: Millis) -> Stored<()> {
        let pools = self.not_added_lately(pools, now).await?;
        for page in pools.chunks(16) {
            try_join_all(page.iter().cloned().map(|pool| self.add_pool(pool, now))).await?;
        }
        Ok(())
    }

    async fn pools(&self, now: Millis) -> Stored<Vec<Pool>> {
        let items = self.jobs.query_all(Query::of(keys::POOLS)).await?;
        self.keep_parts(&items, now);
        items.into_iter().filter(|item| unexpired(item, now)).map(from_item).collect()
    }

    async fn ready_pools(&self, _labels: &LabelSet) -> Stored<Option<Vec<Pool>>> {
        Ok(None)
    }

    fn has_queues(&self) -> bool {
        true
    }

    async fn want_queue(&self, pool: &Pool, now: Millis) -> Stored<Option<PoolQueue>> {
        if let Some(queue) = pool.queue.as_ref().filter(|queue| now.since(queue.wanted_at) < WANTED_EVERY) {
            return Ok(Some(queue.clone()));
        }
        // Nobody has sent to a queue that wasn't wanted for that long, so nobody may have noticed that it is gone.
        let url = match pool.live_queue(now) {
            Some(queue) => queue.url.clone(),
            None => self.create_queue(pool).await?,
        };
        let queue = PoolQueue { url, wanted_at: now };
        let expression = Expression::conditions().when_exists("pk").set("queue", value(&queue)?);
        match self.jobs.update(keys::pool(&pool.id), expression).await? {
            Answer::Done(_) => Ok(Some(queue)),
            Answer::Refused(_) => Ok(None),
        }
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<bool> {
        let expires_on = (worker.last_seen + limits::WORKER_KEPT).secs();
        let (pk, sk) = keys::worker(&worker.id);
        let listed = index(&pk, keys::by_age(worker.last_seen, worker.id.as_str()));
        let mut item = to_item((pk, sk), expires_on, &worker)?;
        item.extend(listed);
        self.jobs.put_unless_other(item, "owner", worker.last_seen).await
    }

    async fn worker(&self, id: &WorkerId, _now: Millis, how: Consistency) -> Stored<Option<WorkerRecord>> {
        self.jobs.get(keys::worker(id), how).await?.map(from_item).transpose()
    }

    async fn workers(&self, now: Millis, most: usize) -> Stored<Vec<WorkerRecord>> {
        // Records are kept for much longer than they are listed. The index has them by when they were last seen.
        let from = Some(keys::by_age(now - limits::WORKER_LISTED + Duration::from_millis(1), ""));
        let seen = Query { from, descending: true, ..Query::of_any(true) };
        let entries = self.jobs.query_spread(&keys::all_workers(), seen, most).await?;
        let keys = entries.iter().map(item::key).collect::<Stored<_>>()?;
        let workers = self.jobs.get_many(keys, Consistency::Eventual).await?;
        workers.into_iter().map(from_item).collect()
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        self.jobs.delete(keys::worker(id)).await
    }

    async fn endpoints(&self) -> Stored<Option<Endpoints>> {
        match &self.endpoints {
            Some(parameter) => parameter.read().await,
            None => Ok(None),
        }
    }
}
