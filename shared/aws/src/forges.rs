//! Items about forges on DynamoDB. The list is the partition.

use std::time::Duration;

use engine::forge::link::Link;
use engine::forge::names::RepositoryKey;
use engine::forge::ports::{Forge, ForgeError};
use engine::forge::store::{DueKind, ForgeItems, ForgeStore, Item as ForgeItem};
use engine::ports::{Consistency, Stored};
use protocol::Millis;

use crate::aws::Aws;
use crate::error::corrupt;
use crate::forge_function::{ForgeQuestion, SentCredential};
use crate::item::{self, Item, index, number, string};
use crate::table::Query;
use crate::update::Expression;

/// What is due for this long is handled by nobody.
const OVERDUE: Duration = Duration::from_secs(10);
/// The attribute with the record's JSON.
const RECORD: &str = "record";
/// The attribute that counts the writes.
const VERSION: &str = "version";
/// The attribute with the time at which somebody has to look at the item.
const DUE: &str = "due";

/// The partition of the index that lists due items of a kind.
fn due_partition(kind: DueKind) -> &'static str {
    match kind {
        DueKind::Delivery => "FORGE-DUE#D",
        DueKind::Report => "FORGE-DUE#R",
    }
}

/// The place of a due item in the index: ordered by time.
fn due_sort(at: Millis, item: &str) -> String {
    format!("{:013}#{item}", at.0)
}

