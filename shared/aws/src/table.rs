//! Calls on one DynamoDB table: single items, pages of a query, and batches that are retried.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::batch_write_item::BatchWriteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, KeysAndAttributes, PutRequest, ReturnValue, ReturnValuesOnConditionCheckFailure,
    Select, WriteRequest,
};
use engine::ids;
use engine::ports::{Consistency, StoreError, Stored};
use futures::future::try_join_all;
use protocol::Millis;

use crate::error::unavailable;
use crate::item::{Item, string};
use crate::keys::Key;
use crate::update::Expression;

/// The maximum number of items that one call writes.
const WRITE_BATCH: usize = 25;
/// The maximum number of items that one call reads.
const READ_BATCH: usize = 100;
/// Batches of items that are read concurrently.
const READS_AT_ONCE: usize = 8;
/// How often the unprocessed part of a batch is sent again.
const BATCH_TRIES: u32 = 8;
/// How often an update that met a transaction is tried again.
const CONFLICT_TRIES: u32 = 3;

/// The result of a conditional update.
pub(crate) enum Answer {
    /// The new item.
    Done(Item),
    /// The condition doesn't hold. Carries the current item, or `None` if there is none.
    Refused(Option<Item>),
}

/// A query of one partition of the table or its index.
#[derive(Clone)]
pub(crate) struct Query<'a> {
    pub index: bool,
    pub partition: &'a str,
    /// Bounds of the sort key, both inclusive.
    pub from: Option<String>,
    pub to: Option<String>,
    pub descending: bool,
    pub limit: Option<usize>,
    pub how: Consistency,
}

impl<'a> Query<'a> {
    /// All items of a partition. Eventually consistent.
    pub(crate) fn of(partition: &'a str) -> Self {
        Self {
            index: false,
            partition,
            from: None,
            to: None,
            descending: false,
            limit: None,
            how: Consistency::Eventual,
        }
    }

    /// Any partitions, which the caller of [`Table::query_spread`] names.
    pub(crate) fn of_any(index: bool) -> Self {
        Self { index, ..Self::of("") }
    }

    /// All entries of an index partition.
    pub(crate) fn of_index(partition: &'a str) -> Self {
        Self { index: true, ..Self::of(partition) }
    }
}

/// A table.
#[derive(Clone)]
pub(crate) struct Table {
    client: Client,
    name: String,
}

fn is_strong(how: Consistency) -> bool {
    how == Consistency::Strong
}

fn key_item((pk, sk): Key) -> Item {
    HashMap::from([("pk".to_owned(), string(pk)), ("sk".to_owned(), string(sk))])
}

/// DynamoDB removes expired items within days. Until then they count as absent.
pub(crate) fn unexpired(item: &Item, now: Millis) -> bool {
    let expires = item.get("expires_on").and_then(|value| value.as_n().ok()).and_then(|n| n.parse::<u64>().ok());
    expires.is_none_or(|at| at > now.secs())
}

fn is_unexpired(item: &Item) -> bool {
    unexpired(item, Millis::now())
}

impl Table {
    pub(crate) fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn get(&self, key: Key, how: Consistency) -> Stored<Option<Item>> {
        let call = self.client.get_item().table_name(&self.name).set_key(Some(key_item(key)));
        let answer = call.consistent_read(is_strong(how)).send().await.map_err(|error| unavailable(&error))?;
        Ok(answer.item.filter(is_unexpired))
    }

    /// The items under these keys, in any order. Missing items are left out.
    pub(crate) async fn get_many(&self, mut keys: Vec<Key>, how: Consistency) -> Stored<Vec<Item>> {
        // DynamoDB refuses a batch that has a key twice.
        let mut distinct = HashSet::with_capacity(keys.len());
        keys.retain(|key| distinct.insert(key.clone()));
        let mut items = Vec::with_capacity(keys.len());
        for some in keys.chunks(READ_BATCH * READS_AT_ONCE) {
            let pages = try_join_all(some.chunks(READ_BATCH).map(|page| self.get_page(page, how))).await?;
            items.extend(pages.into_iter().flatten());
        }
        Ok(items)
    }

