//! Checks of groups: places in order, and one holder.

use std::sync::Arc;

use engine::ids::{GroupKey, JobKey, Unit};
use engine::ports::{Consistency, Place, Ports};
use protocol::{Label, Millis};

use crate::fixture::{NOW, at_once, eventually, fresh_run, name, secs};

/// A group that no other check uses.
fn fresh_group() -> GroupKey {
    GroupKey::of_jobs(&Label::new(&name("gröup#")).expect("a label"))
}

fn job_at(at: Millis) -> Place {
    Place { at, unit: Unit::Job(JobKey::new(&fresh_run(), 7)), yields: false }
}

fn run_at(at: Millis) -> Place {
    Place { at, unit: Unit::Run(fresh_run()), yields: true }
}

async fn listed(ports: &impl Ports, group: &GroupKey) -> Vec<Place> {
    let mut all: Vec<Place> = Vec::new();
    loop {
        let page = ports.places(group, all.last(), 3).await.expect("the store answers");
        assert!(page.len() <= 3, "a page of {}", page.len());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Places are ordered by time. One that is put twice is listed once. A group has no place of another.
pub async fn places_are_listed_in_their_order_until_they_are_removed<P: Ports + 'static>(ports: Arc<P>) {
    let (group, other) = (fresh_group(), fresh_group());
    assert_eq!(listed(&*ports, &group).await, []);
    let mut places: Vec<Place> = (0..10).map(|n| job_at(NOW + secs(n * 7 % 10))).collect();
    places.extend([run_at(NOW + secs(3)), run_at(NOW), job_at(NOW)]);
    for place in places.iter().chain(&places[..5]) {
        ports.put_place(&group, place).await.expect("the store answers");
    }
    ports.put_place(&other, &job_at(NOW)).await.expect("the store answers");
    places.sort_by_key(Place::order);
    assert_eq!(listed(&*ports, &group).await, places);
    for removed in [4, 4, 0] {
        let place = places.remove(removed);
        ports.remove_place(&group, &place).await.expect("the store answers");
        ports.remove_place(&group, &place).await.expect("the store answers");
        assert_eq!(listed(&*ports, &group).await, places);
    }
    assert_eq!(listed(&*ports, &other).await.len(), 1);
}

/// The holder is replaced only by a caller that names the current one. A repeated call by the holder succeeds.
pub async fn group_passes_only_from_the_holder_that_was_read<P: Ports + 'static>(ports: Arc<P>) {
    let group = fresh_group();
    let [a, b, c] = [job_at(NOW).unit, run_at(NOW).unit, job_at(NOW).unit];
    let hold =
        async |before: Option<&Unit>, next: &Unit| ports.hold(&group, before, next).await.expect("the store answers");
    let holder = async || ports.holder(&group, Consistency::Strong).await.expect("the store answers");
    assert_eq!(holder().await, None);
    assert!(!hold(Some(&a), &b).await, "nobody has it");
    assert_eq!(holder().await, None);
    assert!(hold(None, &a).await);
    assert!(hold(None, &a).await, "a repeat of its own call");
    assert!(!hold(None, &b).await && !hold(Some(&c), &b).await);
    assert_eq!(holder().await.as_ref(), Some(&a));
    assert!(hold(Some(&a), &b).await && hold(Some(&a), &b).await);
    assert!(!hold(Some(&a), &c).await);
    assert_eq!(holder().await.as_ref(), Some(&b));
    eventually(|| ports.holder(&group, Consistency::Eventual), |found| found.as_ref() == Some(&b)).await;
}

/// Of many concurrent callers that read the same holder, one has the group afterwards.
pub async fn one_of_twenty_concurrent_holders_wins<P: Ports + 'static>(ports: Arc<P>) {
    let group = fresh_group();
    let mut before = None;
    for _ in 0..3 {
        let units: Vec<Unit> = (0..20).map(|_| job_at(NOW).unit).collect();
        let answers = at_once(units.iter().map(|unit| {
            let (ports, group, before, unit) = (Arc::clone(&ports), group.clone(), before.clone(), unit.clone());
            async move { ports.hold(&group, before.as_ref(), &unit).await.expect("the store answers") }
        }))
        .await;
        let now = ports.holder(&group, Consistency::Strong).await.expect("the store answers");
        let winners: Vec<&Unit> = units.iter().zip(answers).filter(|(_, won)| *won).map(|(unit, _)| unit).collect();
        assert_eq!(winners, now.iter().collect::<Vec<_>>());
        before = now;
    }
}
