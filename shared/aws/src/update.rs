//! Translates a job update to a condition and an update expression.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use engine::ids::JobKey;
use engine::job::{Change, End, JobOutcome, JobUpdate, LastReport, LeaseRecord, NextLease, OutputsRef, Precondition};
use engine::ports::Stored;
use engine::run::{MAX_TIMER_DELAY, RunUpdate};
use protocol::Millis;

use crate::error::corrupt;
use crate::item::{expires_on, status};
use crate::keys;

/// An update being put together. Every attribute goes by a placeholder, since many words are reserved.
#[derive(Default)]
pub(crate) struct Expression {
    set: Vec<String>,
    remove: Vec<String>,
    delete: Vec<String>,
    conditions: Vec<String>,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
}

#[expect(clippy::needless_pass_by_value, reason = "numbers, as they come")]
pub(crate) fn number(n: impl ToString) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

pub(crate) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn one_number(n: u32) -> AttributeValue {
    AttributeValue::Ns(vec![n.to_string()])
}

impl Expression {
    /// An update of an item that exists: any other would be created, and a deleted one again.
    pub(crate) fn of_existing() -> Self {
        Self::conditions().when_exists("pk").set("expires_on", number(expires_on()))
    }

    /// Conditions without an update.
    pub(crate) fn conditions() -> Self {
        Self::default()
    }

    pub(crate) fn when_exists(self, attribute: &str) -> Self {
        self.when(|e| format!("attribute_exists({})", e.name(attribute)))
    }

    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    pub(crate) fn set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let assignment = format!("{} = {}", self.name(attribute), self.value(value));
        self.set.push(assignment);
        self
    }

    fn set_if_absent(mut self, attribute: &str, value: AttributeValue) -> Self {
        let name = self.name(attribute);
        let assignment = format!("{name} = if_not_exists({name}, {})", self.value(value));
        self.set.push(assignment);
        self
    }

    fn set_some(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self,
        }
    }

    pub(crate) fn remove(mut self, attributes: &[&str]) -> Self {
        for attribute in attributes {
            let name = self.name(attribute);
            self.remove.push(name);
        }
        self
    }

    pub(crate) fn delete_from_set(mut self, attribute: &str, value: AttributeValue) -> Self {
        let deletion = format!("{} {}", self.name(attribute), self.value(value));
        self.delete.push(deletion);
        self
    }

    fn when(mut self, condition: impl FnOnce(&mut Self) -> String) -> Self {
        let condition = condition(&mut self);
        self.conditions.push(condition);
        self
    }

    /// `attribute <operator> value` must hold.
    pub(crate) fn when_is(self, attribute: &str, operator: &str, value: AttributeValue) -> Self {
        self.when(|e| format!("{} {operator} {}", e.name(attribute), e.value(value)))
    }

    pub(crate) fn when_absent(self, attribute: &str) -> Self {
        self.when(|e| format!("attribute_not_exists({})", e.name(attribute)))
    }

    fn when_absent_or_later(self, attribute: &str, than: Millis) -> Self {
        self.when(|e| {
            let (name, than) = (e.name(attribute), e.value(number(than.0)));
            format!("(attribute_not_exists({name}) OR {name} > {than})")
        })
    }

    /// Somebody looks, or the timer is due after that.
    fn when_timer_is_later(self, due: Millis) -> Self {
        self.when(|e| {
            let (name, looking, due) = (e.name("timer_due"), e.value(number(0)), e.value(number(due.0)));
            format!("({name} = {looking} OR {name} > {due})")
        })
    }

    pub(crate) fn when_one_of(self, attribute: &str, words: &[&str]) -> Self {
        self.when(|e| {
            let name = e.name(attribute);
            let values: Vec<String> = words.iter().map(|word| e.value(string(*word))).collect();
            format!("{name} IN ({})", values.join(", "))
        })
    }

    /// The text of the update.
    pub(crate) fn update(&self) -> String {
        let clause = |word: &str, parts: &[String]| {
            if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
        };
        clause("SET", &self.set) + &clause("REMOVE", &self.remove) + &clause("DELETE", &self.delete)
    }

    /// The text of the condition.
    pub(crate) fn condition(&self) -> String {
        self.conditions.join(" AND ")
    }
}

