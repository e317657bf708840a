//! `wfg token`: creates, lists and revokes tokens, through a server or directly in the store.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use engine::Engine;
use engine::access;
use engine::ids::random;
use engine::ports::{AuditStore, Ports, TokenStore};
use protocol::access::{Allowed, AuditAction, AuditEntry, CreatedToken, NewToken, Permissions, Scope, TokenInfo};
use protocol::limits::TOKEN_SECS;
use protocol::time::parse_duration;
use protocol::{LabelSet, Millis, SecretName, TokenName};
use sqlite::Sqlite;

use crate::context::{Context, JsonArg};
use crate::failure::Failure;
use crate::screen::{Paint, eprint};
use crate::table::Table;
use crate::time;

/// Subcommands of `wfg token`.
#[derive(Subcommand)]
pub enum TokenCommand {
    /// Create a token and print it, once
    Create(Box<NewTokenArgs>),
    /// List the tokens, without their texts
    List(JsonArg),
    /// Revoke a token: within a minute it is refused everywhere
    Revoke {
        /// Its name
        name: TokenName,
    },
}

/// Arguments of `wfg token create`.
#[derive(Args)]
pub struct NewTokenArgs {
    /// Name of the token
    name: TokenName,
    /// What the token may be used for: read, submit, work, admin, approve; separated by commas
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// Labels that its workers may have and its jobs may require; separated by commas [default: none]
    #[arg(long, value_name = "LABELS", value_parser = LabelSet::from_comma_separated)]
    labels: Option<LabelSet>,
    /// All labels
    #[arg(long, conflicts_with = "labels")]
    all_labels: bool,
    /// Secrets that its workers get and its jobs may name; separated by commas [default: none]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    secrets: Vec<SecretName>,
    /// All secrets
    #[arg(long, conflicts_with = "secrets")]
    all_secrets: bool,
    /// Its workers claim only jobs that require a label
    #[arg(long)]
    exclusive: bool,
    /// How long the token is valid, such as 12h or 90d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_expiry)]
    expires: u64,
    /// In the table of this stack on AWS; needs AWS credentials
    #[arg(long, value_name = "NAME", group = "location")]
    stack: Option<String>,
    /// In this table on AWS: of a stack that was deleted, or a table that was restored
    #[arg(long, value_name = "NAME", group = "location")]
    table: Option<String>,
    /// In this file of a `wfg serve` that isn't running
    #[arg(long, value_name = "FILE", group = "location")]
    data: Option<PathBuf>,
}

/// Parses the time for which a token may be valid; returns seconds.
fn parse_expiry(text: &str) -> Result<u64, String> {
    let time = parse_duration(text).map_err(|_| format!("{text:?} is not a time such as 12h or 90d"))?;
    let secs = time.as_secs();
    if TOKEN_SECS.contains(&secs) {
        return Ok(secs);
    }
    let (least, most) = (TOKEN_SECS.start() / 60, TOKEN_SECS.end() / (24 * 60 * 60));
    Err(format!("a token may be valid for {least}m to {most}d"))
}

impl TokenCommand {
    /// Runs the subcommand.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Create(args) => {
                let (created, recorded) = create(context, *args).await?;
                let TokenInfo { name, expires_at_ms, .. } = &created.info;
                let until = time::utc(*expires_at_ms);
                eprint(&format!("token {name}, good until {until}; this is the only time it is shown:"));
                // Alone on standard output, so that a script can store it.
                context.screen.print(&format!("{}\n", created.token))?;
                recorded
            }
            Self::List(format) => {
                let tokens = context.remote()?.client.tokens().await?;
                if tokens.is_empty() && !format.json {
                    eprint("there are no tokens; `wfg token create` makes one");
                    return Ok(());
                }
                context.show(&format, &tokens, |tokens| list_text(tokens, Millis::now(), context.screen.out))
            }
            Self::Revoke { name } => {
                context.remote()?.client.revoke_token(&name).await?;
                context.screen.print(&format!("token {name} is revoked; within a minute it is refused everywhere\n"))
            }
        }
    }
}

/// A token, and whether its creation is in the audit log. The token exists and its text must be shown in any case.
pub type Created = (CreatedToken, Result<(), Failure>);

async fn create(context: &Context, args: NewTokenArgs) -> Result<Created, Failure> {
    let NewTokenArgs { stack, table, data, .. } = &args;
    match (stack, table, data) {
        (Some(stack), ..) => on_aws::of_stack(stack, args.token()).await,
        (_, Some(table), _) => on_aws::of_table(table, args.token()).await,
        (_, _, Some(file)) => {
            let store = Sqlite::open(file).map_err(|error| Failure::usage(&error))?;
            in_store(&store, args.token(), "wfg token create --data").await
        }
        // The server records it.
        _ => Ok((context.remote()?.client.create_token(&args.token()).await?, Ok(()))),
    }
}

impl NewTokenArgs {
    fn token(&self) -> NewToken {
        let labels = || Allowed::Only(self.labels.iter().flatten().cloned().collect());
        let secrets = || Allowed::Only(self.secrets.iter().cloned().collect());
        let permissions = Permissions {
            scopes: self.scopes.iter().copied().collect(),
            labels: if self.all_labels { Allowed::All } else { labels() },
            secrets: if self.all_secrets { Allowed::All } else { secrets() },
            exclusive: self.exclusive,
        };
        NewToken { name: self.name.clone(), permissions, expires_in_secs: self.expires }
    }
}

