//! Deliveries that failed, and check runs whose creator was not answered: both at a GitHub App.

use std::time::Duration;

use harness::eventually;
use harness::forge::{Fault, Kind};

use crate::linked::Linked;
use crate::project::{REPOSITORY, WEBHOOK_SECRET};
use crate::runs::{CI, PASSED};

/// Apps are asked every ten minutes.
const NEXT: Duration = Duration::from_mins(11);
/// A reporter's lease, and a little more.
const LEASE_ENDS: Duration = Duration::from_secs(61);

/// Ten minutes pass, and the App is asked.
async fn is_asked(linked: &Linked) {
    let asked = || linked.forge().requests().iter().filter(|one| one.path.contains("/hook/deliveries?")).count();
    let before = asked();
    linked.advance(NEXT).await;
    eventually("the App is asked", async || (asked() > before).then_some(())).await;
}

#[tokio::test]
async fn delivery_that_met_no_server_is_delivered_later_by_itself() {
    let linked = Linked::alone_with_app().await;
    linked.forge().silence(REPOSITORY, true);
    let commit = linked.pushes_ci(CI).await;
    is_asked(&linked).await;
    linked.until_shows(&commit, &PASSED).await;
    is_asked(&linked).await;
    is_asked(&linked).await;
    assert_eq!(linked.forge().deliveries().len(), 2, "what came in is not asked for again");
    linked.forge().keeps_the_contract();
}

#[tokio::test]
async fn delivery_that_always_fails_is_asked_for_three_times() {
    let linked = Linked::alone_with_app().await;
    // Nobody answers there.
    let nobody = "http://127.0.0.1:1/api/forges/acme/hook";
    linked.forge().hook(REPOSITORY, Kind::Github, nobody, WEBHOOK_SECRET);
    let commit = linked.pushes_ci(CI).await;
    linked.until_shows(&commit, &PASSED).await;
    let sent = || linked.forge().deliveries().iter().filter(|one| one.url == nobody).count();
    for times in 1..=3 {
        is_asked(&linked).await;
        eventually("it is asked for again", async || (sent() == 1 + times).then_some(())).await;
    }
    for _ in 0..3 {
        is_asked(&linked).await;
    }
    assert_eq!(sent(), 4);
    linked.forge().keeps_the_contract();
}

#[tokio::test]
async fn check_run_is_not_created_twice_by_a_reporter_that_was_not_answered() {
    let linked = Linked::alone_with_app().await;
    linked.forge().plans("POST", "/check-runs", Fault::Lost, 2);
    let commit = linked.pushes_ci(CI).await;
    eventually("both are created", async || linked.forge().met_all_faults().then_some(())).await;
    // The job's own lease must not end with the reporter's.
    linked.until_ended(1).await;
    linked.advance(LEASE_ENDS).await;
    linked.until_shows(&commit, &PASSED).await;
    let mut names: Vec<String> = linked.forge().posted(REPOSITORY).into_iter().map(|posted| posted.name).collect();
    names.sort();
    assert_eq!(names, PASSED.map(|(name, _)| name));
    linked.forge().keeps_the_contract();
}
