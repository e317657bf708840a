//! Conversion between records and DynamoDB items.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use engine::ids::{Fence, JobKey, PoolId, ReportHash, RunKey};
use engine::job::{
    Completion, JobOutcome, JobRecord, LastReport, LeaseRecord, NextLease, OutputsRef, Phase, TimeLimits, Used,
};
use engine::ports::{StoreError, Stored};
use engine::run::{Control, RunEnd, RunState, Timer, WorkflowRecord};
use protocol::{JobId, Millis, Status, WorkerId, WorkflowId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::corrupt;
use crate::keys;

/// An item as the client library has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Every record is kept for this long after it was last written.
pub(crate) const RETENTION_SECS: u64 = 90 * 24 * 3600;

/// When a record written now expires, in seconds since 1970.
pub(crate) fn expires_on() -> u64 {
    Millis::now().secs() + RETENTION_SECS
}

/// Turns a flat struct to an item under a key.
pub(crate) fn to_item<T: Serialize>((pk, sk): (String, String), fields: T) -> Stored<Item> {
    let mut item: Item = serde_dynamo::to_item(fields).map_err(corrupt)?;
    item.insert("pk".to_owned(), AttributeValue::S(pk));
    item.insert("sk".to_owned(), AttributeValue::S(sk));
    Ok(item)
}

/// Reads an item's attributes.
pub(crate) fn from_item<T: DeserializeOwned>(item: Item) -> Stored<T> {
    serde_dynamo::from_item(item).map_err(corrupt)
}

/// An item's text attribute.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Stored<&'a str> {
    let value = item.get(name).and_then(|value| value.as_s().ok());
    value.map(String::as_str).ok_or_else(|| corrupt(format!("an item has no text {name:?}")))
}

/// A job's item, less its keys. `None` is an attribute that isn't there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct JobItem {
    pub id: String,
    pub pool: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sharded: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
    pub attempt: u32,
    pub retries_used: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_used: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_used: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_masked: Option<String>,
    #[serde(with = "serde_dynamo::number_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub waiting_on: BTreeSet<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_fence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_report: Option<String>,
    pub expires_on: u64,
}

/// The words that a job's `status` may be. The first three are what the change feed's filter calls not final.
pub(crate) mod status {
    pub(crate) const WAITING: &str = "waiting";
    pub(crate) const READY: &str = "ready";
    pub(crate) const RUNNING: &str = "running";
}

/// A job's item as a run begins with it: waiting, or kept and ended.
pub(crate) fn new_job(job: &JobRecord) -> Stored<Item> {
    let mut fields = JobItem {
        id: job.id.as_str().to_owned(),
        pool: job.pool.as_str().to_owned(),
        spec: job.spec.as_ref().map(serde_json::to_string).transpose().map_err(corrupt)?,
        sharded: job.sharded,
        has_secrets: job.has_secrets,
        attempt: job.attempt,
        timeout: job.limits.timeout,
        queue_timeout: job.limits.queue_timeout,
        expires_on: expires_on(),
        ..JobItem::default()
    };
    match &job.phase {
        Phase::Waiting { on } => {
            status::WAITING.clone_into(&mut fields.status);
            fields.waiting_on.clone_from(on);
        }
        Phase::Ended(Completion { outcome: JobOutcome::Success(outputs), at, .. }) => {
            Status::Success.as_ref().clone_into(&mut fields.status);
            fields.ended_at = Some(at.0);
            set_outputs(&mut fields, outputs)?;
        }
        _ => return Err(corrupt(format!("job {} can't begin as {}", job.key, job.status()))),
    }
    to_item(keys::job(&job.key), fields)
}

fn set_outputs(fields: &mut JobItem, outputs: &OutputsRef) -> Stored<()> {
    match outputs {
        OutputsRef::Inline(outputs) => fields.outputs = Some(serde_json::to_string(outputs).map_err(corrupt)?),
        OutputsRef::External { id, size } => {
            fields.outputs_id = Some(id.clone());
            fields.outputs_size = Some(*size);
        }
    }
    Ok(())
}