/// The update of a job's item.
pub(crate) fn job(key: &JobKey, update: &JobUpdate, shards: u32) -> Stored<Expression> {
    let from_waiting = matches!(update.expect, Precondition::WaitingOnlyOn(_));
    change(key, &update.change, shards, from_waiting, expect(&update.expect))
}

fn expect(expect: &Precondition) -> Expression {
    let e = Expression::of_existing();
    let is = |e: Expression, word: &str| e.when_is("status", "=", string(word));
    match expect {
        Precondition::Waiting => is(e, status::WAITING),
        Precondition::WaitingOnlyOn(need) => is(e, status::WAITING).when_is("waiting_on", "=", one_number(*need)),
        Precondition::WaitingOnNothing => is(e, status::WAITING).when_absent("waiting_on"),
        Precondition::Ready { pool, by } => {
            let e = is(e, status::READY).when_is("pool", "=", string(pool.as_str()));
            e.when_is("ready_at", "<=", number(by.0)).when_absent_or_later("ready_until", *by)
        }
        Precondition::HeldLive { fence, now } => is(e, status::RUNNING)
            .when_is("fence", "=", string(fence.as_str()))
            .when_is("lease_until", ">", number(now.0)),
        Precondition::HeldLiveUntil { fence, now, until } => is(e, status::RUNNING)
            .when_is("fence", "=", string(fence.as_str()))
            .when_is("lease_until", ">", number(now.0))
            .when_is("lease_until", "<=", number(until.0)),
        Precondition::HeldOver { fence, until } => is(e, status::RUNNING)
            .when_is("fence", "=", string(fence.as_str()))
            .when_is("lease_until", "=", number(until.0)),
        Precondition::Held { fence } => is(e, status::RUNNING).when_is("fence", "=", string(fence.as_str())),
        Precondition::ReadyOver { now } => is(e, status::READY).when_is("ready_until", "<=", number(now.0)),
        Precondition::NotEnded => e.when_one_of("status", &[status::WAITING, status::READY, status::RUNNING]),
    }
}

const INDEX: [&str; 2] = ["index_pk", "index_sk"];
const HOLD: [&str; 5] = ["fence", "worker", "ttl", "started_at", "lease_until"];

fn change(key: &JobKey, change: &Change, shards: u32, from_waiting: bool, e: Expression) -> Stored<Expression> {
    let into_ready_list = |e: Expression, pool: &engine::ids::PoolId, at: Millis, until: Option<Millis>| {
        let e = match until {
            Some(until) => e.set("ready_until", number(until.0)),
            None => e.remove(&["ready_until"]),
        };
        e.set("status", string(status::READY))
            .set("ready_at", number(at.0))
            .set("index_pk", string(keys::ready(pool, keys::ready_shard(key, shards))))
            .set("index_sk", string(keys::ready_sort(at, key)))
    };
    Ok(match change {
        Change::RemoveNeed(need) => e.delete_from_set("waiting_on", one_number(*need)),
        Change::BecomeReady { pool, at, until } => into_ready_list(e, pool, *at, *until).remove(&["waiting_on"]),
        Change::Start(lease) if from_waiting => {
            start(e, lease).set("ready_at", number(lease.started_at.0)).remove(&["waiting_on"])
        }
        Change::Start(lease) => start(e, lease).remove(&INDEX),
        Change::Renew { until } => e.set("lease_until", number(until.0)),
        Change::Retry { pool, at, until, attempt, used, last_report, error, failed } => {
            let own = |n: u32| (n > 0).then(|| number(n));
            with_report(into_ready_list(e, pool, *at, *until), Some(last_report))
                .set("attempt", number(*attempt))
                .set("retries_used", number(used.max))
                .set_some("lost_used", own(used.lost))
                .set_some("timeout_used", own(used.timeout))
                .set("error", string(error.clone()))
                .set("failed", string(serde_json::to_string(failed).map_err(corrupt)?))
                .remove(&HOLD)
        }
        Change::End(end) => ended(e, end)?,
    })
}

