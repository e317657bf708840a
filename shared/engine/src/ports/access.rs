//! What the engine needs to know who may do what: tokens, who did what, secrets.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use protocol::access::AuditEntry;
use protocol::{Millis, SecretName, Secrets, TokenName};

use super::Stored;
use crate::ids::Random;
use crate::token::TokenRecord;

/// Tokens.
pub trait TokenStore: Send + Sync {
    /// Keeps a token, unless one with its name is there that hasn't expired. Whether it did.
    fn put_token(&self, token: TokenRecord, now: Millis) -> impl Future<Output = Stored<bool>> + Send;
    /// A token, as of now.
    fn token(&self, name: &TokenName) -> impl Future<Output = Stored<Option<TokenRecord>>> + Send;
    /// All tokens that haven't expired; some that have may be among them.
    fn tokens(&self, now: Millis) -> impl Future<Output = Stored<Vec<TokenRecord>>> + Send;
    /// Forgets a token. Whether there was one.
    fn remove_token(&self, name: &TokenName) -> impl Future<Output = Stored<bool>> + Send;
}

/// What is kept of who did what is forgotten after this long.
pub const AUDIT_KEPT: Duration = Duration::from_hours(90 * 24);

/// Who did what.
pub trait AuditStore: Send + Sync {
    /// Adds an entry, under an id that tells entries of the same moment apart.
    fn record(&self, entry: AuditEntry, id: Random) -> impl Future<Output = Stored<()>> + Send;
    /// Up to `limit` entries, newest first, from the one after `after` on.
    fn entries(
        &self,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<(AuditCursor, AuditEntry)>>> + Send;
}

/// Where a list of entries goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    /// Of the last entry seen.
    pub at: Millis,
    /// Its id.
    pub id: Random,
}

/// A source of secrets, such as a file. The caller gives one to the engine; the other ports have none.
pub trait SecretStore: Send + Sync {
    /// The values of those secrets that exist.
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>>;
}

impl SecretStore for Secrets {
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        let found = names.iter().filter_map(|name| Some((name.clone(), self.get(name)?.clone())));
        let found = Ok(found.collect());
        Box::pin(async move { found })
    }
}