/// Reads a job's item.
pub(crate) fn job_record(item: Item) -> Stored<JobRecord> {
    let key = keys::parse_job(text(&item, "pk")?, text(&item, "sk")?);
    let key = key.ok_or_else(|| corrupt("an item under a job's key has another key"))?;
    let fields: JobItem = from_item(item)?;
    let phase = phase(&key, &fields)?;
    let last_report = match (fields.last_fence, fields.last_report) {
        (Some(fence), Some(report)) => {
            Some(LastReport { fence: Fence::from_stored(fence), report: ReportHash::from_stored(report) })
        }
        _ => None,
    };
    let next = match (fields.next_index, fields.next_masked) {
        (Some(index), Some(masked)) => Some(NextLease { index, masked }),
        _ => None,
    };
    Ok(JobRecord {
        key,
        id: JobId::new(fields.id).map_err(corrupt)?,
        pool: PoolId::from_stored(fields.pool),
        spec: fields.spec.as_deref().map(serde_json::from_str).transpose().map_err(corrupt)?,
        sharded: fields.sharded,
        has_secrets: fields.has_secrets,
        attempt: fields.attempt,
        limits: TimeLimits { timeout: fields.timeout, queue_timeout: fields.queue_timeout },
        used: Used {
            max: fields.retries_used,
            lost: fields.lost_used.unwrap_or_default(),
            timeout: fields.timeout_used.unwrap_or_default(),
        },
        failed: fields.failed.as_deref().map(serde_json::from_str).transpose().map_err(corrupt)?.unwrap_or_default(),
        last_report,
        error: fields.error,
        ready_at: fields.ready_at.map(Millis),
        next,
        phase,
    })
}

fn phase(key: &JobKey, fields: &JobItem) -> Stored<Phase> {
    let lacks = |what: &str| corrupt(format!("job {key} is {} without {what}", fields.status));
    let lease = lease(fields)?;
    Ok(match fields.status.as_str() {
        status::WAITING => Phase::Waiting { on: fields.waiting_on.clone() },
        status::READY => Phase::Ready {
            at: Millis(fields.ready_at.ok_or_else(|| lacks("ready_at"))?),
            until: fields.ready_until.map(Millis),
        },
        status::RUNNING => Phase::Running(lease.ok_or_else(|| lacks("a lease"))?),
        word => {
            let status: Status = word.parse().map_err(corrupt)?;
            let outcome = match status {
                Status::Success => JobOutcome::Success(outputs(fields)?),
                Status::Failure => JobOutcome::Failure { exit_code: fields.exit_code },
                Status::Skipped => JobOutcome::Skipped,
                Status::Cancelled => JobOutcome::Cancelled,
                Status::Queued | Status::Running => return Err(lacks("a known status")),
            };
            Phase::Ended(Completion { outcome, at: Millis(fields.ended_at.ok_or_else(|| lacks("ended_at"))?), lease })
        }
    })
}

fn lease(fields: &JobItem) -> Stored<Option<LeaseRecord>> {
    let (Some(fence), Some(worker), Some(ttl_secs), Some(started_at), Some(until)) =
        (&fields.fence, &fields.worker, fields.ttl, fields.started_at, fields.lease_until)
    else {
        return Ok(None);
    };
    Ok(Some(LeaseRecord {
        fence: Fence::from_stored(fence.clone()),
        worker: WorkerId::new(worker.clone()).map_err(corrupt)?,
        ttl_secs,
        started_at: Millis(started_at),
        until: Millis(until),
    }))
}

fn outputs(fields: &JobItem) -> Stored<OutputsRef> {
    match (&fields.outputs, &fields.outputs_id, fields.outputs_size) {
        (Some(inline), ..) => Ok(OutputsRef::Inline(serde_json::from_str(inline).map_err(corrupt)?)),
        (None, Some(id), Some(size)) => Ok(OutputsRef::External { id: id.clone(), size }),
        _ => Err(corrupt("a job that succeeded has no outputs")),
    }
}

