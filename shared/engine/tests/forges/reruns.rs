//! Runs that a forge started and that somebody runs again. Their link's rights are checked anew.

use engine::EngineError;
use engine::forge::event::Signal;
use engine::forge::records::DeliveryState::Failed;
use protocol::WorkflowId;
use protocol::requests::Only;

use crate::world::{LINK, World, commit, link, main};

const FILE: &str = "on: push
jobs:
  build: {labels: linux, run: make}
  deploy: {labels: [linux, production], secrets: NPM_TOKEN, run: make deploy, needs: build}
";

/// A run of `main` that failed.
async fn failed() -> (World, WorkflowId) {
    let world = World::linked().await;
    world.file('B', "ci", FILE);
    world.at(&main(), 'B');
    let id = world.push(&main(), Some('A'), 'B', None).await.workflows.remove(0);
    world.run_job("linux", false).await;
    world.drain().await;
    (world, id)
}

async fn relink(world: &World, from: &str, to: &str) {
    assert!(LINK.contains(from));
    world.engine.forges().add(&link(), &LINK.replace(from, to)).await.expect("linked");
}

async fn refusal(world: &World, id: &WorkflowId) -> String {
    match world.engine.runs().start(id, Some(Only::Failed), None).await {
        Err(EngineError::LinkRights { link, reason }) => {
            assert_eq!(link.as_str(), "acme");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn run_again_is_allowed_while_the_links_rights_allow_it() {
    let (world, id) = failed().await;
    world.engine.runs().start(&id, Some(Only::Failed), None).await.expect("allowed");
    assert_eq!(world.workflows().await[0].run, 2);
}

#[tokio::test]
async fn run_again_is_refused_after_its_rule_was_narrowed() {
    let (world, id) = failed().await;
    for (from, to, says) in [
        ("[linux, production]", "[linux]", "label `production`"),
        ("secrets: [NPM_TOKEN]", "secrets: []", "secret `NPM_TOKEN`"),
        (
            "labels: [linux, production]",
            "add_labels: [checked], labels: [linux, production]",
            "adds the label `checked`",
        ),
    ] {
        relink(&world, from, to).await;
        let reason = refusal(&world, &id).await;
        assert!(reason.contains(says), "{to}: {reason}");
    }
    let again = Signal::Rerequested { commit: commit('B'), check: None, actor: "alice".to_owned() };
    let delivery = world.deliver(again, None).await;
    assert_eq!(delivery.state, Failed);
    assert!(delivery.reason.expect("why").contains("adds the label `checked`"));
    assert_eq!(world.workflows().await[0].run, 1);
}

#[tokio::test]
async fn run_again_is_refused_without_a_rule_and_without_a_link() {
    let (world, id) = failed().await;
    relink(
        &world,
        "  - {event: [push, tag], ref: [main, 'v*'], labels: [linux, production], secrets: [NPM_TOKEN]}\n",
        "",
    )
    .await;
    assert!(refusal(&world, &id).await.contains("label `production`"), "the last rule fits");
    world.engine.forges().remove(&link(), None).await.expect("removed");
    assert!(refusal(&world, &id).await.contains("was removed"));
}
