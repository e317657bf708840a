//! The store of the records about forges.
//!
//! A store implements [`ForgeItems`], a small port of conditional items in ordered lists. [`ForgeStore`] says what the records are, and
//! every such store has it.

use std::future::Future;
use std::time::Duration;

use protocol::{LinkName, Millis};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::link::Link;
use super::names::{CommitId, ReportKey, RepositoryKey, Subject};
use super::records::{Delivery, DeliveryKey, DeliveryState, Pause, Redelivery, RefRecord, ReportRecord};
use crate::stored::{StoreError, Stored};

/// How long a delivery is kept.
const DELIVERIES_KEPT: Duration = Duration::from_hours(30 * 24);
/// How long a ref is kept after the last acceptance, and a report after its last change.
const KEPT: Duration = Duration::from_hours(90 * 24);
/// Items that one read of what is due returns.
const DUE: usize = 300;
/// Parts of the list of reports, so that no part takes all writes.
const PARTS: u8 = 16;

/// An item of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The list.
    pub list: String,
    /// The place in the list. Items are ordered by it, byte by byte.
    pub sort: String,
    /// When somebody has to look at it, if so.
    pub due: Option<Millis>,
    /// Counts the writes, from 1. 0: it is written in any case.
    pub version: u64,
    /// The item may be removed after this time.
    pub expires: Option<Millis>,
    /// The record as JSON.
    pub record: String,
}

/// Which items are due together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueKind {
    /// Deliveries.
    Delivery,
    /// Reports.
    Report,
}

impl DueKind {
    /// The kind of a list's items, from its name.
    #[must_use]
    pub fn of_list(list: &str) -> Self {
        if list.starts_with("REPORT#") { Self::Report } else { Self::Delivery }
    }
}

/// Conditional items in ordered lists.
pub trait ForgeItems: Send + Sync {
    /// Stores an item. With version 0 in any case; else if the stored one has the version before it, or if none is stored and this is
    /// version 1. Returns true if it is stored.
    fn put_item(&self, item: Item) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns an item. Strongly consistent.
    fn item(&self, list: &str, sort: &str) -> impl Future<Output = Stored<Option<Item>>> + Send;
    /// Returns items of a list whose places begin with `prefix`, in their order or the opposite one, after a place. Strongly
    /// consistent.
    fn items(
        &self,
        list: &str,
        prefix: &str,
        after: Option<&str>,
        newest_first: bool,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<Item>>> + Send;
    /// Removes an item. Returns true if it existed.
    fn remove_item(&self, list: &str, sort: &str) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns up to `limit` items of a kind that are due by `by`, earliest first. May be some seconds old.
    fn items_due(&self, kind: DueKind, by: Millis, limit: usize) -> impl Future<Output = Stored<Vec<Item>>> + Send;
    /// Returns when the first item of a kind is due. May be some seconds old.
    fn next_due(&self, kind: DueKind) -> impl Future<Output = Stored<Option<Millis>>> + Send;
}

/// The records about forges. A record that is stored under a condition has its new version.
pub trait ForgeStore: Send + Sync {
    /// Stores a link, in place of one with the same key.
    fn put_link(&self, link: Link) -> impl Future<Output = Stored<()>> + Send;
    /// Returns the link of a repository. Strongly consistent.
    fn link(&self, key: &RepositoryKey) -> impl Future<Output = Stored<Option<Link>>> + Send;
    /// Returns all links of this name, by their repositories' numbers. Strongly consistent.
    fn links(&self, name: &LinkName) -> impl Future<Output = Stored<Vec<Link>>> + Send;
    /// Returns all links, by name and number.
    fn all_links(&self) -> impl Future<Output = Stored<Vec<Link>>> + Send;
    /// Removes a link. Returns true if it existed.
    fn remove_link(&self, key: &RepositoryKey) -> impl Future<Output = Stored<bool>> + Send;