/// A run's control record, less its keys.
#[derive(Serialize, Deserialize)]
struct ControlItem {
    workflow: String,
    number: u32,
    jobs: u32,
    state: String,
    done_below: u32,
    failed: bool,
    cancelled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opened_at: Option<u64>,
    /// 0 while somebody looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timer_due: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index_pk: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index_sk: Option<String>,
    expires_on: u64,
}

/// A control record's item.
pub(crate) fn control(control: &Control) -> Stored<Item> {
    let active = control.state.is_active();
    let fields = ControlItem {
        workflow: control.workflow.as_str().to_owned(),
        number: control.number,
        jobs: control.jobs,
        state: control.state.as_ref().to_owned(),
        done_below: control.done_below,
        failed: control.failed,
        cancelled: control.cancelled,
        opened_at: control.opened_at.map(|at| at.0),
        index_pk: active.then(|| keys::OPEN.to_owned()),
        timer_due: control.timer.stored().map(|at| at.0),
        index_sk: control.timer.stored().map(|at| keys::by_age(at, control.run.as_str())),
        expires_on: expires_on(),
    };
    to_item(keys::control(&control.run), fields)
}

/// Reads a control record's item.
pub(crate) fn control_record(item: Item) -> Stored<Control> {
    let run = keys::parse_run(text(&item, "pk")?).ok_or_else(|| corrupt("a control record under another key"))?;
    let fields: ControlItem = from_item(item)?;
    let state = fields.state.parse::<RunState>().ok();
    Ok(Control {
        run,
        workflow: WorkflowId::new(fields.workflow).map_err(corrupt)?,
        number: fields.number,
        jobs: fields.jobs,
        state: state.ok_or_else(|| corrupt(format!("a run is {:?}", fields.state)))?,
        done_below: fields.done_below,
        failed: fields.failed,
        cancelled: fields.cancelled,
        opened_at: fields.opened_at.map(Millis),
        timer: Timer::from_stored(fields.timer_due.map(Millis)),
    })
}

/// A workflow's record, less its keys.
#[derive(Serialize, Deserialize)]
struct WorkflowItem {
    name: String,
    trigger: String,
    created_at: u64,
    run: String,
    number: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
    index_pk: String,
    index_sk: String,
    expires_on: u64,
}

/// A workflow's item.
pub(crate) fn workflow(workflow: &WorkflowRecord) -> Stored<Item> {
    let fields = WorkflowItem {
        name: workflow.name.clone(),
        trigger: workflow.trigger.clone(),
        created_at: workflow.created_at.0,
        run: workflow.run.as_str().to_owned(),
        number: workflow.number,
        ended: workflow.ended.map(|end| end.status.as_ref().to_owned()),
        ended_at: workflow.ended.map(|end| end.at.0),
        index_pk: keys::WORKFLOWS.to_owned(),
        index_sk: keys::by_age(workflow.created_at, workflow.id.as_str()),
        expires_on: expires_on(),
    };
    to_item(keys::workflow(&workflow.id), fields)
}

/// Reads a workflow's item.
pub(crate) fn workflow_record(item: Item) -> Stored<WorkflowRecord> {
    let id = keys::parse_workflow(text(&item, "pk")?).ok_or_else(|| corrupt("a workflow under another key"))?;
    let fields: WorkflowItem = from_item(item)?;
    let ended = match (fields.ended, fields.ended_at) {
        (Some(status), Some(at)) => {
            let status = status.parse().map_err(|error: String| StoreError::Corrupt(error))?;
            Some(RunEnd { status, at: Millis(at) })
        }
        _ => None,
    };
    Ok(WorkflowRecord {
        id,
        name: fields.name,
        trigger: fields.trigger,
        created_at: Millis(fields.created_at),
        run: RunKey::from_stored(fields.run),
        number: fields.number,
        ended,
    })
}
