//! Translates an update of a job or a run to a condition and an update expression. Attributes have the names that serde
//! gives to the records' fields.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use engine::ids::{Fence, JobKey, PoolId, RunKey};
use engine::job::{Change, End, JobUpdate, LeaseRecord, Precondition};
use engine::ports::Stored;
use engine::run::{MAX_TIMER_DELAY, Progress, RunUpdate};
use protocol::{Millis, WorkerId, limits};

use crate::item::{expires_on, number, string, value};
use crate::keys;

/// A condition and an update. Every attribute has a placeholder, since many words are reserved.
#[derive(Default)]
pub(crate) struct Expression {
    set: Vec<String>,
    remove: Vec<String>,
    delete: Vec<String>,
    conditions: Vec<String>,
    pub names: HashMap<String, String>,
    pub values: HashMap<String, AttributeValue>,
}

fn set_of(member: u32) -> AttributeValue {
    AttributeValue::Ns(vec![member.to_string()])
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

    /// The placeholder of an attribute, or of a field inside it: `lease.until`.
    fn name(&mut self, path: &str) -> String {
        self.names.extend(path.split('.').map(|name| (format!("#{name}"), name.to_owned())));
        format!("#{}", path.replace('.', ".#"))
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

    /// Sets an attribute, or removes it.
    fn set_or_remove(self, attribute: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(attribute, value),
            None => self.remove(&[attribute]),
        }
    }

    pub(crate) fn remove(mut self, attributes: &[&str]) -> Self {
        for attribute in attributes {
            let name = self.name(attribute);
            self.remove.push(name);
        }
        self
    }

    pub(crate) fn delete_from_set(mut self, attribute: &str, member: u32) -> Self {
        let deletion = format!("{} {}", self.name(attribute), self.value(set_of(member)));
        self.delete.push(deletion);
        self
    }

    /// Sets an attribute to true, or leaves it as it is.
    pub(crate) fn flag(self, attribute: &str, set: bool) -> Self {
        if set { self.set(attribute, AttributeValue::Bool(true)) } else { self }
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

    /// There is no such attribute, or it is below that value.
    pub(crate) fn when_absent_or_below(self, attribute: &str, than: AttributeValue) -> Self {
        self.when(|e| {
            let (name, than) = (e.name(attribute), e.value(than));
            format!("(attribute_not_exists({name}) OR {name} < {than})")
        })
    }

    /// The pool's ready list has no more than these parts, or had more only until now or before.
    pub(crate) fn when_parts_at_most(self, parts: u32, now: Millis) -> Self {
        self.when(|e| {
            let (name, until) = (e.name("parts"), e.name("parts_until"));
            let (parts, now) = (e.value(number(parts)), e.value(number(now.secs())));
            format!("(attribute_not_exists({name}) OR {name} <= {parts} OR {until} <= {now})")
        })
    }

    /// This worker did not give the job back after that time.
    fn when_not_returned_by(self, worker: &WorkerId, since: Millis) -> Self {
        self.when(|e| {
            // Not `name`: an id may contain dots.
            e.names.insert("#returner".to_owned(), worker.to_string());
            let (at, since) = (format!("{}.#returner", e.name("returned.by")), e.value(number(since.0)));
            format!("(attribute_not_exists({at}) OR {at} <= {since})")
        })
    }

    fn when_absent_or_later(self, attribute: &str, than: Millis) -> Self {
        self.when(|e| {
            let (name, than) = (e.name(attribute), e.value(number(than.0)));
            format!("(attribute_not_exists({name}) OR {name} > {than})")
        })
    }

    /// The timer is firing, or is due after that.
    fn when_timer_is_later(self, due: Millis) -> Self {
        self.when(|e| {
            let (name, firing, due) = (e.name("timer"), e.value(number(0)), e.value(number(due.0)));
            format!("({name} = {firing} OR {name} > {due})")
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
    change(key, update, shards, precondition(&update.expect))
}

fn precondition(expect: &Precondition) -> Expression {
    let status = |word: &str| Expression::of_existing().when_is("status", "=", string(word));
    let held = |fence: &Fence| status("running").when_is("lease.fence", "=", string(fence.as_str()));
    let until = |e: Expression, operator: &str, at: Millis| e.when_is("lease.until", operator, number(at.0));
    match expect {
        Precondition::Waiting => status("waiting"),
        Precondition::WaitingOnlyOn(need) => status("waiting").when_is("waiting_on", "=", set_of(*need)),
        Precondition::WaitingOnNothing => status("waiting").when_absent("waiting_on"),
        Precondition::Ready { pool, by, worker } => {
            let e = status("ready").when_is("pool", "=", string(pool.as_str()));
            let e = e.when_is("at", "<=", number(by.0)).when_absent_or_later("until", *by);
            e.when_not_returned_by(worker, *by - limits::RETURN_PAUSE)
        }
        Precondition::HeldLive { fence, now } => until(held(fence), ">", *now),
        Precondition::HeldLiveUntil { fence, now, until: latest } => {
            until(until(held(fence), ">", *now), "<=", *latest)
        }
        Precondition::HeldOver { fence, until: exactly } => until(held(fence), "=", *exactly),
        Precondition::Held { fence } => held(fence),
        Precondition::ReadyOver { now } => status("ready").when_is("until", "<=", number(now.0)),
        Precondition::Blocked => status("blocked"),
        Precondition::NotEnded => Expression::of_existing().when_is("status", "<>", string("ended")),
    }
}

const INDEX: [&str; 2] = ["index_pk", "index_sk"];
/// What a job has until it is ready.
const BEFORE_READY: [&str; 2] = ["waiting_on", "blocked_at"];

fn change(key: &JobKey, update: &JobUpdate, shards: u32, e: Expression) -> Stored<Expression> {
    let into_ready_list = |e: Expression, pool: &PoolId, at: Millis, until: Option<Millis>| {
        e.set("status", string("ready"))
            .set("at", number(at.0))
            .set("ready_at", number(at.0))
            .set_or_remove("until", until.map(|until| number(until.0)))
            .set("index_pk", string(keys::ready(pool, keys::ready_shard(key, shards))))
            .set("index_sk", string(keys::ready_sort(at, key)))
    };
    Ok(match &update.change {
        Change::RemoveNeed { member, failed } => e.delete_from_set("waiting_on", *member).flag("need_failed", *failed),
        Change::Block { at } => {
            e.set("status", string("blocked")).set("blocked_at", number(at.0)).remove(&["waiting_on"])
        }
        Change::BecomeReady { pool, at, until } => into_ready_list(e, pool, *at, *until).remove(&BEFORE_READY),
        Change::Start(lease) if matches!(update.expect, Precondition::WaitingOnlyOn(_)) => {
            start(e, lease)?.set("ready_at", number(lease.started_at.0)).remove(&["waiting_on"])
        }
        Change::Start(lease) => start(e, lease)?.remove(&INDEX),
        Change::Renew { until } => e.set("lease.until", number(until.0)),
        Change::Retry { pool, at, until, attempt, used, last_report, error, failed, returned } => {
            into_ready_list(e, pool, *at, *until)
                .set("attempt", number(*attempt))
                .set("used", value(used)?)
                .set("last_report", value(last_report)?)
                .set("error", string(error))
                .set("failed", value(failed)?)
                .set_or_remove("returned", returned.as_ref().map(value).transpose()?)
                .remove(&["lease"])
        }
        Change::End(end) => ended(e, end)?,
    })
}

/// The lease of a job that ends stays as it is.
fn ended(e: Expression, end: &End) -> Stored<Expression> {
    let mut e = e
        .set("status", string("ended"))
        .set("at", number(end.at.0))
        .set("outcome", value(&end.outcome)?)
        .set_or_remove("error", end.error.as_ref().map(string))
        .set_or_remove("next", end.next.as_ref().map(value).transpose()?)
        .remove(&INDEX)
        .remove(&BEFORE_READY);
    if let Some(report) = &end.last_report {
        e = e.set("last_report", value(report)?);
    }
    if let Some(failed) = &end.failed {
        e = e.set("failed", value(failed)?);
    }
    Ok(e)
}

fn start(e: Expression, lease: &LeaseRecord) -> Stored<Expression> {
    Ok(e.set("status", string("running")).set("lease", value(lease)?))
}

/// The update of a run's control item.
pub(crate) fn control(run: &RunKey, update: RunUpdate) -> Expression {
    let e = Expression::of_existing();
    let listed = |due: Millis| string(keys::by_age(due, run.as_str()));
    let active = |e: Expression| e.when_one_of("state", &["blocked", "open", "cancelling"]);
    let begun = |e: Expression| e.when_one_of("state", &["open", "cancelling"]);
    let new = |e: Expression| e.when_is("state", "=", string("new"));
    let timer = |e: Expression, due: Millis| e.set("timer", number(due.0)).set("index_sk", listed(due));
    let progress = |e: Expression, to: Progress| {
        e.set("done_below", number(to.done_below))
            .set("failed", AttributeValue::Bool(to.failed))
            .set("cancelled", AttributeValue::Bool(to.cancelled))
    };
    let cancel = |e: Expression, at: Millis| {
        e.when_one_of("state", &["new", "blocked", "open"])
            .set("state", string("cancelling"))
            .set_if_absent("opened_at", number(at.0))
            .set_if_absent("index_pk", string(keys::open(run)))
            .set_if_absent("timer", number(0))
            .set_if_absent("index_sk", listed(Millis(0)))
    };
    match update {
        RunUpdate::Block { at, opener } => timer(new(e).when_exists("group"), at + MAX_TIMER_DELAY)
            .set("state", string("blocked"))
            .set("blocked_at", number(at.0))
            .set("opener", number(opener))
            .set("index_pk", string(keys::open(run))),
        RunUpdate::Admit { at } => {
            e.when_is("state", "=", string("blocked")).set("state", string("open")).set("opened_at", number(at.0))
        }
        RunUpdate::Open { at, opener } => timer(new(e).when_absent("group"), at + MAX_TIMER_DELAY)
            .set("state", string("open"))
            .set("opened_at", number(at.0))
            .set("opener", number(opener))
            .set("index_pk", string(keys::open(run))),
        RunUpdate::Cancel { at } => cancel(e, at),
        RunUpdate::Supersede { at } => cancel(e, at).set("superseded", AttributeValue::Bool(true)),
        RunUpdate::Advance(to) => {
            progress(e.when_is("state", "<>", string("final")).when_is("done_below", "<", number(to.done_below)), to)
        }
        RunUpdate::Arm { due } => timer(active(e).when_timer_is_later(due), due),
        RunUpdate::Fire { by: Some(by) } => timer(active(e).when_is("timer", "<=", number(by.0)), Millis(0)),
        RunUpdate::Fire { by: None } => timer(active(e), Millis(0)),
        RunUpdate::Finish(to) => progress(begun(e), to).set("state", string("final")).remove(&INDEX).remove(&["timer"]),
    }
}
