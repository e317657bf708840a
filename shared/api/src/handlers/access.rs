//! Routes for tokens and the audit record.

use engine::Engine;
use engine::ports::{AuditCursor, Ports};
use http::{Method, StatusCode};
use protocol::access::{AuditAction, AuditEntry, CreatedToken, NewToken, Scope, TokenInfo};
use protocol::{TokenName, limits};

use crate::audit;
use crate::operation::{answers, bodies, parameters};
use crate::part::Part;
use crate::request::Input;
use crate::response::{Answer, empty, json_answer, json_page, link_next};
use crate::row::{Row, change, read, row};

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const ADMIN: &[Scope] = &[Scope::Admin];
    vec![
        row!(
            F,
            read("listTokens", "/api/tokens", "Lists tokens, without their texts.", answers::list_of::<TokenInfo>)
                .scopes(ADMIN),
            tokens
        ),
        row!(
            F,
            change(
                AuditAction::CreateToken,
                "createToken",
                Method::POST,
                "/api/tokens",
                "Creates a token and shows it once.",
                |s| answers::made::<CreatedToken>(s).taking(bodies::required(s.request::<NewToken>())).refused(&[409])
            )
            .scopes(ADMIN),
            create
        ),
        row!(
            F,
            change(
                AuditAction::RevokeToken,
                "revokeToken",
                Method::DELETE,
                "/api/tokens/{name}",
                "Revokes a token.",
                |s| answers::no_content(s).refused(&[404])
            )
            .scopes(ADMIN),
            revoke
        ),
        row!(
            F,
            read("audit", "/api/audit", "Lists audit entries, newest first.", |s| {
                answers::page_of::<AuditEntry>(s).with(parameters::page())
            })
            .scopes(ADMIN),
            audit
        ),
    ]
}

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
