//! Conversion between records and DynamoDB items: an item's attributes are a record's fields as serde names them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use engine::job::{JobRecord, Phase};
use engine::ports::Stored;
use engine::run::{Control, WorkflowRecord};
use protocol::{Millis, limits};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::corrupt;
use crate::keys::{self, Key};

/// An item as the client library has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

const DAY: Duration = Duration::from_hours(24);

/// When a workflow's record that is written or renewed now expires, in seconds since 1970. The day covers a start within a
/// day after the submission, which doesn't renew the record.
pub(crate) fn workflow_expires_on() -> u64 {
    (Millis::now() + limits::RETENTION + DAY).secs()
}

/// When another record of a run expires: later than the workflow's, so that a workflow never names missing records.
pub(crate) fn expires_on() -> u64 {
    (Millis::now() + limits::RETENTION + 3 * DAY).secs()
}

pub(crate) fn number(n: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(n.into().to_string())
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn bytes(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// A set of numbers, or `None` if it is empty: DynamoDB has no empty sets.
pub(crate) fn numbers<'a>(set: impl IntoIterator<Item = &'a u32>) -> Option<AttributeValue> {
    let numbers: Vec<String> = set.into_iter().map(u32::to_string).collect();
    (!numbers.is_empty()).then_some(AttributeValue::Ns(numbers))
}

/// A value as an attribute.
pub(crate) fn value(value: impl Serialize) -> Stored<AttributeValue> {
    serde_dynamo::to_attribute_value(value).map_err(corrupt)
}

/// A value's JSON, as a text attribute.
pub(crate) fn json(value: &impl Serialize) -> Stored<AttributeValue> {
    serde_json::to_string(value).map(string).map_err(corrupt)
}

/// An item with these attributes under a key.
pub(crate) fn item(
    (pk, sk): Key,
    expires_on: impl Into<Option<u64>>,
    attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> Item {
    let expiry = expires_on.into().map(|at| ("expires_on", number(at)));
    let common = [("pk", string(pk)), ("sk", string(sk))].into_iter().chain(expiry);
    attributes.into_iter().chain(common).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A record's item under a key. A field that is `None` has no attribute, so that a condition can ask for it.
pub(crate) fn to_item(key: Key, expires_on: impl Into<Option<u64>>, record: &impl Serialize) -> Stored<Item> {
    let mut fields: Item = serde_dynamo::to_item(record).map_err(corrupt)?;
    fields.retain(|_, value| !value.is_null());
    fields.extend(item(key, expires_on, []));
    Ok(fields)
}

/// Reads a record's item.
pub(crate) fn from_item<T: DeserializeOwned>(item: Item) -> Stored<T> {
    serde_dynamo::from_item(item).map_err(corrupt)
}

/// An item's text attribute.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Stored<&'a str> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| corrupt(format!("an item has no text {name:?}")))
}

/// An item's key.
pub(crate) fn key(item: &Item) -> Stored<Key> {
    Ok((text(item, "pk")?.to_owned(), text(item, "sk")?.to_owned()))
}

/// The item of a job that a run begins with. Its record's key is the item's. Its spec is JSON: a number that the author
/// wrote in `metadata` stays as written.
pub(crate) fn new_job(job: &JobRecord) -> Stored<Item> {
    let mut item = to_item(keys::job(&job.key), expires_on(), job)?;
    item.remove("key");
    if let Some(spec) = &job.spec {
        item.insert("spec".to_owned(), json(spec)?);
    }
    if let Phase::Waiting { on } = &job.phase {
        item.remove("waiting_on");
        item.extend(numbers(on).map(|on| ("waiting_on".to_owned(), on)));
    }
    Ok(item)
}

/// Reads a job's item.
pub(crate) fn job_record(mut item: Item) -> Stored<JobRecord> {
    let key = keys::parse_job(text(&item, "pk")?, text(&item, "sk")?);
    let key = key.ok_or_else(|| corrupt("an item under a job's key has another key"))?;
    item.insert("key".to_owned(), value(&key)?);
    let spec = item.remove("spec");
    let job: JobRecord = from_item(item)?;
    let spec = spec.as_ref().and_then(|spec| spec.as_s().ok());
    Ok(JobRecord { spec: spec.map(|spec| serde_json::from_str(spec)).transpose().map_err(corrupt)?, ..job })
}

/// A control record's item. While the run is active, it is in the index by its timer.
pub(crate) fn control(control: &Control) -> Stored<Item> {
    let mut item = to_item(keys::control(&control.run), expires_on(), control)?;
    if let Some(due) = control.timer.stored() {
        item.extend(index(&keys::open(&control.run), keys::by_age(due, control.run.as_str())));
    }
    Ok(item)
}

/// A workflow's item, which is in the index by its age.
pub(crate) fn workflow(workflow: &WorkflowRecord) -> Stored<Item> {
    let mut item = to_item(keys::workflow(&workflow.id), workflow_expires_on(), workflow)?;
    item.extend(index(keys::WORKFLOWS, keys::by_age(workflow.created_at, workflow.id.as_str())));
    Ok(item)
}

/// The attributes of an entry of the index.
pub(crate) fn index(partition: &str, sort: String) -> [(String, AttributeValue); 2] {
    [("index_pk".to_owned(), string(partition)), ("index_sk".to_owned(), string(sort))]
}