#[cfg(feature = "aws")]
mod on_aws {
    use super::{Created, Failure, NewToken, in_store};

    pub async fn of_stack(stack: &str, new: NewToken) -> Result<Created, Failure> {
        let store = aws::access_of_stack(stack, client::Http::new()).await.map_err(|error| Failure::usage(&error))?;
        in_store(&store, new, "wfg token create --stack").await
    }

    pub async fn of_table(table: &str, new: NewToken) -> Result<Created, Failure> {
        let store = aws::access_of_table(table).await.map_err(|error| Failure::usage(&error))?;
        in_store(&store, new, "wfg token create --table").await
    }
}

#[cfg(not(feature = "aws"))]
mod on_aws {
    use std::future::{Ready, ready};

    use super::{Created, Failure, NewToken};

    pub fn of_stack(stack: &str, _: NewToken) -> Ready<Result<Created, Failure>> {
        ready(Err(Failure::without_aws(&format!("the table of {stack}"))))
    }

    pub fn of_table(table: &str, _: NewToken) -> Ready<Result<Created, Failure>> {
        ready(Err(Failure::without_aws(&format!("the table {table}"))))
    }
}

/// Creates a token in the store, for an operator who has access to it, and writes an audit entry.
async fn in_store<S: TokenStore + AuditStore>(store: &S, new: NewToken, how: &str) -> Result<Created, Failure> {
    let usage = |error: engine::EngineError| Failure::usage(&error);
    let created = access::create(store, new, Millis::now(), [random(), random()]).await.map_err(usage)?;
    let recorded = record(store, &created, how).await;
    Ok((created, recorded))
}

async fn record<S: AuditStore>(store: &S, created: &CreatedToken, how: &str) -> Result<(), Failure> {
    let about = Some(created.info.name.clone());
    let entry =
        AuditEntry { subject: about, ..AuditEntry::new(Millis::now(), None, AuditAction::CreateToken, how.to_owned()) };
    store.record(entry, random()).await.map_err(|error| {
        Failure::Usage(format!(
            "token {} was created, but its creation is not in the audit log: {error}.",
            created.info.name
        ))
    })
}

/// Creates the first token directly in a store, unless a token exists that can create tokens.
#[cfg(feature = "aws")]
pub async fn first_in_store<S: TokenStore + AuditStore>(store: &S, how: &str) -> Result<Option<Created>, Failure> {
    let created = access::first(store, Millis::now(), random).await.map_err(|error| Failure::usage(&error))?;
    let Some(created) = created else { return Ok(None) };
    let recorded = record(store, &created, how).await;
    Ok(Some((created, recorded)))
}

fn list_text(tokens: &[TokenInfo], now: Millis, paint: Paint) -> String {
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
    table.render(paint)
}

/// Creates a server's first token, unless there are tokens already.
pub async fn first<P: Ports>(engine: &Engine<P>) -> Result<Option<String>, Failure> {
    let created = engine.tokens().first().await.map_err(|error| Failure::usage(&error))?;
    Ok(created.map(|created| created.token))
}

#[cfg(test)]
mod tests {
    use engine::access::TokenRecord;
    use engine::ids::Random;
    use engine::ports::{AuditCursor, StoreError, Stored};
    use memory::Memory;

    use super::*;

    /// A store whose audit log can't be written.
    #[derive(Default)]
    struct WithoutAudit(Memory);

    impl TokenStore for WithoutAudit {
        async fn put_token(&self, token: TokenRecord, now: Millis) -> Stored<bool> {
            self.0.put_token(token, now).await
        }
        async fn token(&self, name: &TokenName) -> Stored<Option<TokenRecord>> {
            self.0.token(name).await
        }
        async fn tokens(&self, now: Millis) -> Stored<Vec<TokenRecord>> {
            self.0.tokens(now).await
        }
        async fn remove_token(&self, name: &TokenName) -> Stored<bool> {
            self.0.remove_token(name).await
        }
    }

    impl AuditStore for WithoutAudit {
        async fn record(&self, _: AuditEntry, _: Random) -> Stored<()> {
            Err(StoreError::Unavailable("throttled".to_owned()))
        }
        async fn entries(&self, _: Option<&AuditCursor>, _: usize) -> Stored<Vec<(AuditCursor, AuditEntry)>> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn token_is_returned_with_its_text_if_its_creation_can_not_be_recorded() {
        let store = WithoutAudit::default();
        let new = NewToken {
            name: TokenName::new("ci").expect("a name"),
            permissions: Permissions::all(),
            expires_in_secs: 3600,
        };
        let (created, recorded) = in_store(&store, new, "a test").await.expect("the token was created");
        assert!(created.token.contains("ci") && created.token.len() > 40, "{}", created.token.len());
        let failure = recorded.expect_err("the audit log can't be written");
        assert_eq!(failure.exit_code(), 2);
        assert!(
            failure.to_string().contains("token ci was created") && failure.to_string().contains("throttled"),
            "{failure}"
        );
        assert_eq!(store.tokens(Millis::now()).await.expect("memory answers").len(), 1);
    }
}
