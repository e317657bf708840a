//! Workflows and runs on DynamoDB.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use engine::ids::{ReportHash, RunKey};
use engine::ports::{
    Commit, Committed, Consistency, Idempotency, ListCursor, NewItem, RunStore, Source, Stored, Updated,
};
use engine::run::{Control, RunEnd, RunUpdate, WorkflowRecord};
use protocol::{Millis, WorkflowId};
use serde::{Deserialize, Serialize};

use crate::compression::{IN_ITEM, compress, decompress};
use crate::error::{corrupt, unavailable};
use crate::item::{self, Item, expires_on, from_item, to_item};
use crate::jobs::wait_item;
use crate::table::{Answer, Key, Query, refused_items};
use crate::update::{self, Expression, number, string};
use crate::{Aws, keys};

/// Runs with an overdue timer that one read gives.
const TIMERS: usize = 300;

#[derive(Serialize, Deserialize)]
struct IdempotencyItem {
    body: String,
    workflow: String,
    expires_on: u64,
}

/// A definition's item, without its keys. The compressed text is the attribute `source`, or in the bucket.
#[derive(Serialize, Deserialize)]
struct DefinitionItem {
    content_type: String,
    expires_on: u64,
}

fn definition_object(run: &RunKey) -> String {
    format!("defs/{run}/source")
}

impl Aws {
    async fn new_item(&self, item: NewItem) -> Stored<Item> {
        match item {
            NewItem::Job(job) => item::new_job(&job),
            NewItem::Spec(key, spec) => self.spec_item(&key, &spec).await,
            NewItem::WaitShard(key, shard, waits) => wait_item(&key, shard, waits),
            NewItem::Definition(run, source) => self.definition_item(&run, source).await,
        }
    }

    /// A definition's item. A text that is large when compressed goes to the bucket first.
    async fn definition_item(&self, run: &RunKey, source: Source) -> Stored<Item> {
        let text = compress(source.text.as_bytes())?;
        let fields = DefinitionItem { content_type: source.content_type, expires_on: expires_on() };
        let mut item = to_item(keys::definition(run), fields)?;
        if text.len() <= IN_ITEM {
            item.insert("source".to_owned(), AttributeValue::B(Blob::new(text)));
        } else {
            self.objects.put(&definition_object(run), text, "application/zlib").await?;
        }
        Ok(item)
    }

    fn put_if(&self, condition: &str, item: Item) -> PutBuilder {
        Put::builder().table_name(self.jobs.name()).set_item(Some(item)).condition_expression(condition)
    }