fn number_of(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn write(item: &ForgeItem) -> Item {
    let attributes = [(RECORD, string(item.record.clone())), (VERSION, number(item.version))];
    let due = item.due.map(|due| (DUE, number(due.0)));
    let key = (item.list.clone(), item.sort.clone());
    let mut new = item::item(key, item.expires.map(Millis::secs), attributes.into_iter().chain(due));
    if let Some(due) = item.due {
        new.extend(index(due_partition(DueKind::of_list(&item.list)), due_sort(due, &item.sort)));
    }
    new
}

fn read(item: &Item) -> Stored<ForgeItem> {
    Ok(ForgeItem {
        list: item::text(item, "pk")?.to_owned(),
        sort: item::text(item, "sk")?.to_owned(),
        due: number_of(item, DUE).map(Millis),
        version: number_of(item, VERSION).ok_or_else(|| corrupt("an item about a forge without a version"))?,
        expires: number_of(item, "expires_on").map(|secs| Millis(secs * 1000)),
        record: item::text(item, RECORD)?.to_owned(),
    })
}

impl ForgeItems for Aws {
    async fn put_item(&self, item: ForgeItem) -> Stored<bool> {
        let new = write(&item);
        if item.version == 0 {
            return self.jobs.put(new).await.map(|()| true);
        }
        let stored = if item.version == 1 {
            self.jobs.put_if_absent(new, Millis::now()).await?
        } else {
            let when = Expression::conditions().when_is(VERSION, "=", number(item.version - 1));
            self.jobs.put_if(new, when).await?
        };
        // The library repeats a call whose answer was lost: then the stored item is this one.
        Ok(stored || self.item(&item.list, &item.sort).await?.is_some_and(|found| found.record == item.record))
    }

    async fn item(&self, list: &str, sort: &str) -> Stored<Option<ForgeItem>> {
        let key = (list.to_owned(), sort.to_owned());
        self.jobs.get(key, Consistency::Strong).await?.as_ref().map(read).transpose()
    }

    async fn items(
        &self,
        list: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> Stored<Vec<ForgeItem>> {
        let end = format!("{prefix}\u{10ffff}");
        let (from, to) = match after {
            Some(after) if newest_first => (prefix.to_owned(), after.to_owned()),
            Some(after) => (after.to_owned(), end),
            None => (prefix.to_owned(), end),
        };
        let query = Query {
            // A key is never empty, and neither is a bound.
            from: (!from.is_empty()).then_some(from),
            to: Some(to),
            descending: newest_first,
            limit: (limit < 1000).then(|| limit + 1),
            how: Consistency::Strong,
            ..Query::of(list)
        };
        let found = if limit < 1000 { self.jobs.query(query).await? } else { self.jobs.query_all(query).await? };
        // The bound is part of the result.
        let found =
            found.iter().map(read).filter(|found| found.as_ref().map_or(true, |one| Some(one.sort.as_str()) != after));
        found.take(limit).collect()
    }

    async fn remove_item(&self, list: &str, sort: &str) -> Stored<bool> {
        self.jobs.delete_existing((list.to_owned(), sort.to_owned())).await
    }

    async fn items_due(&self, kind: DueKind, by: Millis, limit: usize) -> Stored<Vec<ForgeItem>> {
        let query = Query {
            to: Some(due_sort(Millis(by.0 + 1), "")),
            limit: Some(limit),
            ..Query::of_index(due_partition(kind))
        };
        let found = self.jobs.query(query).await?;
        // The index has the keys alone.
        let keys = found.iter().map(item::key).collect::<Stored<Vec<_>>>()?;
        let items = self.jobs.get_many(keys, Consistency::Strong).await?;
        let mut items: Vec<ForgeItem> = items.iter().map(read).collect::<Stored<_>>()?;
        items.retain(|item| item.due.is_some_and(|due| due <= by));
        items.sort_by_key(|item| item.due);
        Ok(items)
    }

    async fn next_due(&self, kind: DueKind) -> Stored<Option<Millis>> {
        let first = Query { limit: Some(1), ..Query::of_index(due_partition(kind)) };
        let found = self.jobs.query(first).await?;
        let sort = found.first().map(|item| item::text(item, "index_sk")).transpose()?;
        Ok(sort.and_then(|sort| sort.split('#').next()?.parse().ok()).map(Millis))
    }
}

impl Aws {
    /// Lets the function `forge` handle what is due. Without forges: nothing.
    ///
    /// # Errors
    /// It can't be invoked.
    pub async fn wake_forge(&self) -> Stored<()> {
        match &self.forge {
            Some(forge) => forge.wake().await,
            None => Ok(()),
        }
    }

    /// As [`Self::wake_forge`], if something is overdue. Returns whether it was.
    ///
    /// # Errors
    /// As for [`Self::wake_forge`]; the table doesn't answer.
    pub async fn wake_forge_if_overdue(&self) -> Stored<bool> {
        if self.forge.is_none() {
            return Ok(false);
        }
        let due = self.next_due_of_forges().await?;
        let overdue = due.is_some_and(|due| due + OVERDUE <= Millis::now());
        if overdue {
            self.wake_forge().await?;
        }
        Ok(overdue)
    }

    /// Answers what another function asks of the function `forge`.
    ///
    /// # Errors
    /// The answer can't be written.
    pub async fn answer(&self, forge: &dyn Forge, question: ForgeQuestion) -> serde_json::Result<serde_json::Value> {
        match question {
            ForgeQuestion::NewRepository(link) => serde_json::to_value(forge.repository(&link).await),
            ForgeQuestion::Repository(key) => {
                serde_json::to_value(async { forge.repository(&self.asked_about(&key).await?).await }.await)
            }
            ForgeQuestion::PullRequest(key, number) => {
                serde_json::to_value(async { forge.pull_request(&self.asked_about(&key).await?, number).await }.await)
            }
            ForgeQuestion::Credential(key) => serde_json::to_value(
                async { forge.credential(&self.asked_about(&key).await?).await.map(SentCredential::from) }.await,
            ),
        }
    }

    async fn asked_about(&self, key: &RepositoryKey) -> Result<Link, ForgeError> {
        let link = self.link(key).await.map_err(|error| ForgeError::NoAnswer(error.to_string()))?;
        link.ok_or_else(|| ForgeError::Gone(format!("the link `{}` was removed", key.link)))
    }
}
