//! Routes for links to forges, and for what forges deliver.

use engine::forge::event::{Parsed, Signal};
use engine::forge::link::{Access, Link};
use engine::forge::names::{CommitId, GitRef};
use engine::forge::records::{Delivery, DeliveryKey};
use engine::forges::{HookLink, Received as Stored};
use engine::ports::Ports;
use engine::{Engine, EngineError, Forges};
use forge::payload;
use forge::signature;
use http::{Method, StatusCode, header};
use protocol::access::{AuditAction, Scope};
use protocol::forge::{ApproveCommit, DeliveryInfo, LinkInfo, Received, StartRef};
use protocol::{LinkName, SecretName, SecretValue, limits};

use crate::audit;
use crate::error::ApiError;
use crate::operation::{answers, bodies, parameters};
use crate::part::Part;
use crate::request::{Format, Input};
use crate::response::{Answer, empty, encode, json_answer, link_next};
use crate::route::{Effect, Function, Route};
use crate::row::{Row, change, read, row};

const ONE: &str = "/api/forges/{link}";
const HOOK: &str = "/api/forges/{link}/hook";

/// The routes that this file answers.
pub(crate) fn rows<P: Ports, F: Part>() -> Vec<Row<P>> {
    const ADMIN: &[Scope] = &[Scope::Admin];
    const HOOKED: Route = Route::new(
        "receiveDelivery",
        Method::POST,
        HOOK,
        Function::Hook,
        &[],
        "Receives a delivery of a forge.",
        |s| answers::received(s).taking(bodies::any_json()).refused(&[401, 413]),
    )
    .signed()
    .effect(Effect::Changes);
    vec![
        row!(F, HOOKED, receive),
        row!(
            F,
            read("listLinks", "/api/forges", "Lists the links to forges.", answers::json_body::<Vec<LinkInfo>>),
            list
        ),
        row!(
            F,
            read("links", ONE, "Shows the links of a name: one, or one for each repository of an App.", |s| {
                answers::json_body::<Vec<LinkInfo>>(s).refused(&[404])
            })
            .scopes(ADMIN),
            one
        ),
        row!(
            F,
            change(AuditAction::Link, "link", Method::PUT, ONE, "Links a repository, or replaces its link.", |s| {
                answers::json_body::<LinkInfo>(s).taking(bodies::yaml()).refused(&[409])
            })
            .scopes(ADMIN),
            link
        ),
        row!(
            F,
            change(AuditAction::Unlink, "unlink", Method::DELETE, ONE, "Removes a link.", |s| {
                answers::no_content(s).with([parameters::repository()]).refused(&[404])
            })
            .scopes(ADMIN),
            unlink
        ),
        row!(
            F,
            read("deliveries", "/api/forges/{link}/deliveries", "Lists what a forge delivered, newest first.", |s| {
                answers::page_of::<DeliveryInfo>(s).with(parameters::page()).refused(&[404])
            }),
            deliveries
        ),
        row!(
            F,
            change(
                AuditAction::Approve,
                "approve",
                Method::POST,
                "/api/forges/{link}/approve",
                "Lets one commit of a pull request from a fork run.",
                |s| answers::received(s).taking(bodies::required(s.request::<ApproveCommit>())).refused(&[404, 409])
            )
            .scopes(&[Scope::Approve]),
            approve
        ),
        row!(
            F,
            change(
                AuditAction::StartRef,
                "startRef",
                Method::POST,
                "/api/forges/{link}/start",
                "Starts what a push to a branch or tag would start.",
                |s| answers::received(s).taking(bodies::required(s.request::<StartRef>())).refused(&[404])
            ),
            start
        ),
    ]
}

/// The answer whether the link doesn't exist or the signature is wrong.
fn unsigned() -> ApiError {
    let message = "there is no such link, or the delivery isn't signed with its webhook secret";
    ApiError::new(StatusCode::UNAUTHORIZED, "bad_signature", message)
}

