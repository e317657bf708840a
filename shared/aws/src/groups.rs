//! Groups on DynamoDB. The places and the holder of a group are in one partition.

use std::collections::HashMap;

use engine::ids::{GroupKey, Unit};
use engine::ports::{Consistency, GroupStore, Place, Stored};
use protocol::Millis;

use crate::aws::Aws;
use crate::error::corrupt;
use crate::item::{self, Item, expires_on, number, string};
use crate::keys;
use crate::table::{Answer, Query};
use crate::update::Expression;

/// The attribute of a group's item that names the holder.
const HOLDER: &str = "holder";
/// The attribute of a place whose run gives way to a newer one.
const YIELDS: &str = "yields";

fn read_holder(item: &Item) -> Stored<Unit> {
    let text = item::text(item, HOLDER)?;
    Unit::parse(text).ok_or_else(|| corrupt(format!("the holder {text:?} is neither a job nor a run")))
}

fn read_place(item: &Item) -> Stored<Place> {
    let sort = item::text(item, "sk")?;
    let (at, unit) = keys::parse_place(sort).ok_or_else(|| corrupt(format!("{sort:?} is not a place of a group")))?;
    Ok(Place { at, unit, yields: item.contains_key(YIELDS) })
}

impl GroupStore for Aws {
    async fn put_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        let yields = place.yields.then(|| (YIELDS, aws_sdk_dynamodb::types::AttributeValue::Bool(true)));
        self.jobs.put(item::item(keys::place(group, place), expires_on(), yields)).await
    }

    async fn remove_place(&self, group: &GroupKey, place: &Place) -> Stored<()> {
        self.jobs.delete(keys::place(group, place)).await
    }

    async fn places(&self, group: &GroupKey, after: Option<&Place>, most: usize) -> Stored<Vec<Place>> {
        let partition = keys::group(group);
        let (first, last) = keys::places();
        let from = Some(after.map_or(first, |place| keys::after(&keys::place(group, place).1)));
        let limit = Some(most);
        let query = Query { from, to: Some(last), limit, how: Consistency::Strong, ..Query::of(&partition) };
        self.jobs.query(query).await?.iter().map(read_place).collect()
    }

    async fn holder(&self, group: &GroupKey, how: Consistency) -> Stored<Option<Unit>> {
        self.jobs.get(keys::holder(group), how).await?.as_ref().map(read_holder).transpose()
    }

    async fn hold(&self, group: &GroupKey, before: Option<&Unit>, next: &Unit) -> Stored<bool> {
        let expression = match before {
            Some(before) => Expression::conditions().when_is(HOLDER, "=", string(before.text())),
            // An item that has expired counts as absent.
            None => Expression::conditions().when_absent_or_below("expires_on", number(Millis::now().secs() + 1)),
        };
        let expression = expression.set(HOLDER, string(next.text())).set("expires_on", number(expires_on()));
        Ok(match self.jobs.update(keys::holder(group), expression).await? {
            Answer::Done(_) => true,
            Answer::Refused(item) => {
                read_holder(&item.unwrap_or_else(HashMap::new)).is_ok_and(|holder| holder == *next)
            }
        })
    }
}
