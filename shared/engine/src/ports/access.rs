//! Ports for access control: tokens, the audit log and secrets.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;
use protocol::access::AuditEntry;
use protocol::{Millis, SecretName, Secrets, TokenName, limits};

use super::Stored;
use crate::ids::Random;
use crate::token::TokenRecord;

/// Stores tokens.
pub trait TokenStore: Send + Sync {
    /// Stores a token, unless an unexpired one with the same name exists. Returns true if it did.
    fn put_token(&self, token: TokenRecord, now: Millis) -> impl Future<Output = Stored<bool>> + Send;
    /// Returns a token. Strongly consistent.
    fn token(&self, name: &TokenName) -> impl Future<Output = Stored<Option<TokenRecord>>> + Send;
    /// Returns all unexpired tokens. Expired ones may be among them.
    fn tokens(&self, now: Millis) -> impl Future<Output = Stored<Vec<TokenRecord>>> + Send;
    /// Removes a token. Returns true if it existed.
    fn remove_token(&self, name: &TokenName) -> impl Future<Output = Stored<bool>> + Send;
}

/// Audit entries are removed after this long.
pub const AUDIT_KEPT: Duration = limits::RETENTION;

/// Stores the audit log.
pub trait AuditStore: Send + Sync {
    /// Adds an entry. The id distinguishes entries of the same time.
    fn record(&self, entry: AuditEntry, id: Random) -> impl Future<Output = Stored<()>> + Send;
    /// Returns up to `limit` entries, newest first, starting after `after`.
    fn entries(
        &self,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> impl Future<Output = Stored<Vec<(AuditCursor, AuditEntry)>>> + Send;
}

/// The position at which a list of audit entries continues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    /// The time of the last entry returned.
    pub at: Millis,
    /// The id of the last entry returned.
    pub id: Random,
}

/// A source of secrets, such as a file. The caller gives one to the engine. No other port returns secrets.
pub trait SecretStore: Send + Sync {
    /// Returns the values of those secrets that exist.
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>>;
}

impl SecretStore for Secrets {
    fn secrets<'a>(&'a self, names: &'a BTreeSet<SecretName>) -> BoxFuture<'a, Stored<Secrets>> {
        let found = names.iter().filter_map(|name| Some((name.clone(), self.get(name)?.clone())));
        let found = Ok(found.collect());
        Box::pin(async move { found })
    }
}
