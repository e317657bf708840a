//! Parses stream records and queue messages.

use aws_lambda_events::dynamodb::EventRecord;
use engine::forge::names::ReportKey;
use engine::forge::records::DeliveryKey;
use engine::forges::ForgeChange;
use engine::messages::{ChangeEvent, Delivered, QueueMessage, Reconcile};
use engine::ports::Stored;
use protocol::LinkName;

use crate::error::corrupt;
use crate::item::{self, Item};
use crate::keys;

/// The change event of a stream record, or `None` if nothing follows from the change.
///
/// The filters in the template pass only records with an event. An emulator may ignore the filters.
///
/// # Errors
/// If the record's image has a form that this project doesn't write.
pub fn event(record: &EventRecord) -> Stored<Option<ChangeEvent>> {
    if record.event_name == "REMOVE" {
        return Ok(None);
    }
    let new: Item = record.change.new_image.clone().into();
    let old: Item = record.change.old_image.clone().into();
    let sort = item::text(&new, "sk")?;
    if sort == "CTL" {
        let before = old.get("state").cloned().map(serde_dynamo::from_attribute_value);
        return Ok(ChangeEvent::of_run(before.transpose().map_err(corrupt)?, &item::from_item(new)?));
    }
    if !sort.starts_with("JOB#") || record.event_name != "MODIFY" {
        return Ok(None);
    }
    let job = item::job_record(new)?;
    let ended_now = job.is_ended() && item::text(&old, "status").is_ok_and(|before| before != "ended");
    Ok(ended_now.then(|| ChangeEvent::JobEnded(Box::new(job))))
}

/// The address of a stream record, whether or not its image can be read, or `None` if nothing could follow from the
/// change.
#[must_use]
pub fn place(record: &EventRecord) -> Option<Reconcile> {
    let keys: Item = record.change.keys.clone().into();
    let (pk, sk) = (item::text(&keys, "pk").ok()?, item::text(&keys, "sk").ok()?);
    match sk {
        "CTL" => keys::parse_run(pk).map(Reconcile::Run),
        _ => keys::parse_job(pk, sk).map(Reconcile::Job),
    }
}

/// What follows from a stream record: its change event, or its address if the image can't be read. `None` if nothing does.
///
/// # Errors
/// If neither the image nor the address can be read.
pub fn delivered(record: &EventRecord) -> Stored<Option<Delivered>> {
    match (event(record), place(record)) {
        (Ok(event), _) => Ok(event.map(Delivered::Event)),
        (Err(error), Some(place)) => {
            tracing::error!(%error, ?place, "a record of the stream can't be read; queueing it for reconciliation");
            Ok(Some(Delivered::Unreadable(place)))
        }
        (Err(error), None) => Err(error),
    }
}

/// What concerns forges in a batch of stream records, and the record of each change. A record that can't be read is logged and left out.
#[must_use]
pub fn forge_changes(records: &[EventRecord]) -> (Vec<ForgeChange>, Vec<&EventRecord>) {
    let change = |record| match forge_change(record) {
        Ok(change) => Some((change?, record)),
        Err(error) => {
            tracing::error!(%error, record = record.event_id, "a record of the stream can't be read");
            None
        }
    };
    records.iter().filter_map(change).unzip()
}

/// What concerns a forge in a stream record: a new delivery, or the report of a job or run whose state has changed. `None`: nothing.
///
/// # Errors
/// If the record's image has a form that this project doesn't write.
fn forge_change(record: &EventRecord) -> Stored<Option<ForgeChange>> {
    let keys: Item = record.change.keys.clone().into();
    let (list, sort) = (item::text(&keys, "pk")?, item::text(&keys, "sk")?);
    if let (Some(link), Some(place)) = (list.strip_prefix("FORGE#"), sort.strip_prefix("D#")) {
        let key = || DeliveryKey::parse(&LinkName::new(link).ok()?, place);
        return Ok(if record.event_name == "INSERT" { key().map(ForgeChange::Delivered) } else { None });
    }
    let (new, old): (Item, Item) = (record.change.new_image.clone().into(), record.change.old_image.clone().into());
    let Some(report) = new.get("report") else { return Ok(None) };
    let differs = ["status", "state"].iter().any(|name| new.get(*name) != old.get(*name));
    if record.event_name != "MODIFY" || !differs {
        return Ok(None);
    }
    let report: ReportKey = serde_dynamo::from_attribute_value(report.clone()).map_err(corrupt)?;
    Ok(Some(ForgeChange::Report(report)))
}

/// Parses a message of the queue `batches`.
///
/// # Errors
/// If the message has a form that this project doesn't send.
pub fn message(message: &str) -> Stored<QueueMessage> {
    serde_json::from_str(message).map_err(corrupt)
}