/// The use cases about forges.
///
/// # Errors
/// 501 if this server has none.
fn forges<P>(engine: &Engine<P>) -> Result<Forges<'_, P>, ApiError> {
    if engine.has_forges() {
        return Ok(engine.forges());
    }
    Err(EngineError::NoForges("it was started without any; a stack on AWS has them if it is deployed with Forges=true")
        .into())
}

/// Checks size, media type and signature, in this order, and parses only then. One write, and the answer.
pub(crate) async fn receive<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    if input.body.len() > limits::FORGE_DELIVERY {
        let (size, most) = (input.body.len(), limits::FORGE_DELIVERY);
        let message = format!("the delivery is {size} bytes; at most {most} are allowed (limit FORGE_DELIVERY)");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    let given = input.header(header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = format!(
            "the delivery's content type is {given:?}; set the content type of the webhook to application/json"
        );
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let name: LinkName = input.param("link").map_err(|_| unsigned())?;
    let Some(HookLink { forge, values, secrets }) = forges(engine)?.hook(&name).await? else { return Err(unsigned()) };
    if values.is_empty() {
        let names: Vec<&str> = secrets.iter().map(SecretName::as_str).collect();
        tracing::error!(link = %name, secrets = names.join(","), "the webhook secret of a link can't be read");
        let message = "the link's webhook secret can't be read; the server's log names it";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_webhook_secret", message));
    }
    let values: Vec<SecretValue> = values.into_values().collect();
    let header = |name: &str| input.headers.get(name).and_then(|value| value.to_str().ok());
    signature::check(forge, header, &input.body, &values, engine.now()).map_err(|_| unsigned())?;
    let parsed = payload::parse(forge, header, &input.body);
    let parsed = parsed.map_err(|error| ApiError::bad_request("invalid_payload", error.to_string()))?;
    let incoming = match parsed {
        Parsed::Ignored(reason) => return ignored(reason),
        Parsed::Signal(incoming) => incoming,
    };
    match engine.forges().receive(&name, incoming).await? {
        Stored::Stored(key) => stored(&key),
        Stored::Ignored(reason) => ignored(reason),
    }
}

fn stored(key: &DeliveryKey) -> Answer {
    json_answer(StatusCode::ACCEPTED, &Received::Delivery(key.place()))
}

fn ignored(reason: String) -> Answer {
    json_answer(StatusCode::OK, &Received::Ignored(reason))
}

pub(crate) async fn list<P: Ports>(engine: &Engine<P>, _: &Input<'_>) -> Answer {
    let links = forges(engine)?.all().await?;
    json_answer(StatusCode::OK, &links.into_iter().map(|link| info(engine, link)).collect::<Vec<_>>())
}

pub(crate) async fn one<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let links = forges(engine)?.of_name(&input.param("link")?).await?;
    json_answer(StatusCode::OK, &links.into_iter().map(|link| info(engine, link)).collect::<Vec<_>>())
}

pub(crate) async fn link<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: LinkName = input.param("link")?;
    input.format(Format::Yaml)?;
    let link = forges(engine)?.add(&name, input.text()?).await?;
    audit::record(engine, input.route, &about(&link)).await;
    json_answer(StatusCode::OK, &info(engine, link))
}

pub(crate) async fn unlink<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: LinkName = input.param("link")?;
    let repository = input.query::<String>("repository")?;
    let mut links = forges(engine)?.of_name(&name).await?;
    links.retain(|link| repository.as_ref().is_none_or(|repository| link.repository == *repository));
    match links.as_slice() {
        [link] => {
            engine.forges().remove(&name, Some(link.key.repository)).await?;
            audit::record(engine, input.route, &about(link)).await;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        [] => Err(EngineError::NoLink(name).into()),
        _ => {
            let message = "several repositories share the link; name one: ?repository=<owner>/<name>";
            Err(ApiError::invalid("several_repositories", message))
        }
    }
}

