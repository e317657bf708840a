//! Tests of worker registration.

use engine::Engine;
use engine::ports::WorkerRegistry;
use memory::Memory;
use protocol::requests::{Register, Transport};
use protocol::{LabelSet, limits};

#[tokio::test]
async fn features_over_their_limit_are_refused_and_others_stored_whole() {
    let engine = Engine::new(Memory::new());
    let with = async |features: Vec<String>| {
        let id = "w".parse().expect("an id");
        let labels = LabelSet::default();
        engine
            .workers()
            .register(Register {
                worker_id: id,
                labels,
                transport: Transport::Http,
                exclusive: false,
                features,
                paused: None,
            })
            .await
            .map_err(|error| error.to_string())
    };
    let many = |count: usize| (0..count).map(|n| format!("feature-{n}")).collect::<Vec<_>>();
    with(many(limits::FEATURES)).await.expect("at the limit");
    let kept = engine.ports().worker(&"w".parse().expect("an id"), engine.now()).await.expect("read").expect("known");
    assert_eq!(kept.features, many(limits::FEATURES));
    let error = with(many(limits::FEATURES + 1)).await.expect_err("one too many");
    assert!(error.contains("features") && error.contains("65") && error.contains("64"), "{error}");
    let error = with(vec!["x".into(), "x".repeat(limits::FEATURE + 1)]).await.expect_err("too long");
    assert!(error.contains("features[1]") && error.contains("65"), "{error}");
}