    async fn get_page(&self, keys: &[Key], how: Consistency) -> Stored<Vec<Item>> {
        let mut items = Vec::with_capacity(keys.len());
        let mut left: Vec<Item> = keys.iter().cloned().map(key_item).collect();
        let mut tries = 0;
        while !left.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(is_strong(how)).build();
            let wanted = wanted.map_err(|error| unavailable(&error))?;
            let call = self.client.batch_get_item().request_items(&self.name, wanted);
            let answer = call.send().await.map_err(|error| unavailable(&error))?;
            let found = answer.responses.and_then(|mut tables| tables.remove(&self.name)).unwrap_or_default();
            items.extend(found.into_iter().filter(is_unexpired));
            let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
            left = rest.map(|rest| rest.keys).unwrap_or_default();
            if !left.is_empty() {
                self.wait_or_give_up(&mut tries).await?;
            }
        }
        Ok(items)
    }

    /// The first page of a query.
    pub(crate) async fn query(&self, query: Query<'_>) -> Stored<Vec<Item>> {
        Ok(self.query_page(query, None).await?.0)
    }

    /// A page of a query, and the key after which the next one begins.
    pub(crate) async fn query_page(&self, query: Query<'_>, after: Option<Item>) -> Stored<(Vec<Item>, Option<Item>)> {
        let call = self.query_call(query).set_exclusive_start_key(after);
        let answer = call.send().await.map_err(|error| unavailable(&error))?;
        let items = answer.items.unwrap_or_default().into_iter().filter(is_unexpired).collect();
        // Some emulators answer with an empty key at the end.
        Ok((items, answer.last_evaluated_key.filter(|key| !key.is_empty())))
    }

    /// All pages of a query.
    pub(crate) async fn query_all(&self, query: Query<'_>) -> Stored<Vec<Item>> {
        let mut pages = self.query_call(query).into_paginator().items().send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            items.push(item.map_err(|error| unavailable(&error))?);
        }
        items.retain(is_unexpired);
        Ok(items)
    }

    /// The number of items that a query matches, counted up to about `most`.
    pub(crate) async fn count(&self, query: Query<'_>, most: usize) -> Stored<u64> {
        let query = Query { limit: Some(most), ..query };
        let mut pages = self.query_call(query).select(Select::Count).into_paginator().send();
        let mut count = 0;
        while count < most as u64
            && let Some(page) = pages.next().await
        {
            count += u64::from(page.map_err(|error| unavailable(&error))?.count.unsigned_abs());
        }
        Ok(count)
    }

    fn query_call(&self, query: Query<'_>) -> QueryFluentBuilder {
        let (pk, sk) = if query.index { ("index_pk", "index_sk") } else { ("pk", "sk") };
        let mut call = self
            .client
            .query()
            .table_name(&self.name)
            .scan_index_forward(!query.descending)
            .expression_attribute_names("#pk", pk)
            .expression_attribute_values(":pk", string(query.partition))
            .set_limit(query.limit.and_then(|limit| i32::try_from(limit).ok()));
        let condition = match (&query.from, &query.to) {
            (None, None) => "#pk = :pk",
            (Some(_), None) => "#pk = :pk AND #sk >= :from",
            (None, Some(_)) => "#pk = :pk AND #sk <= :to",
            (Some(_), Some(_)) => "#pk = :pk AND #sk BETWEEN :from AND :to",
        };
        if query.from.is_some() || query.to.is_some() {
            call = call.expression_attribute_names("#sk", sk);
        }
        if let Some(from) = query.from {
            call = call.expression_attribute_values(":from", string(from));
        }
        if let Some(to) = query.to {
            call = call.expression_attribute_values(":to", string(to));
        }
        // An index has no strong reads.
        call = if query.index { call.index_name("index") } else { call.consistent_read(is_strong(query.how)) };
        call.key_condition_expression(condition)
    }

    pub(crate) async fn put(&self, item: Item) -> Stored<()> {
        let call = self.client.put_item().table_name(&self.name).set_item(Some(item));
        call.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Puts an item if there is none, or one that has expired by `now`. Returns true if it did.
    pub(crate) async fn put_if_absent(&self, item: Item, now: Millis) -> Stored<bool> {
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(pk) OR expires_on <= :now")
            .expression_attribute_values(":now", AttributeValue::N(now.secs().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match call.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            // The library repeats a call whose answer was lost: then the item is our own.
            Err(PutItemError::ConditionalCheckFailedException(refusal)) => Ok(refusal.item == Some(item)),
            Err(other) => Err(unavailable(&other)),
        }
    }

    /// Puts an item if the condition holds. Returns true if it did.
    pub(crate) async fn put_if(&self, item: Item, when: Expression) -> Stored<bool> {
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(when.condition())
            .set_expression_attribute_names(Some(when.names))
            .set_expression_attribute_values(Some(when.values));
        match call.send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(other) => Err(unavailable(&other)),
        }
    }

    /// Puts an item, unless there is one that has another value of this attribute and hasn't expired by `now`. Returns true
    /// if it did.
    pub(crate) async fn put_unless_other(&self, item: Item, attribute: &str, now: Millis) -> Stored<bool> {
        let same = if item.contains_key(attribute) { " OR #attribute = :own" } else { "" };
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .condition_expression(format!("attribute_not_exists(#attribute) OR expires_on <= :now{same}"))
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":now", AttributeValue::N(now.secs().to_string()));
        let call = match item.get(attribute) {
            Some(own) => call.expression_attribute_values(":own", own.clone()),
            None => call,
        };
        match call.set_item(Some(item)).send().await.map_err(SdkError::into_service_error) {
            Ok(_) => Ok(true),
            Err(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
            Err(other) => Err(unavailable(&other)),
        }
    }

    /// Deletes an item. Returns true if there was one.
    pub(crate) async fn delete_existing(&self, key: Key) -> Stored<bool> {
        let call = self.client.delete_item().table_name(&self.name).set_key(Some(key_item(key)));
        let answer = call.return_values(ReturnValue::AllOld).send().await.map_err(|error| unavailable(&error))?;
        // Some emulators answer with an empty item if there was none.
        Ok(answer.attributes.is_some_and(|item| !item.is_empty() && is_unexpired(&item)))
    }

    pub(crate) async fn delete(&self, key: Key) -> Stored<()> {
        let call = self.client.delete_item().table_name(&self.name).set_key(Some(key_item(key)));
        call.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    /// Updates an item if the condition holds.
    pub(crate) async fn update(&self, key: Key, expression: Expression) -> Stored<Answer> {
        let condition = expression.condition();
        let call = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key_item(key.clone())))
            .update_expression(expression.update())
            .set_condition_expression((!condition.is_empty()).then_some(condition))
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut conflicts = 0;
        let error = loop {
            match call.clone().send().await.map_err(SdkError::into_service_error) {
                Ok(answer) => return Ok(Answer::Done(answer.attributes.unwrap_or_default())),
                // A transaction writes the item just now, and nothing was done. The library doesn't try this again.
                Err(UpdateItemError::TransactionConflictException(_)) if conflicts < CONFLICT_TRIES => {
                    conflicts += 1;
                    wait(conflicts).await;
                }
                Err(error) => break error,
            }
        };
        match error {
            UpdateItemError::ConditionalCheckFailedException(refusal) => match refusal.item {
                Some(item) => Ok(Answer::Refused(Some(item))),
                // There is none, or an emulator left it out: a strong read tells which.
                None => Ok(Answer::Refused(self.get(key, Consistency::Strong).await?)),
            },
            other => Err(unavailable(&other)),
        }
    }

    /// Writes items, not atomically. A call whose result is unknown is not repeated: the first try could be applied after
    /// the second and overwrite later changes.
    pub(crate) async fn put_many(&self, items: Vec<Item>) -> Stored<()> {
        let request = |item| {
            let put = PutRequest::builder().set_item(Some(item)).build().map_err(|error| unavailable(&error))?;
            Ok(WriteRequest::builder().put_request(put).build())
        };
        let settings = Builder::new().retry_config(RetryConfig::disabled());
        self.write_many(items.into_iter().map(request).collect::<Stored<_>>()?, settings).await
    }

    /// Deletes items, not atomically.
    pub(crate) async fn delete_many(&self, keys: Vec<Key>) -> Stored<()> {
        let request = |key| {
            let delete = DeleteRequest::builder().set_key(Some(key_item(key))).build();
            let delete = delete.map_err(|error| unavailable(&error))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        self.write_many(keys.into_iter().map(request).collect::<Stored<_>>()?, Builder::new()).await
    }

    async fn write_many(&self, requests: Vec<WriteRequest>, settings: Builder) -> Stored<()> {
        for page in requests.chunks(WRITE_BATCH) {
            let mut left = page.to_vec();
            let mut tries = 0;
            while !left.is_empty() {
                let call = self.client.batch_write_item().request_items(&self.name, left.clone());
                match call.customize().config_override(settings.clone()).send().await {
                    Ok(answer) => {
                        let undone = answer.unprocessed_items.and_then(|mut tables| tables.remove(&self.name));
                        left = undone.unwrap_or_default();
                    }
                    Err(error) if is_throttled(&error) => {}
                    Err(error) => return Err(unavailable(&error)),
                }
                if !left.is_empty() {
                    self.wait_or_give_up(&mut tries).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits before another try. Fails after [`BATCH_TRIES`].
    async fn wait_or_give_up(&self, tries: &mut u32) -> Stored<()> {
        *tries += 1;
        if *tries > BATCH_TRIES {
            let text = format!("table {} left part of a batch undone {BATCH_TRIES} times: it is throttled", self.name);
            return Err(StoreError::Unavailable(text));
        }
        wait(*tries).await;
        Ok(())
    }
}

/// Waits before try number `tries`, with full jitter over a doubling time, from 100 ms.
async fn wait(tries: u32) {
    let longest = 50_u64 << tries;
    let [a, b, ..] = ids::random();
    let time = longest * u64::from(u16::from_be_bytes([a, b])) / u64::from(u16::MAX);
    tokio::time::sleep(Duration::from_millis(time)).await;
}

/// Returns true if the whole batch was refused because of throttling.
fn is_throttled(error: &SdkError<BatchWriteItemError>) -> bool {
    const THROTTLED: [&str; 3] =
        ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"];
    error.code().is_some_and(|code| THROTTLED.contains(&code))
}

/// For each item of a cancelled transaction, whether its condition failed. `None` if no condition failed: the
/// transaction may be tried again.
pub(crate) fn refused_items(error: &SdkError<TransactWriteItemsError>) -> Option<Vec<bool>> {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.as_service_error()? else {
        return None;
    };
    let codes: Vec<&str> =
        cancelled.cancellation_reasons().iter().map(|reason| reason.code.as_deref().unwrap_or("None")).collect();
    let refused: Vec<bool> = codes.iter().map(|code| *code == "ConditionalCheckFailed").collect();
    refused.contains(&true).then_some(refused)
}
