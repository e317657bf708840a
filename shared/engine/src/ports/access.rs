//! What the engine needs to know who may do what: tokens, who did what, secrets.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use protocol::access::AuditEntry;
use protocol::{Millis, SecretName, Secrets, TokenName};

use super::Stored;
use crate::access::TokenRecord;
use crate::ids::Random;

/// Tokens.
pub trait TokenStore {
    /// Keeps a token, unless one with its name is there that hasn't expired. Whether it did.
    fn put_token(&self, token: TokenRecord, now: Millis) -> impl Future<Output = Stored<bool>> + Send;
    /// A token, as of now.
    fn token(&self, name: &TokenName) -> impl Future<Output = Stored<Option<TokenRecord>>> + Send;
    /// All tokens that haven't expired; some that have may be among them.
    fn tokens(&self) -> impl Future<Output = Stored<Vec<TokenRecord>>> + Send;
    /// Forgets a token. Whether there was one.
    fn remove_token(&self, name: &TokenName) -> impl Future<Output = Stored<bool>> + Send;
}

/// What is kept of who did what is forgotten after this long.
pub const AUDIT_KEPT: Duration = Duration::from_hours(90 * 24);

/// Who did what.
pub trait AuditStore {
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

/// Secrets.
pub trait SecretStore {
    /// The values of those that there are.
    fn secrets(&self, names: &BTreeSet<SecretName>) -> impl Future<Output = Stored<Secrets>> + Send;
}

/// Where a store that is local has its secrets from, such as a file.
pub trait SecretSource: Send + Sync {
    /// The values of those that there are.
    ///
    /// # Errors
    /// If they can't be read now.
    fn read(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets>;
}

impl SecretSource for Secrets {
    fn read(&self, names: &BTreeSet<SecretName>) -> Stored<Secrets> {
        Ok(names.iter().filter_map(|name| Some((name.clone(), self.get(name)?.clone()))).collect())
    }
}
