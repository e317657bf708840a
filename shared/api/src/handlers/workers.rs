//! Routes for workers and pools.

use std::collections::BTreeSet;

use engine::Engine;
use engine::ports::Ports;
use http::{Method, StatusCode};
use protocol::access::Scope;
use protocol::requests::{Register, WorkerHeartbeat};
use protocol::wire::{PoolInfo, Registered, WorkerInfo};
use protocol::{LabelSet, SecretName, limits};

use crate::operation::{answers, bodies};
use crate::part::Part;
use crate::request::Input;
use crate::response::{Answer, PageOf, empty, json_answer, json_page};
use crate::route::{Effect, Function, Route};
use crate::row::{Row, ask, read, row};

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const LEAVES: Route = Route::new(
        "unregister",
        Method::DELETE,
        "/api/workers/{id}",
        Function::Claim,
        &[Scope::Work],
        "Removes a worker.",
        answers::no_content,
    )
    .effect(Effect::WorkerLeaves);
    vec![
        row!(F, read("workers", "/api/workers", "Lists workers.", answers::list_of::<WorkerInfo>), list),
        row!(
            F,
            read(
                "pools",
                "/api/pools",
                "Lists pools: waiting and running jobs by labels.",
                answers::list_of::<PoolInfo>
            ),
            pools
        ),
        row!(
            F,
            ask("register", "/api/workers/register", "Registers a worker.", |s| {
                answers::json_body::<Registered>(s).taking(bodies::required(s.request::<Register>()))
            }),
            register
        ),
        row!(
            F,
            ask("workerHeartbeat", "/api/workers/{id}/heartbeat", "Reports that a registered worker is online.", |s| {
                answers::json_body::<Registered>(s)
                    .taking(bodies::optional(s.request::<WorkerHeartbeat>()))
                    .refused(&[404])
            }),
            heartbeat
        ),
        row!(F, LEAVES, unregister),
    ]
}

pub(crate) async fn list<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_page(input, engine.workers().list().await?, |worker| worker.worker_id.to_string())
}

pub(crate) async fn pools<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let pools = engine.workers().pools().await?;
    let page = PageOf::requested(input, pools, limits::POOLS_LISTED, |pool| key_of_pool(&pool.labels, &pool.secrets))?;
    let counted = page.with(engine.workers().count_pools(page.entries.clone()).await?);
    counted.answer(input, |pool: &PoolInfo| key_of_pool(&pool.labels, &pool.secrets))
}

/// No label and no secret has a comma in it.
fn key_of_pool(labels: &LabelSet, secrets: &BTreeSet<SecretName>) -> String {
    let secrets: Vec<&str> = secrets.iter().map(SecretName::as_str).collect();
    format!("{labels},,{}", secrets.join(","))
}

pub(crate) async fn register<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_answer(StatusCode::OK, &engine.workers().register(input.json()?).await?)
}

pub(crate) async fn heartbeat<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let heartbeat: WorkerHeartbeat = input.json_or_default()?;
    json_answer(StatusCode::OK, &engine.workers().heartbeat(&input.param("id")?, heartbeat.paused).await?)
}

pub(crate) async fn unregister<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    engine.workers().unregister(&input.param("id")?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