pub(crate) async fn deliveries<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: LinkName = input.param("link")?;
    let limit = input.limit()?.unwrap_or(limits::PAGE);
    let cursor = input.query::<String>("cursor")?;
    let after = cursor.map(|text| DeliveryKey::parse(&name, &text).ok_or_else(ApiError::bad_cursor)).transpose()?;
    forges(engine)?.of_name(&name).await?;
    let page = engine.forges().deliveries(&name, after.as_ref(), limit).await?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.key.place());
    let response = json_answer(StatusCode::OK, &page.into_iter().map(shown).collect::<Vec<_>>())?;
    let Some(next) = next else { return Ok(response) };
    let path = format!("/api/forges/{}/deliveries?limit={limit}&cursor={}", encode(name.as_str()), encode(&next));
    Ok(link_next(response, &path))
}

pub(crate) async fn approve<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: LinkName = input.param("link")?;
    let ApproveCommit { repository, pull_request, commit } = input.json()?;
    let commit = commit_of(&commit)?;
    let approved = forges(engine)?.approve(&name, repository.as_deref(), pull_request, &commit).await?;
    audit::record(engine, input.route, &format!("{name}#{pull_request} {commit}")).await;
    match approved {
        Some(key) => stored(&key),
        None => ignored("it was approved before".to_owned()),
    }
}

pub(crate) async fn start<P: Ports>(engine: &Engine<P>, input: &Input<'_>) -> Answer {
    let name: LinkName = input.param("link")?;
    let StartRef { repository, name: at, commit } = input.json()?;
    let at = GitRef::new(at).map_err(|error| ApiError::invalid("invalid_field", format!("field `ref`: {error}")))?;
    let commit = commit.as_deref().map(commit_of).transpose()?;
    let about = format!("{name} {at}");
    let key = forges(engine)?.start(&name, repository.as_deref(), at, commit).await?;
    audit::record(engine, input.route, &about).await;
    stored(&key)
}

fn commit_of(text: &str) -> Result<CommitId, ApiError> {
    CommitId::new(text).map_err(|error| ApiError::invalid("invalid_field", format!("field `commit`: {error}")))
}

/// The link for the audit log.
fn about(link: &Link) -> String {
    format!("{} of {}", link.repository, link.name())
}

fn info<P: Ports>(engine: &Engine<P>, link: Link) -> LinkInfo {
    let hook = engine.public_url().map(|url| format!("{url}/api/forges/{}/hook", encode(link.name().as_str())));
    let own = match &link.access {
        Access::Token(name) => Some(name.clone()),
        Access::App { .. } => None,
    };
    LinkInfo {
        name: link.key.link,
        forge: link.forge.to_string(),
        repository: link.repository,
        number: link.key.repository,
        secrets: link.webhook_secrets.into_iter().chain(own).collect(),
        file: link.file,
        linked_at_ms: link.linked_at,
        linked_by: link.linked_by,
        hook,
    }
}

fn shown(delivery: Delivery) -> DeliveryInfo {
    let Delivery { key, incoming, state, reason, commit, workflows, .. } = delivery;
    let (event, name, hinted) = match &incoming.signal {
        Signal::Push(push) => ("push", Some(push.name.to_string()), push.after.as_ref()),
        Signal::PullRequest { number, head, .. } => ("pull_request", Some(format!("#{number}")), head.as_ref()),
        Signal::MergeGroup { name, head, .. } => ("merge_group", Some(name.to_string()), Some(head)),
        Signal::Rerequested { commit, .. } => ("rerequested", None, Some(commit)),
        Signal::Approve { commit, .. } => ("approve", None, Some(commit)),
        Signal::Approved { number, commit, .. } => ("approve", Some(format!("#{number}")), Some(commit)),
        Signal::Start { name, commit, .. } => ("start", Some(name.to_string()), commit.as_ref()),
    };
    let commit = commit.as_ref().or(hinted).map(ToString::to_string);
    DeliveryInfo {
        id: key.place(),
        at_ms: key.at,
        event: event.to_owned(),
        name,
        commit,
        state: state.to_string(),
        reason,
        workflows,
        repository: incoming.name,
        delivery: incoming.id,
    }
}