    /// The writes of a commit: workflow, control, and what a repeat will find.
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
            let fields = IdempotencyItem {
                body: kept.body.as_str().to_owned(),
                workflow: kept.workflow.as_str().to_owned(),
                expires_on: kept.expires.secs(),
            };
            let item = to_item(keys::idempotency(&kept.key), fields)?;
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
        let Some(item) = self.jobs.get(keys::idempotency(key), Consistency::Strong).await? else { return Ok(None) };
        let fields: IdempotencyItem = from_item(item)?;
        let kept = Idempotency {
            key: key.to_owned(),
            body: ReportHash::from_stored(fields.body),
            workflow: WorkflowId::new(fields.workflow).map_err(corrupt)?,
            expires: Millis(fields.expires_on * 1000),
        };
        Ok(Some(kept).filter(|kept| kept.expires > now))
    }

    async fn workflow(&self, id: &WorkflowId, how: Consistency) -> Stored<Option<WorkflowRecord>> {
        self.jobs.get(keys::workflow(id), how).await?.map(item::workflow_record).transpose()
    }

    async fn end_workflow(&self, id: &WorkflowId, run: &RunKey, end: RunEnd) -> Stored<bool> {
        let expression = Expression::of_existing()
            .when_is("run", "=", string(run.as_str()))
            .when_absent("ended")
            .set("ended", string(end.status.as_ref()))
            .set("ended_at", number(end.at.0));
        Ok(matches!(self.jobs.update(keys::workflow(id), expression).await?, Answer::Done(_)))
    }

    async fn workflows(&self, after: Option<&ListCursor>, limit: usize) -> Stored<Vec<WorkflowRecord>> {
        let mut found = Vec::new();
        // An entry of the index whose workflow was just deleted gives nothing; the next page may still.
        let mut after = after.map(|after| keys::by_age(after.created_at, after.id.as_str()));
        while found.is_empty() {
            let to = after.clone();
            // The bound itself was seen before, so one more is asked for.
            let query = Query { to, descending: true, limit: Some(limit + 1), ..Query::of_index(keys::WORKFLOWS) };
            let mut entries = self.jobs.query(query).await?;
            entries.retain(|entry| item::text(entry, "index_sk").ok() != after.as_deref());
            entries.truncate(limit);
            let Some(last) = entries.last() else { break };
            after = Some(item::text(last, "index_sk")?.to_owned());
            let keys: Vec<Key> = entries
                .iter()
                .map(|entry| Ok((item::text(entry, "pk")?.to_owned(), item::text(entry, "sk")?.to_owned())))
                .collect::<Stored<_>>()?;
            let items = self.jobs.get_many(keys.clone(), Consistency::Eventual).await?;
            let mut by_pk: HashMap<String, Item> = HashMap::new();
            for item in items {
                by_pk.insert(item::text(&item, "pk")?.to_owned(), item);
            }
            let in_order = keys.iter().filter_map(|(pk, _)| by_pk.remove(pk));
            found = in_order.map(item::workflow_record).collect::<Stored<_>>()?;
        }
        Ok(found)
    }

    async fn definition(&self, run: &RunKey) -> Stored<Option<Source>> {
        let Some(mut item) = self.jobs.get(keys::definition(run), Consistency::Strong).await? else { return Ok(None) };
        let text = if let Some(AttributeValue::B(text)) = item.remove("source") {
            text.into_inner()
        } else {
            let object = self.objects.get(&definition_object(run)).await?;
            object.ok_or_else(|| corrupt(format!("the definition of run {run} is missing")))?
        };
        let text = String::from_utf8(decompress(&text)?).map_err(corrupt)?;
        Ok(Some(Source { content_type: from_item::<DefinitionItem>(item)?.content_type, text }))
    }

    async fn control(&self, run: &RunKey, how: Consistency) -> Stored<Option<Control>> {
        self.jobs.get(keys::control(run), how).await?.map(item::control_record).transpose()
    }

    async fn update_control(&self, run: &RunKey, update: RunUpdate) -> Stored<Updated<Control>> {
        Ok(match self.jobs.update(keys::control(run), update::control(run, update)).await? {
            Answer::Done(item) => Updated::Done(item::control_record(item)?),
            Answer::Refused(item) => Updated::ConditionFailed(item.map(item::control_record).transpose()?),
        })
    }

    async fn open_runs(&self) -> Stored<Vec<RunKey>> {
        let entries = self.jobs.query_all(Query::of_index(keys::OPEN)).await?;
        Ok(entries.iter().filter_map(|entry| keys::parse_run(item::text(entry, "pk").ok()?)).collect())
    }

    async fn timers_due(&self, by: Millis) -> Stored<Vec<RunKey>> {
        let query = Query { to: Some(keys::ready_until(by)), limit: Some(TIMERS), ..Query::of_index(keys::OPEN) };
        let entries = self.jobs.query(query).await?;
        Ok(entries.iter().filter_map(|entry| keys::parse_run(item::text(entry, "pk").ok()?)).collect())
    }

    async fn delete_workflow(&self, as_read: &WorkflowRecord) -> Stored<bool> {
        let workflow = Expression::conditions().when_is("run", "=", string(as_read.run.as_str()));
        let (workflow, control) = match as_read.ended {
            Some(end) => {
                let ended = workflow.when_is("ended", "=", string(end.status.as_ref()));
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
