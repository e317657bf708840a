//! Workflows and runs on DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use engine::ids::RunKey;
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, ListCursor, NewItem, RunStore, Source, Stored, Updated,
};
use engine::run::{Control, RunEnd, RunUpdate, WorkflowRecord};
use futures::future::try_join_all;
use protocol::wire::InputValues;
use protocol::{Millis, WorkflowId};

use crate::aws::Aws;
use crate::data::IN_ITEM;
use crate::error::{corrupt, unavailable};
use crate::item::{self, Item, from_item, number, string, to_item, value};
use crate::jobs::wait_item;
use crate::keys::{self, Key, after, job_partitions};
use crate::table::{Answer, Query, refused_items};
use crate::update::{self, Expression};

/// The number of items whose expiry is renewed concurrently.
const RENEWED_AT_ONCE: usize = 32;
/// The number of runs with an overdue timer that one read returns.
const TIMERS: usize = 10_000;

impl Aws {
    async fn new_item(&self, item: NewItem) -> Stored<Item> {
        match item {
            NewItem::Job(job) => item::new_job(&job),
            NewItem::Spec(key, spec) => self.spec_item(&key, &spec).await,
            NewItem::WaitShard(key, shard, waits) => Ok(wait_item(&key, shard, &waits)),
            NewItem::Definition(run, source) => self.definition_item(&run, source).await,
            NewItem::Inputs(run, values) => {
                let json = serde_json::to_vec(&values).map_err(corrupt)?;
                self.data_item(keys::inputs(&run), &json, IN_ITEM, format!("defs/{run}/inputs")).await
            }
        }
    }

    async fn definition_item(&self, run: &RunKey, source: Source) -> Stored<Item> {
        let (key, object) = (keys::definition(run), format!("defs/{run}/source"));
        let mut item = self.data_item(key, source.text.as_bytes(), IN_ITEM, object).await?;
        item.insert("content_type".to_owned(), string(source.content_type));
        Ok(item)
    }

    /// Renews the expiry of an item, if it exists.
    async fn renew_item(&self, key: Key) -> Stored<()> {
        self.jobs.update(key, Expression::of_existing()).await.map(drop)
    }

    fn put_if(&self, condition: &str, item: Item) -> PutBuilder {
        Put::builder().table_name(self.jobs.name()).set_item(Some(item)).condition_expression(condition)
    }

    /// The writes of a commit: workflow, control, and the answer for a repeat.
    fn commit_writes(&self, commit: &Commit) -> Stored<Vec<TransactWriteItem>> {
        let workflow = item::workflow(&commit.workflow)?;
        let workflow = match &commit.replaces {
            None => self.put_if("attribute_not_exists(pk)", workflow),
            Some(run) => self
                .put_if("#run = :run AND attribute_exists(ended)", workflow)
                .expression_attribute_names("#run", "run")
                .expression_attribute_values(":run", string(run.as_str())),
        };
        let mut writes = vec![workflow, self.put_if("attribute_not_exists(pk)", item::control(&commit.control)?)];
        if let Some(kept) = &commit.idempotency {
            let item = to_item(keys::idempotency(&kept.key), kept.expires.secs(), kept)?;
            let now = number(commit.workflow.created_at.secs());
            let put = self.put_if("attribute_not_exists(pk) OR expires_on <= :now", item);
            writes.push(put.expression_attribute_values(":now", now));
        }
        let write = |put: PutBuilder| {
            let put = put.build().map_err(|error| unavailable(&error))?;
            Ok(TransactWriteItem::builder().put(put).build())
        };
        writes.into_iter().map(write).collect()
    }

