//! Handlers for tokens and the audit record.

use engine::Engine;
use engine::ports::{AuditCursor, Ports};
use http::StatusCode;
use protocol::access::NewToken;
use protocol::{TokenName, limits};

use crate::audit;
use crate::request::Input;
use crate::response::{Answer, empty, json_answer, json_page, link_next};

pub(crate) async fn tokens<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    json_page(input, engine.tokens().list().await?, |token| token.name.to_string())
}

pub(crate) async fn create<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let new: NewToken = input.json()?;
    let created = engine.tokens().create(new).await?;
    audit::record_token(engine, input.route, &created.info.name).await;
    json_answer(StatusCode::CREATED, &created)
}

pub(crate) async fn revoke<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: TokenName = input.param("name")?;
    engine.tokens().revoke(&name).await?;
    audit::record_token(engine, input.route, &name).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn audit<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let limit = input.limit()?.unwrap_or(limits::PAGE);
    let after = input.cursor(|at, id| Some(AuditCursor { at, id: hex::decode(id).ok()?.try_into().ok()? }))?;
    let page = engine.audit().list(after, limit).await?;
    let response = json_answer(StatusCode::OK, &page.entries)?;
    let Some(AuditCursor { at, id }) = page.next else { return Ok(response) };
    Ok(link_next(response, &format!("/api/audit?limit={limit}&cursor={at}.{}", hex::encode(id))))
}