fn ended(e: Expression, end: &End) -> Stored<Expression> {
    let e = e.set("status", string(end.outcome.status().as_ref())).set("ended_at", number(end.at.0)).remove(&INDEX);
    let mut e = with_report(e, end.last_report.as_ref()).remove(&["waiting_on"]);
    e = match &end.error {
        Some(error) => e.set("error", string(error.clone())),
        None => e.remove(&["error"]),
    };
    if let Some(failed) = &end.failed {
        e = e.set("failed", string(serde_json::to_string(failed).map_err(corrupt)?));
    }
    if let Some(NextLease { index, masked }) = &end.next {
        e = e.set("next_index", number(*index)).set("next_masked", string(masked.clone()));
    }
    ended_with(e, &end.outcome)
}

fn start(e: Expression, lease: &LeaseRecord) -> Expression {
    e.set("status", string(status::RUNNING))
        .set("fence", string(lease.fence.as_str()))
        .set("worker", string(lease.worker.as_str()))
        .set("ttl", number(lease.ttl_secs))
        .set("started_at", number(lease.started_at.0))
        .set("lease_until", number(lease.until.0))
}

fn with_report(e: Expression, report: Option<&LastReport>) -> Expression {
    match report {
        Some(LastReport { fence, report }) => {
            e.set("last_fence", string(fence.as_str())).set("last_report", string(report.as_str()))
        }
        None => e,
    }
}

fn ended_with(e: Expression, outcome: &JobOutcome) -> Stored<Expression> {
    Ok(match outcome {
        JobOutcome::Success(OutputsRef::Inline(outputs)) => {
            e.set("outputs", string(serde_json::to_string(outputs).map_err(corrupt)?))
        }
        JobOutcome::Success(OutputsRef::External { id, size }) => {
            e.set("outputs_id", string(id.clone())).set("outputs_size", number(*size))
        }
        JobOutcome::Failure { exit_code } => e.set_some("exit_code", exit_code.map(number)),
        JobOutcome::Skipped | JobOutcome::Cancelled => e,
    })
}

/// The update of a run's control item.
pub(crate) fn control(run: &engine::ids::RunKey, update: RunUpdate) -> Expression {
    let e = Expression::of_existing();
    let listed = |due: Millis| string(keys::by_age(due, run.as_str()));
    let active = |e: Expression| e.when_one_of("state", &["open", "cancelling"]);
    let timer = |e: Expression, due: Millis| e.set("timer_due", number(due.0)).set("index_sk", listed(due));
    match update {
        RunUpdate::Open { at } => e
            .when_is("state", "=", string("new"))
            .set("state", string("open"))
            .set("opened_at", number(at.0))
            .set("index_pk", string(keys::OPEN))
            .set("timer_due", number((at + MAX_TIMER_DELAY).0))
            .set("index_sk", listed(at + MAX_TIMER_DELAY)),
        RunUpdate::Cancel { at } => e
            .when_one_of("state", &["new", "open"])
            .set("state", string("cancelling"))
            .set_if_absent("opened_at", number(at.0))
            .set_if_absent("index_pk", string(keys::OPEN))
            .set_if_absent("timer_due", number(0))
            .set_if_absent("index_sk", listed(Millis(0))),
        RunUpdate::Advance(progress) => e
            .when_is("state", "<>", string("final"))
            .when_is("done_below", "<", number(progress.done_below))
            .set("done_below", number(progress.done_below))
            .set("failed", AttributeValue::Bool(progress.failed))
            .set("cancelled", AttributeValue::Bool(progress.cancelled)),
        RunUpdate::Arm { due } => timer(active(e).when_timer_is_later(due), due),
        RunUpdate::Fire { by: Some(by) } => timer(active(e).when_is("timer_due", "<=", number(by.0)), Millis(0)),
        RunUpdate::Fire { by: None } => timer(active(e), Millis(0)),
        RunUpdate::Finish => active(e).set("state", string("final")).remove(&INDEX).remove(&["timer_due"]),
    }
}
