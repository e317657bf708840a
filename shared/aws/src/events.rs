//! Parses stream records and queue messages.

use aws_lambda_events::dynamodb::EventRecord;
use engine::messages::ChangeEvent;
use engine::messages::{QueueMessage, Reconcile};
use engine::ports::Stored;
use engine::run::RunState;

use crate::error::corrupt;
use crate::item::{self, Item};
use crate::keys;

/// What a record of the stream tells; `None` if nothing follows from it.
///
/// The filters in the template pass only records that tell something; what they let through by mistake, on an emulator
/// that ignores them for one, is sorted out here.
///
/// # Errors
/// If the record's image isn't what this project wrote.
pub fn event(record: &EventRecord) -> Stored<Option<ChangeEvent>> {
    if record.event_name == "REMOVE" {
        return Ok(None);
    }
    let new: Item = record.change.new_image.clone().into();
    let old: Item = record.change.old_image.clone().into();
    let sort = item::text(&new, "sk")?;
    if sort == "CTL" {
        let control = item::control_record(new)?;
        let before = item::text(&old, "state").ok().and_then(|state| state.parse().ok());
        return Ok(match control.state {
            state if before == Some(state) => None,
            RunState::Open => Some(ChangeEvent::RunOpened(control)),
            RunState::Cancelling => Some(ChangeEvent::RunCancelling(control)),
            RunState::New | RunState::Final => None,
        });
    }
    if !sort.starts_with("JOB#") || record.event_name != "MODIFY" {
        return Ok(None);
    }
    let job = item::job_record(new)?;
    let news = job.is_ended() && item::text(&old, "status").is_ok_and(|before| before != job.status().as_ref());
    Ok(news.then(|| ChangeEvent::JobEnded(Box::new(job))))
}

/// Where a record of the stream is, whether or not its image can be read; `None` if nothing could follow from it.
#[must_use]
pub fn place(record: &EventRecord) -> Option<Reconcile> {
    let keys: Item = record.change.keys.clone().into();
    let (pk, sk) = (item::text(&keys, "pk").ok()?, item::text(&keys, "sk").ok()?);
    match sk {
        "CTL" => keys::parse_run(pk).map(Reconcile::Run),
        _ => keys::parse_job(pk, sk).map(Reconcile::Job),
    }
}

/// What the queue of long work brings.
///
/// # Errors
/// If the message isn't what this project sent.
pub fn message(message: &str) -> Stored<QueueMessage> {
    serde_json::from_str(message).map_err(corrupt)
}