    /// Stores a delivery. Replaces the one with the same key.
    fn put_delivery(&self, delivery: Delivery) -> impl Future<Output = Stored<()>> + Send;
    /// Returns a delivery. Strongly consistent.
    fn delivery(&self, key: &DeliveryKey) -> impl Future<Output = Stored<Option<Delivery>>> + Send;
    /// Returns the deliveries of a link, newest first, starting after `after`.
    fn deliveries(
        &self,
        link: &LinkName,
        after: Option<&DeliveryKey>,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<Delivery>>> + Send;
    /// Returns the Apps, by link and number, that are to be asked for failed deliveries by `by`. As [`Self::deliveries_due`].
    fn apps_due(&self, by: Millis) -> impl Future<Output = Stored<Vec<Stored<(LinkName, String)>>>> + Send;
    /// Returns when the first delivery, report or App is due.
    fn next_due_of_forges(&self) -> impl Future<Output = Stored<Option<Millis>>> + Send;
    /// Returns up to a few hundred deliveries that are new and due by `by`, earliest first. May be some seconds old. Reads their keys
    /// alone: a record that can't be read hides no other one. In place of a key that can't be read is an error.
    fn deliveries_due(&self, by: Millis) -> impl Future<Output = Stored<Vec<Stored<DeliveryKey>>>> + Send;

    /// Returns what is known of a ref. Strongly consistent.
    fn ref_record(
        &self,
        repository: &RepositoryKey,
        subject: &Subject,
    ) -> impl Future<Output = Stored<Option<RefRecord>>> + Send;
    /// Stores a ref's record if the stored one has the version before it, or if there is none and this is version 1. Returns true if
    /// it did.
    fn put_ref(&self, record: RefRecord) -> impl Future<Output = Stored<bool>> + Send;

    /// Returns a report. Strongly consistent.
    fn report(&self, key: &ReportKey) -> impl Future<Output = Stored<Option<ReportRecord>>> + Send;
    /// Stores a report under the same condition as [`Self::put_ref`]. Returns true if it did.
    fn put_report(&self, record: ReportRecord) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns up to a few hundred reports that are due by `by`, earliest first. As [`Self::deliveries_due`].
    fn reports_due(&self, by: Millis) -> impl Future<Output = Stored<Vec<Stored<ReportKey>>>> + Send;
    /// Returns the reports of a commit.
    fn reports_of(
        &self,
        repository: &RepositoryKey,
        commit: &CommitId,
    ) -> impl Future<Output = Stored<Vec<ReportRecord>>> + Send;

    /// Returns the limits of a link. `installation` is the App's installation, or 0.
    fn pause(&self, link: &LinkName, installation: u64) -> impl Future<Output = Stored<Option<Pause>>> + Send;
    /// Stores the limits under the same condition as [`Self::put_ref`]. Returns true if it did.
    fn put_pause(&self, link: &LinkName, installation: u64, pause: Pause) -> impl Future<Output = Stored<bool>> + Send;

    /// Returns what is known of the failed deliveries of an App. Strongly consistent.
    fn redelivery(&self, link: &LinkName, app: &str) -> impl Future<Output = Stored<Option<Redelivery>>> + Send;
    /// Stores what is known of the failed deliveries of an App under the same condition as [`Self::put_ref`]. Returns true if it did.
    fn put_redelivery(
        &self,
        link: &LinkName,
        app: &str,
        record: Redelivery,
    ) -> impl Future<Output = Stored<bool>> + Send;
}

fn item(list: String, sort: String, record: &impl Serialize) -> Stored<Item> {
    let record = serde_json::to_string(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Item { list, sort, due: None, version: 0, expires: None, record })
}

fn record<T: DeserializeOwned>(item: &Item) -> Stored<T> {
    serde_json::from_str(&item.record)
        .map_err(|error| StoreError::Corrupt(format!("{} {}: {error}", item.list, item.sort)))
}

fn records<T: DeserializeOwned>(items: &[Item]) -> Stored<Vec<T>> {
    items.iter().map(record).collect()
}

/// The keys that `key` reads from the items' places.
fn keys<K>(items: &[Item], key: impl Fn(&Item) -> Option<K>) -> Vec<Stored<K>> {
    let unreadable = |item: &Item| StoreError::Corrupt(format!("{} {}: no key of this version", item.list, item.sort));
    items.iter().map(|item| key(item).ok_or_else(|| unreadable(item))).collect()
}

const LINKS: &str = "FORGE";
/// How the places of Apps begin.
const APP: &str = "APP#";

fn of_link(name: &LinkName) -> String {
    format!("FORGE#{name}")
}

/// The link whose list has this item.
fn link_of(item: &Item) -> Option<LinkName> {
    LinkName::new(item.list.strip_prefix("FORGE#")?).ok()
}

fn link_sort(key: &RepositoryKey) -> String {
    format!("{}#{}", key.link, key.repository)
}

fn ref_sort(repository: &RepositoryKey, subject: &Subject) -> String {
    format!("R#{}#{}", repository.repository, subject.text())
}

/// The list of a commit's reports: all of a commit are in one.
fn reports_list(repository: &RepositoryKey, commit: &CommitId) -> String {
    let digit = commit.as_str().bytes().last().unwrap_or_default();
    let part = repository.repository.wrapping_add(u64::from(digit)) % u64::from(PARTS);
    format!("REPORT#{part}")
}

fn report_place(key: &ReportKey) -> (String, String) {
    (reports_list(&key.repository, &key.commit), key.text())
}

impl<T: ForgeItems> ForgeStore for T {
    async fn put_link(&self, link: Link) -> Stored<()> {
        self.put_item(item(LINKS.to_owned(), link_sort(&link.key), &link)?).await.map(drop)
    }

    async fn link(&self, key: &RepositoryKey) -> Stored<Option<Link>> {
        self.item(LINKS, &link_sort(key)).await?.as_ref().map(record).transpose()
    }

    async fn links(&self, name: &LinkName) -> Stored<Vec<Link>> {
        records(&self.items(LINKS, &format!("{name}#"), None, false, usize::MAX).await?)
    }

    async fn all_links(&self) -> Stored<Vec<Link>> {
        records(&self.items(LINKS, "", None, false, usize::MAX).await?)
    }

