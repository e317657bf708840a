//! Pull requests from forks.

use engine::EngineError;
use engine::forge::event::{ExternalId, PullAction, Signal};
use engine::forge::names::{EventName, GitRef, ReportKey, RepositoryKey, Subject};
use engine::forge::records::DeliveryState::{Accepted, Failed, Held, Ignored};

use crate::world::{CI, World, commit, link};

#[tokio::test]
async fn nothing_of_a_fork_runs_before_its_commit_is_approved() {
    let world = World::linked().await;
    world.pull_at(12, 'B', true);
    let delivery = world.pull(12, 'B').await;
    assert_eq!((delivery.state, delivery.workflows.len()), (Held, 0));
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (pull_request): waits_for_approval"]);
    let deliveries = format!("https://ci.example.com/#/forges/{}", link());
    assert_eq!(world.forge.state().told[0].url.as_ref(), Some(&deliveries), "where it can be approved");
    assert_eq!(world.ref_record(Subject::Pull(12)).await.held, Some(commit('B')));

    let approved = world.engine.forges().approve(&link(), None, 12, &commit('B')).await.expect("approved");
    assert!(approved.is_some());
    world.drain().await;
    let workflows = world.workflows().await;
    assert_eq!(workflows.len(), 1);
    assert_eq!([workflows[0].inputs["fork"].as_str(), workflows[0].inputs["change"].as_str()], ["true", "#12"]);
    assert_eq!(workflows[0].inputs["ref"], "x$(id)");
    assert!(world.claim("linux").await.is_none(), "only a worker with the rule's added label takes it");
    assert!(world.claim("linux,untrusted").await.is_some());
    let again = world.engine.forges().approve(&link(), None, 12, &commit('B')).await.expect("known");
    assert!(again.is_none());
}

#[tokio::test]
async fn an_approval_before_the_pull_requests_own_delivery_counts_for_it() {
    let world = World::linked().await;
    world.pull_at(12, 'B', true);
    world.engine.forges().approve(&link(), None, 12, &commit('B')).await.expect("approved").expect("stored");
    world.drain().await;
    assert_eq!(world.workflows().await.len(), 0, "its own delivery hasn't come in yet");
    assert_eq!(world.pull(12, 'B').await.state, Accepted);
    assert_eq!(world.workflows().await.len(), 1);
}

/// The rule of another base may give more than the person saw who approved.
#[tokio::test]
async fn a_commit_whose_base_is_changed_waits_again_and_can_be_approved_again() {
    let world = World::linked().await;
    world.file('B', "ci", &CI.replace("branches: [main]}\nconcurrency", "branches: [main, x2]}\nconcurrency"));
    world.pull_at(12, 'B', true);
    world.pull(12, 'B').await;
    let approve = async || world.engine.forges().approve(&link(), None, 12, &commit('B')).await.expect("known");
    assert!(approve().await.is_some());
    world.drain().await;
    assert_eq!(world.workflows().await.len(), 1);
    let base = GitRef::of_branch("x2").expect("a branch");
    world.forge.state().pulls.get_mut(&12).expect("it is there").base_ref = base;
    assert_eq!(world.pull(12, 'B').await.state, Held);
    assert!(approve().await.is_some());
    world.drain().await;
    assert_eq!(world.workflows().await.len(), 2);
    assert!(approve().await.is_none());
}

#[tokio::test]
async fn an_approval_names_the_commit_and_another_head_is_refused() {
    let world = World::linked().await;
    world.pull_at(12, 'B', true);
    world.pull(12, 'B').await;
    world.pull_at(12, 'C', true);
    match world.engine.forges().approve(&link(), None, 12, &commit('B')).await {
        Err(EngineError::HeadMoved { head }) => assert_eq!(head, commit('C')),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.pull(12, 'C').await.state, Held);
    assert_eq!(world.workflows().await.len(), 0);
}

#[tokio::test]
async fn the_forges_button_counts_if_the_person_may_write() {
    let world = World::linked().await;
    world.pull_at(12, 'B', true);
    world.pull(12, 'B').await;
    let key = ReportKey {
        repository: RepositoryKey { link: link(), repository: 7 },
        commit: commit('B'),
        file: "ci".to_owned(),
        event: EventName::PullRequest,
    };
    let press =
        |actor: &str| Signal::Approve { commit: commit('B'), check: ExternalId::of(&key), actor: actor.to_owned() };
    assert_eq!(world.deliver(press("mallory"), None).await.state, Failed);
    assert_eq!(world.workflows().await.len(), 0);
    world.forge.state().writers.push("alice".to_owned());
    assert_eq!(world.deliver(press("alice"), None).await.state, Accepted);
    assert_eq!(world.workflows().await.len(), 1);
}

#[tokio::test]
async fn a_fork_that_asks_for_a_secret_is_told_as_failed_at_its_line() {
    let world = World::linked().await;
    world.file('B', "ci", &CI.replace("labels: linux", "labels: [linux, production], secrets: NPM_TOKEN"));
    world.pull_at(12, 'B', true);
    assert_eq!(world.pull(12, 'B').await.workflows.len(), 0);
    world.told().await;
    assert_eq!(world.forge.shown(), ["ci (pull_request): invalid"]);
    let state = world.forge.state();
    assert!(state.told[0].url.as_ref().is_some_and(|url| url.ends_with("/#/forges/acme")), "{:?}", state.told[0].url);
    let messages: Vec<_> = state.told[0].annotations.iter().map(|one| (one.line, one.message.clone())).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|(line, _)| *line == 6), "{messages:?}");
}

#[tokio::test]
async fn closing_a_pull_request_drops_what_is_held() {
    let world = World::linked().await;
    world.pull_at(12, 'B', true);
    world.pull(12, 'B').await;
    let closed = Signal::PullRequest { number: 12, action: PullAction::Closed, head: None, actor: String::new() };
    assert_eq!(world.deliver(closed, None).await.state, Ignored);
    assert_eq!(world.ref_record(Subject::Pull(12)).await.held, None);
}

#[tokio::test]
async fn a_pull_request_of_the_repository_itself_runs_at_once() {
    let world = World::linked().await;
    world.pull_at(12, 'B', false);
    assert_eq!(world.pull(12, 'B').await.state, Accepted);
    world.pull_at(12, 'C', false);
    world.clock.advance(std::time::Duration::from_secs(6));
    assert_eq!(world.pull(12, 'C').await.state, Accepted);
    assert_eq!(world.runs().await, "BC");
}
