//! Checks of the items about forges, and of the events that their reports need.

use std::sync::Arc;

use engine::forge::store::{DueKind, ForgeItems, Item};
use engine::ids::forge::{CommitId, EventName, ReportKey, RepositoryKey};
use engine::job::{Change, JobOutcome, JobRecord, OutputsRef};
use engine::messages::{ChangeEvent, Work};
use engine::ports::Local;
use engine::run::{RunState, RunUpdate};
use protocol::{LinkName, Millis};

use crate::fixture::{
    NOW, become_ready, change, commit_new, end, fresh_labels, fresh_run, lease, new_workflow, outputs_of, put_jobs,
    waiting,
};

fn item(list: &str, sort: &str, version: u64) -> Item {
    let record = format!("{{\"of\":\"{sort} ä {version}\"}}");
    Item { list: list.to_owned(), sort: sort.to_owned(), due: None, version, expires: None, record }
}

/// A list that no other check uses.
fn fresh_list(prefix: &str) -> String {
    format!("{prefix}#{}", fresh_run().as_str())
}

async fn put(items: &impl ForgeItems, item: &Item) -> bool {
    items.put_item(item.clone()).await.expect("the store answers")
}

async fn sorts(items: &impl ForgeItems, list: &str, after: Option<&str>, newest_first: bool, limit: usize) -> String {
    let found = items.items(list, "D#", after, newest_first, limit).await.expect("the store answers");
    found.into_iter().map(|item| item.sort.trim_start_matches("D#").to_owned()).collect()
}

/// A write names the version that it replaces. Version 0 replaces any.
pub async fn item_is_stored_only_over_the_version_before<P: Local + 'static>(ports: Arc<P>) {
    let list = fresh_list("FORGE");
    assert!(!put(&*ports, &item(&list, "a", 2)).await, "there is no version 1");
    assert!(put(&*ports, &item(&list, "a", 1)).await);
    assert!(!put(&*ports, &item(&list, "a", 1)).await);
    assert!(put(&*ports, &item(&list, "a", 2)).await);
    assert!(!put(&*ports, &item(&list, "a", 4)).await);
    let found = ports.item(&list, "a").await.expect("the store answers");
    assert_eq!(found, Some(item(&list, "a", 2)));
    let full = Item { due: Some(NOW), expires: Some(Millis(NOW.0 * 2)), ..item(&list, "a", 0) };
    assert!(put(&*ports, &full).await);
    assert_eq!(ports.item(&list, "a").await.expect("the store answers"), Some(full));
    assert!(ports.remove_item(&list, "a").await.expect("the store answers"));
    assert!(!ports.remove_item(&list, "a").await.expect("the store answers"));
    assert_eq!(ports.item(&list, "a").await.expect("the store answers"), None);
}

/// Of writes of the same version one is stored.
pub async fn one_of_twenty_concurrent_writes_of_an_item_wins<P: Local + 'static>(ports: Arc<P>) {
    let list = fresh_list("FORGE");
    let writes = (0..20).map(|n| {
        let (ports, new) = (Arc::clone(&ports), Item { record: format!("{n}"), ..item(&list, "a", 1) });
        tokio::spawn(async move { ports.put_item(new.clone()).await.expect("the store answers").then_some(new) })
    });
    let mut winners = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        winners.extend(write.await.expect("it ends"));
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(ports.item(&list, "a").await.expect("the store answers"), winners.pop());
}

/// A list is in the order of its places, or the opposite one, and continues after a place.
pub async fn items_are_listed_in_both_orders_after_a_place<P: Local + 'static>(ports: Arc<P>) {
    let list = fresh_list("FORGE");
    for sort in ["D#b", "D#a", "C#z", "E#a", "D#d", "D#c"] {
        put(&*ports, &item(&list, sort, 0)).await;
    }
    put(&*ports, &item(&fresh_list("FORGE"), "D#x", 0)).await;
    assert_eq!(sorts(&*ports, &list, None, false, 10).await, "abcd");
    assert_eq!(sorts(&*ports, &list, None, false, usize::MAX).await, "abcd");
    assert_eq!(sorts(&*ports, &list, None, false, 3).await, "abc");
    assert_eq!(sorts(&*ports, &list, Some("D#b"), false, 10).await, "cd");
    assert_eq!(sorts(&*ports, &list, None, true, 10).await, "dcba");
    assert_eq!(sorts(&*ports, &list, Some("D#c"), true, 1).await, "b");
    assert_eq!(sorts(&*ports, &list, Some("D#a"), true, 10).await, "");
}

