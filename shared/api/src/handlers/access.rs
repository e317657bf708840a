//! Tokens, and who did what.

use engine::Engine;
use engine::ports::{AuditCursor, Ports};
use http::StatusCode;
use protocol::access::NewToken;
use protocol::{Millis, TokenName};

use super::{Answer, empty, json_answer, link_next};
use crate::auth::record_token_action;
use crate::error::ApiError;
use crate::read::Input;
use crate::routes::Action;

/// Entries in a page, unless the client asks for another number.
pub(crate) const PAGE: usize = 100;

pub(super) async fn tokens<P: Ports>(engine: &Engine<P>) -> Answer {
    json_answer(StatusCode::OK, &engine.tokens().list().await?)
}

pub(super) async fn create<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let new: NewToken = input.json()?;
    let created = engine.tokens().create(new).await?;
    record_token_action(engine, Action::CreateToken, &created.info.name).await;
    json_answer(StatusCode::CREATED, &created)
}

pub(super) async fn revoke<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let name: TokenName = input.param("name")?;
    engine.tokens().revoke(&name).await?;
    record_token_action(engine, Action::RevokeToken, &name).await;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn audit<P: Ports>(engine: &Engine<P>, input: &Input) -> Answer {
    let limit = input.limit(PAGE)?;
    let after = input.query::<String>("cursor")?.map(|text| parse_cursor(&text)).transpose()?;
    let page = engine.audit().list(after, limit).await?;
    let response = json_answer(StatusCode::OK, &page.entries)?;
    let Some(AuditCursor { at, id }) = page.next else { return Ok(response) };
    Ok(link_next(response, &format!("/api/audit?limit={limit}&cursor={at}.{}", hex::encode(id))))
}

fn parse_cursor(text: &str) -> Result<AuditCursor, ApiError> {
    let parsed = text.split_once('.').and_then(|(at, id)| {
        Some(AuditCursor { at: Millis(at.parse().ok()?), id: hex::decode(id).ok()?.try_into().ok()? })
    });
    parsed.ok_or_else(ApiError::bad_cursor)
}
