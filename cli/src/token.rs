//! `wfg token`: makes, lists and revokes tokens, by asking a server, or in the store itself.

use engine::Engine;
use engine::access;
use engine::ids::random;
use engine::ports::{AuditStore, Ports, TokenStore};
use protocol::Millis;
use protocol::access::{Allowed, AuditAction, AuditEntry, CreatedToken, NewToken, Permissions, TokenInfo};
use sqlite::Sqlite;

use crate::args::{NewTokenArgs, TokenCommand, TokenLocation};
use crate::calls::Remote;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::show::print_json;
use crate::table::Table;
use crate::time;

/// Carries it out.
pub async fn run(
    remote: impl FnOnce() -> Result<Remote, Failure>,
    screen: &Screen,
    command: TokenCommand,
) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => {
            let new = asked_for(&args);
            let created = match &args.place {
                TokenLocation { stack: Some(stack), .. } => on_aws::of_stack(stack, new).await?,
                TokenLocation { table: Some(table), .. } => on_aws::of_table(table, new).await?,
                TokenLocation { data: Some(file), .. } => {
                    let store = Sqlite::open(file).map_err(|error| Failure::usage(&error))?;
                    in_store(&store, new, "wfg token create --data").await?
                }
                TokenLocation { .. } => remote()?.client.create_token(&new).await?,
            };
            shown_once(screen, &created)
        }
        TokenCommand::List { json } => {
            let tokens = remote()?.client.tokens().await?;
            if json {
                return print_json(screen, &tokens);
            }
            screen.print(&list_text(&tokens, Millis::now(), screen))
        }
        TokenCommand::Revoke { name } => {
            remote()?.client.revoke_token(&name).await?;
            screen.print(&format!("token {name} is revoked; within a minute it is refused everywhere\n"))
        }
    }
}

#[cfg(feature = "aws")]
mod on_aws {
    use super::{CreatedToken, Failure, NewToken, in_store};

    pub async fn of_stack(stack: &str, new: NewToken) -> Result<CreatedToken, Failure> {
        let store = aws::access_of_stack(stack).await.map_err(|error| Failure::usage(&error))?;
        in_store(&store, new, "wfg token create --stack").await
    }

    pub async fn of_table(table: &str, new: NewToken) -> Result<CreatedToken, Failure> {
        let store = aws::access_of_table(table).await.map_err(|error| Failure::usage(&error))?;
        in_store(&store, new, "wfg token create --table").await
    }
}

#[cfg(not(feature = "aws"))]
mod on_aws {
    use std::future::{Ready, ready};

    use super::{CreatedToken, Failure, NewToken};

    pub fn of_stack(stack: &str, _: NewToken) -> Ready<Result<CreatedToken, Failure>> {
        ready(Err(Failure::without_aws(&format!("the table of {stack}"))))
    }

    pub fn of_table(table: &str, _: NewToken) -> Ready<Result<CreatedToken, Failure>> {
        ready(Err(Failure::without_aws(&format!("the table {table}"))))
    }
}

/// For who has the store itself, as whoever deployed it does.
async fn in_store<S: TokenStore + AuditStore>(store: &S, new: NewToken, how: &str) -> Result<CreatedToken, Failure> {
    let usage = |error: engine::EngineError| Failure::usage(&error);
    let created = access::create(store, new, Millis::now(), [random(), random()]).await.map_err(usage)?;
    let about = Some(created.info.name.clone());
    let entry =
        AuditEntry { subject: about, ..AuditEntry::new(Millis::now(), None, AuditAction::CreateToken, how.to_owned()) };
    store.record(entry, random()).await.map_err(|error| Failure::usage(&error))?;
    Ok(created)
}

/// The token alone on standard output, so that a script can keep it; what it is, beside it.
fn shown_once(screen: &Screen, created: &CreatedToken) -> Result<(), Failure> {
    let TokenInfo { name, expires_at_ms, .. } = &created.info;
    screen
        .eprint(&format!("token {name}, good until {}; this is the only time it is shown:", time::utc(*expires_at_ms)));
    screen.print(&format!("{}\n", created.token))
}

fn asked_for(args: &NewTokenArgs) -> NewToken {
    let labels = args.labels.iter().flatten().cloned().collect();
    let secrets = args.secrets.iter().cloned().collect();
    let permissions = Permissions {
        scopes: args.scopes.iter().copied().collect(),
        labels: if args.all_labels { Allowed::All } else { Allowed::Only(labels) },
        secrets: if args.all_secrets { Allowed::All } else { Allowed::Only(secrets) },
        exclusive: args.exclusive,
    };
    NewToken { name: args.name.clone(), permissions, expires_in_secs: args.expires }
}

fn list_text(tokens: &[TokenInfo], now: Millis, screen: &Screen) -> String {
    let mut table = Table::new(["TOKEN", "SCOPES", "LABELS", "SECRETS", "EXCLUSIVE", "EXPIRES"]);
    for token in tokens {
        let scopes: Vec<&str> = token.permissions.scopes.iter().map(AsRef::as_ref).collect();
        let expires = if token.expires_at_ms <= now {
            "expired".to_owned()
        } else {
            format!("in {}", time::duration(token.expires_at_ms.since(now)))
        };
        table.row([
            token.name.as_str().into(),
            scopes.join(",").into(),
            token.permissions.labels.to_string().into(),
            token.permissions.secrets.to_string().into(),
            if token.permissions.exclusive { "yes" } else { "" }.into(),
            expires.into(),
        ]);
    }
    table.render(screen.out)
}

/// A server's first token, if nobody can make one yet.
pub async fn first<P: Ports>(engine: &Engine<P>) -> Result<Option<String>, Failure> {
    let created = engine.tokens().first().await.map_err(|error| Failure::usage(&error))?;
    Ok(created.map(|created| created.token))
}
