//! Deliveries that failed and are asked for again.

use std::time::Duration;

use engine::EngineError;
use engine::forge::ports::FailedDelivery;

use crate::world::{LINK, World, link};

const APP: &str = "app: {id: 12, installation: 34}\n";

async fn app() -> World {
    World::with(&LINK.replace("token: FORGE_TOKEN_ACME\n", APP)).await
}

/// A delivery that failed now.
fn fails(world: &World, guid: &str, repository: u64) {
    let (id, at) = (format!("{guid} again"), world.engine.now());
    let one = FailedDelivery { id, at, guid: guid.to_owned(), repository: Some(repository) };
    world.forge.state().failed.push(one);
}

async fn ten_minutes(world: &World) {
    for _ in 0..10 {
        world.clock.advance(Duration::from_mins(1));
        world.drain().await;
    }
}

#[tokio::test]
async fn failed_delivery_is_asked_for_again_three_times() {
    let world = app().await;
    world.drain().await;
    fails(&world, "a", 7);
    for times in [1, 2, 3, 3, 3] {
        ten_minutes(&world).await;
        assert_eq!(world.forge.state().again, vec!["a again"; times]);
    }
    assert_eq!(world.forge.state().asked_since.len(), 6, "every ten minutes, and at the start");
}

#[tokio::test]
async fn delivery_that_came_in_meanwhile_is_not_asked_for_again() {
    let world = app().await;
    fails(&world, "a", 7);
    world.drain().await;
    assert_eq!(world.forge.state().again, ["a again"]);
    world.forge.state().failed.clear();
    ten_minutes(&world).await;
    ten_minutes(&world).await;
    assert_eq!(world.forge.state().again, ["a again"]);
    let since = world.forge.state().asked_since.clone();
    assert!(since[2] > since[1] && since[1] <= since[0], "{since:?}");
}

#[tokio::test]
async fn app_with_two_repositories_is_asked_once_and_about_linked_ones_alone() {
    let world = app().await;
    let other = LINK.replace("token: FORGE_TOKEN_ACME\n", APP).replace("acme/app", "acme/other");
    world.engine.forges().add(&link(), &other).await.expect("linked");
    for (guid, repository) in [("a", 7), ("b", 9), ("c", 8)] {
        fails(&world, guid, repository);
    }
    world.drain().await;
    let state = world.forge.state();
    assert_eq!((state.asked_since.len(), state.again.clone()), (1, vec!["a again".to_owned(), "b again".to_owned()]));
}

/// All deliveries of a link are checked and read as those of one forge.
#[tokio::test]
async fn link_takes_no_repository_of_another_forge() {
    let world = app().await;
    let other = LINK.replace(
        "forge: github\nrepository: acme/app",
        "forge: gitea\nurl: https://git.example.com\nrepository: acme/other",
    );
    match world.engine.forges().add(&link(), &other).await {
        Err(EngineError::LinkFile(problems)) => {
            assert!(problems[0].message.contains("https://github.com/acme/app"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn two_processes_ask_once_between_them() {
    let world = app().await;
    world.drain().await;
    fails(&world, "a", 7);
    world.clock.advance(Duration::from_mins(11));
    // Another process has read nothing yet.
    let other = world.engine.clone().with_tuning(engine::Tuning::default());
    let (one, two) = tokio::join!(world.engine.forges().run_due(), other.forges().run_due());
    assert!(one.is_ok() && two.is_ok());
    let state = world.forge.state();
    assert_eq!((state.again.len(), state.asked_since.len()), (1, 2));
}

#[tokio::test]
async fn link_with_a_token_asks_for_nothing() {
    let world = World::linked().await;
    fails(&world, "a", 7);
    ten_minutes(&world).await;
    let state = world.forge.state();
    assert_eq!((state.asked_since.len(), state.again.len()), (0, 0));
}

#[tokio::test]
async fn app_without_a_link_is_not_asked_any_more() {
    let world = app().await;
    world.drain().await;
    world.engine.forges().remove(&link(), None).await.expect("removed");
    ten_minutes(&world).await;
    assert_eq!(world.forge.state().asked_since.len(), 1);
    assert_eq!(world.engine.forges().next_due().await.expect("memory answers"), None, "nothing is due for ever");
}