/// Deliveries and reports that are due are found apart, until their time is taken away.
pub async fn due_items_of_a_kind_are_listed_earliest_first<P: Local + 'static>(ports: Arc<P>) {
    let (forge, report) = (fresh_list("FORGE"), fresh_list("REPORT"));
    let due = |list: &str, sort: &str, at: u64| Item { due: Some(Millis(at)), ..item(list, sort, 0) };
    for new in [
        due(&forge, "D#b", 30),
        due(&forge, "D#a", 40),
        due(&forge, "D#c", 50),
        due(&report, "r", 20),
        item(&forge, "D#d", 0),
    ] {
        put(&*ports, &new).await;
    }
    let listed = async |kind, by| {
        let found = ports.items_due(kind, Millis(by), 100).await.expect("the store answers");
        let ours = found.into_iter().filter(|item| item.list == forge || item.list == report);
        ours.map(|item| item.sort).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(DueKind::Delivery, 40).await, "D#b D#a");
    assert_eq!(listed(DueKind::Report, 40).await, "r");
    assert_eq!(ports.next_due(DueKind::Delivery).await.expect("the store answers"), Some(Millis(30)));
    put(&*ports, &item(&forge, "D#b", 0)).await;
    assert_eq!(listed(DueKind::Delivery, 100).await, "D#a D#c");
}

/// A job or run of a report makes an event when its state for people changes. Others make none.
pub async fn changes_of_what_a_forge_is_told_are_listed<P: Local + 'static>(ports: Arc<P>) {
    let link = LinkName::new("acme").expect("a name");
    let report = ReportKey {
        repository: RepositoryKey { link, repository: 7 },
        commit: CommitId::new("a".repeat(40)).expect("40 digits"),
        file: "ci".to_owned(),
        event: EventName::Push,
    };
    let (workflow, control) = new_workflow(RunState::New);
    let control = engine::run::Control { report: Some(report.clone()), ..control };
    commit_new(&*ports, &workflow, &control).await;
    let labels = fresh_labels();
    let told = JobRecord { report: Some(report.clone()), ..waiting(&control.run, 0, &[], &labels) };
    let other = waiting(&control.run, 1, &[], &labels);
    put_jobs(&*ports, &[told.clone(), other.clone()]).await;
    let counted = async || {
        let mut count = 0;
        while let Some((number, work)) = ports.next_work().await.expect("the store answers") {
            ports.work_done(number).await.expect("the store answers");
            if let Work::ChangeEvent(ChangeEvent::ReportChanged(run, key)) = work {
                assert_eq!((run, key), (control.run.clone(), report.clone()));
                count += 1;
            }
        }
        count
    };
    counted().await;
    let opened = RunUpdate::Open { at: NOW, opener: 1 };
    ports.update_control(&control.run, opened).await.expect("the store answers");
    assert_eq!(counted().await, 1, "the run was opened");
    let ready = [
        change(&*ports, &told, become_ready(&told, NOW)).await,
        change(&*ports, &other, become_ready(&other, NOW)).await,
    ];
    assert_eq!(counted().await, 0, "a ready job waits for people as before");
    for job in &ready {
        let running = change(&*ports, job, Change::Start(lease(1, NOW))).await;
        change(&*ports, &running, end(JobOutcome::Success(OutputsRef::Inline(outputs_of(&[]))))).await;
    }
    assert_eq!(counted().await, 2, "the job began and ended");
}