    fn delete_when(&self, (pk, sk): Key, expression: Expression) -> Stored<TransactWriteItem> {
        let condition = expression.condition();
        let delete = Delete::builder()
            .table_name(self.jobs.name())
            .key("pk", string(pk))
            .key("sk", string(sk))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values));
        let delete = delete.build().map_err(|error| unavailable(&error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// The runs whose control records these entries of the index are.
fn runs(entries: &[Item]) -> Vec<RunKey> {
    entries.iter().filter_map(|entry| keys::parse_run(item::text(entry, "pk").ok()?)).collect()
}

impl RunStore for Aws {
    async fn put_new(&self, items: Vec<NewItem>) -> Stored<()> {
        let mut written = Vec::with_capacity(items.len());
        for item in items {
            written.push(self.new_item(item).await?);
        }
        self.jobs.put_many(written).await
    }

    async fn commit(&self, commit: Commit) -> Stored<Committed> {
        let writes = self.commit_writes(&commit)?;
        let call = self.jobs.client().transact_write_items().set_transact_items(Some(writes));
        match call.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error) => match refused_items(&error) {
                Some(refused) if refused.get(2) == Some(&true) => Ok(Committed::KeyTaken),
                Some(_) => Ok(Committed::Superseded),
                None => Err(unavailable(&error)),
            },
        }
    }

    async fn idempotency(&self, key: &str, now: Millis) -> Stored<Option<Idempotency>> {
        let kept = self.jobs.get(keys::idempotency(key), Consistency::Strong).await?;
        let kept: Option<Idempotency> = kept.map(from_item).transpose()?;
        Ok(kept.filter(|kept| kept.expires > now))
    }

    async fn workflow(&self, id: &WorkflowId, how: Consistency) -> Stored<Option<WorkflowRecord>> {
        self.jobs.get(keys::workflow(id), how).await?.map(from_item).transpose()
    }

    async fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> Stored<bool> {
        let expression = Expression::conditions()
            .when_is("run", "=", string(run.as_str()))
            .when_absent("ended")
            .set("ended", value(end)?);
        Ok(matches!(self.jobs.update(keys::workflow(id), expression).await?, Answer::Done(_)))
    }

    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let mut found = Vec::new();
        // The index may list workflows that were just deleted. If a page has only those, the next one is read.
        let mut after = after.map(|after| keys::by_age(after.created_at, after.id.as_str()));
        while found.is_empty() {
            let to = after.clone();
            // The bound is part of the result: one more is read, and the bound is left out.
            let query = Query { to, descending: true, limit: Some(limit + 1), ..Query::of_index(keys::WORKFLOWS) };
            let mut entries = self.jobs.query(query).await?;
            entries.retain(|entry| item::text(entry, "index_sk").ok() != after.as_deref());
            entries.truncate(limit);
            let Some(last) = entries.last() else { break };
            after = Some(item::text(last, "index_sk")?.to_owned());
            let keys: Vec<Key> = entries.iter().map(item::key).collect::<Stored<_>>()?;
            let items = self.jobs.get_many(keys.clone(), Consistency::Eventual).await?;
            let mut by_pk: HashMap<String, Item> = HashMap::new();
            for item in items {
                by_pk.insert(item::text(&item, "pk")?.to_owned(), item);
            }
            let in_order = keys.iter().filter_map(|(pk, _)| by_pk.remove(pk));
            found = in_order.map(from_item).collect::<Stored<_>>()?;
        }
        Ok(found)
    }

    async fn inputs(&self, run: &RunKey) -> Stored<Option<InputValues>> {
        let Some(item) = self.jobs.get(keys::inputs(run), Consistency::Strong).await? else { return Ok(None) };
        let json = self.data(&item).await?.ok_or_else(|| corrupt(format!("the inputs of run {run} are missing")))?;
        serde_json::from_slice(&json).map(Some).map_err(corrupt)
    }

    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        let Some(item) = self.jobs.get(keys::definition(run), Consistency::Strong).await? else { return Ok(None) };
        let text = self.data(&item).await?;
        let text = text.ok_or_else(|| corrupt(format!("the definition of run {run} is missing")))?;
        let text = String::from_utf8(text).map_err(corrupt)?;
        Ok(Some(Source { content_type: item::text(&item, "content_type")?.to_owned(), text }))
    }

    async fn control(&self, run: &RunKey, how: Consistency) -> Stored<Option<Control>> {
        self.jobs.get(keys::control(run), how).await?.map(from_item).transpose()
    }

    async fn update_control(&self, run: &RunKey, update: RunUpdate) -> Stored<Updated<Control>> {
        Ok(match self.jobs.update(keys::control(run), update::control(run, update)).await? {
            Answer::Done(item) => Updated::Done(from_item(item)?),
            Answer::Refused(item) => Updated::ConditionFailed(item.map(from_item).transpose()?),
        })
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let due = Query { to: Some(keys::ready_until(by)), ..Query::of_any(true) };
        Ok(runs(&self.jobs.query_spread(&keys::all_open(), due, TIMERS).await?))
    }

    async fn renew(&self, workflow: &WorkflowRecord, jobs: u32) -> Stored<()> {
        let expiry = number(item::workflow_expires_on());
        let renewal = Expression::conditions().when_exists("pk").set("expires_on", expiry);
        self.jobs.update(keys::workflow(&workflow.id), renewal).await?;
        for partition in job_partitions(&workflow.run, jobs).chain([keys::run_partition(&workflow.run)]) {
            let mut from = None;
            loop {
                let query = Query { from, how: Consistency::Strong, ..Query::of(&partition) };
                let items = self.jobs.query(query).await?;
                let Some(last) = items.last() else { break };
                from = Some(after(item::text(last, "sk")?));
                let keys: Vec<Key> = items.iter().map(item::key).collect::<Stored<_>>()?;
                for some in keys.chunks(RENEWED_AT_ONCE) {
                    try_join_all(some.iter().cloned().map(|key| self.renew_item(key))).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete_workflow(&self, as_read: &WorkflowRecord) -> Stored<bool> {
        let workflow = Expression::conditions().when_is("run", "=", string(as_read.run.as_str()));
        let (workflow, control) = match as_read.ended {
            Some(end) => {
                // Not the whole of it: an older version wrote fewer fields.
                let ended = workflow.when_is("ended.at", "=", number(end.at.0));
                (ended, Expression::conditions().when_exists("pk"))
            }
            None => (workflow.when_absent("ended"), Expression::conditions().when_is("state", "=", string("new"))),
        };
        let writes = vec![
            self.delete_when(keys::workflow(&as_read.id), workflow)?,
            self.delete_when(keys::control(&as_read.run), control)?,
        ];
        let call = self.jobs.client().transact_write_items().set_transact_items(Some(writes));
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if refused_items(&error).is_some() => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn delete_some(&self, run: &RunKey, jobs: u32) -> Stored<bool> {
        self.delete_some_records(run, jobs).await
    }
}