    async fn remove_link(&self, key: &RepositoryKey) -> Stored<bool> {
        self.remove_item(LINKS, &link_sort(key)).await
    }

    async fn put_delivery(&self, delivery: Delivery) -> Stored<()> {
        let new = item(of_link(&delivery.key.link), format!("D#{}", delivery.key.place()), &delivery)?;
        let due = delivery.due.filter(|_| delivery.state == DeliveryState::New);
        self.put_item(Item { due, expires: Some(delivery.key.at + DELIVERIES_KEPT), ..new }).await.map(drop)
    }

    async fn delivery(&self, key: &DeliveryKey) -> Stored<Option<Delivery>> {
        self.item(&of_link(&key.link), &format!("D#{}", key.place())).await?.as_ref().map(record).transpose()
    }

    async fn deliveries(&self, link: &LinkName, after: Option<&DeliveryKey>, limit: usize) -> Stored<Vec<Delivery>> {
        let after = after.map(|after| format!("D#{}", after.place()));
        records(&self.items(&of_link(link), "D#", after.as_deref(), true, limit).await?)
    }

    async fn next_due_of_forges(&self) -> Stored<Option<Millis>> {
        let (delivery, report) = (self.next_due(DueKind::Delivery).await?, self.next_due(DueKind::Report).await?);
        Ok(delivery.into_iter().chain(report).min())
    }

    async fn deliveries_due(&self, by: Millis) -> Stored<Vec<Stored<DeliveryKey>>> {
        let mut due = self.items_due(DueKind::Delivery, by, DUE).await?;
        // Apps are due in the same list.
        due.retain(|item| !item.sort.starts_with(APP));
        let key = |item: &Item| DeliveryKey::parse(&link_of(item)?, item.sort.strip_prefix("D#")?);
        Ok(keys(&due, key))
    }

    async fn ref_record(&self, repository: &RepositoryKey, subject: &Subject) -> Stored<Option<RefRecord>> {
        let found = self.item(&of_link(&repository.link), &ref_sort(repository, subject)).await?;
        found.as_ref().map(record).transpose()
    }

    async fn put_ref(&self, record: RefRecord) -> Stored<bool> {
        let new = item(of_link(&record.repository.link), ref_sort(&record.repository, &record.subject), &record)?;
        self.put_item(Item { version: record.version, expires: Some(record.at + KEPT), ..new }).await
    }

    async fn report(&self, key: &ReportKey) -> Stored<Option<ReportRecord>> {
        let (list, sort) = report_place(key);
        self.item(&list, &sort).await?.as_ref().map(record).transpose()
    }

    async fn put_report(&self, record: ReportRecord) -> Stored<bool> {
        let (list, sort) = report_place(&record.key);
        let new = item(list, sort, &record)?;
        let (due, version) = (record.due, record.version);
        self.put_item(Item { due, version, expires: Some(record.accepted_at + KEPT), ..new }).await
    }

    async fn reports_due(&self, by: Millis) -> Stored<Vec<Stored<ReportKey>>> {
        let due = self.items_due(DueKind::Report, by, DUE).await?;
        let is_at = |key: &ReportKey, item: &Item| report_place(key) == (item.list.clone(), item.sort.clone());
        let key = |item: &Item| ReportKey::parse(&item.sort).filter(|key| is_at(key, item));
        Ok(keys(&due, key))
    }

    async fn reports_of(&self, repository: &RepositoryKey, commit: &CommitId) -> Stored<Vec<ReportRecord>> {
        let prefix = format!("{}#{}#{commit}#", repository.link, repository.repository);
        records(&self.items(&reports_list(repository, commit), &prefix, None, false, usize::MAX).await?)
    }

    async fn pause(&self, link: &LinkName, installation: u64) -> Stored<Option<Pause>> {
        self.item(&of_link(link), &format!("LIMIT#{installation}")).await?.as_ref().map(record).transpose()
    }

    async fn put_pause(&self, link: &LinkName, installation: u64, pause: Pause) -> Stored<bool> {
        let new = item(of_link(link), format!("LIMIT#{installation}"), &pause)?;
        self.put_item(Item { version: pause.version, ..new }).await
    }

    async fn redelivery(&self, link: &LinkName, app: &str) -> Stored<Option<Redelivery>> {
        self.item(&of_link(link), &format!("{APP}{app}")).await?.as_ref().map(record).transpose()
    }

    async fn put_redelivery(&self, link: &LinkName, app: &str, redelivery: Redelivery) -> Stored<bool> {
        let new = item(of_link(link), format!("{APP}{app}"), &redelivery)?;
        let due = redelivery.due;
        self.put_item(Item { due, version: redelivery.version, ..new }).await
    }

    async fn apps_due(&self, by: Millis) -> Stored<Vec<Stored<(LinkName, String)>>> {
        let mut due = self.items_due(DueKind::Delivery, by, DUE).await?;
        due.retain(|item| item.sort.starts_with(APP));
        let app = |item: &Item| Some((link_of(item)?, item.sort.strip_prefix(APP)?.to_owned()));
        Ok(keys(&due, app))
    }
}
