//! Pool and worker records on DynamoDB, and the pools' queues.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_sqs::operation::create_queue::CreateQueueError;
use aws_sdk_sqs::types::QueueAttributeName;
use engine::ids::PoolId;
use engine::ports::{Consistency, Pool, PoolQueue, Stored, WORKER_KEPT, WorkerRecord, WorkerRegistry};
use futures::future::try_join_all;
use protocol::requests::Transport;
use protocol::{LabelSet, Millis, SecretName, WorkerId};
use serde::{Deserialize, Serialize};

use crate::error::{corrupt, unavailable};
use crate::item::{Item, expires_on, from_item, to_item};
use crate::table::{Answer, Query};
use crate::update::{Expression, number, string};
use crate::{Aws, keys};

/// A queue's record is rewritten at most this often.
const WANTED_EVERY: Duration = Duration::from_mins(5);
/// How long a received ticket is hidden from other workers: enough to claim with it.
const TICKET_HIDDEN_SECS: u32 = 30;
/// How long a ticket that nobody receives is kept; claims over HTTP find its job without.
const TICKET_KEPT_SECS: u32 = 24 * 3600;

/// As the template says of its own queues.
const TLS_ONLY: &str = concat!(
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"TlsOnly","Effect":"Deny","Principal":"*","#,
    r#""Action":"sqs:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#
);

#[derive(Serialize, Deserialize)]
struct PoolItem {
    sk: String,
    labels: LabelSet,
    #[serde(default)]
    secrets: BTreeSet<SecretName>,
    #[serde(default)]
    queue_url: Option<String>,
    #[serde(default)]
    wanted_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WorkerItem {
    labels: LabelSet,
    transport: Transport,
    exclusive: bool,
    features: Vec<String>,
    registered_at: u64,
    last_seen: u64,
    expires_on: u64,
}

fn pool_key(id: &PoolId) -> (String, String) {
    (keys::POOLS.to_owned(), id.as_str().to_owned())
}

fn worker_key(id: &WorkerId) -> (String, String) {
    (keys::WORKERS.to_owned(), id.as_str().to_owned())
}

fn pool_record(item: Item) -> Stored<Pool> {
    let fields: PoolItem = from_item(item)?;
    let queue = match (fields.queue_url, fields.wanted_at) {
        (Some(url), Some(wanted_at)) => Some(PoolQueue { url, wanted_at: Millis(wanted_at) }),
        _ => None,
    };
    Ok(Pool { id: PoolId::from_stored(fields.sk), labels: fields.labels, secrets: fields.secrets, queue })
}

fn worker_record(item: Item) -> Stored<WorkerRecord> {
    let id = WorkerId::new(crate::item::text(&item, "sk")?).map_err(corrupt)?;
    let fields: WorkerItem = from_item(item)?;
    Ok(WorkerRecord {
        id,
        labels: fields.labels,
        transport: fields.transport,
        exclusive: fields.exclusive,
        features: fields.features,
        registered_at: Millis(fields.registered_at),
        last_seen: Millis(fields.last_seen),
    })
}

impl Aws {
    /// Adds a pool, or notes that it is used; what is known of its queue stays.
    async fn add_pool(&self, pool: Pool) -> Stored<()> {
        let labels = serde_dynamo::to_attribute_value(&pool.labels).map_err(corrupt)?;
        let mut expression = Expression::conditions().set("labels", labels).set("expires_on", number(expires_on()));
        if !pool.secrets.is_empty() {
            expression = expression.set("secrets", serde_dynamo::to_attribute_value(&pool.secrets).map_err(corrupt)?);
        }
        self.jobs.update(pool_key(&pool.id), expression).await?;
        Ok(())
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

    async fn queue_url(&self, name: &str) -> Stored<String> {
        let answer = self.queues.get_queue_url().queue_name(name).send().await.map_err(|error| unavailable(&error))?;
        answer.queue_url.ok_or_else(|| corrupt("SQS named a queue without a URL"))
    }
}

impl WorkerRegistry for Aws {
    async fn add_pools(&self, pools: Vec<Pool>) -> Stored<()> {
        for page in pools.chunks(16) {
            try_join_all(page.iter().cloned().map(|pool| self.add_pool(pool))).await?;
        }
        Ok(())
    }

    async fn pools(&self) -> Stored<Vec<Pool>> {
        self.jobs.query_all(Query::of(keys::POOLS)).await?.into_iter().map(pool_record).collect()
    }

    async fn want_queue(&self, pool: &Pool, now: Millis) -> Stored<Option<PoolQueue>> {
        if let Some(queue) = pool.queue.as_ref().filter(|queue| now.since(queue.wanted_at) < WANTED_EVERY) {
            return Ok(Some(queue.clone()));
        }
        let url = self.create_queue(pool).await?;
        let expression =
            Expression::of_existing().set("queue_url", string(url.clone())).set("wanted_at", number(now.0));
        match self.jobs.update(pool_key(&pool.id), expression).await? {
            Answer::Done(_) => Ok(Some(PoolQueue { url, wanted_at: now })),
            Answer::Refused(_) => Ok(None),
        }
    }

    async fn put_worker(&self, worker: WorkerRecord) -> Stored<()> {
        let key = worker_key(&worker.id);
        let fields = WorkerItem {
            labels: worker.labels,
            transport: worker.transport,
            exclusive: worker.exclusive,
            features: worker.features,
            registered_at: worker.registered_at.0,
            last_seen: worker.last_seen.0,
            expires_on: (worker.last_seen + WORKER_KEPT).secs(),
        };
        self.jobs.put(to_item(key, fields)?).await
    }

    async fn worker(&self, id: &WorkerId, _now: Millis) -> Stored<Option<WorkerRecord>> {
        self.jobs.get(worker_key(id), Consistency::Strong).await?.map(worker_record).transpose()
    }

    async fn workers(&self, _now: Millis) -> Stored<Vec<WorkerRecord>> {
        self.jobs.query_all(Query::of(keys::WORKERS)).await?.into_iter().map(worker_record).collect()
    }

    async fn remove_worker(&self, id: &WorkerId) -> Stored<()> {
        self.jobs.delete(worker_key(id)).await
    }
}
