//! Permissions: what a token allows, and the use cases that create, check and revoke tokens.
//!
//! The caller is part of an [`Engine`](crate::Engine): [`Engine::acting_for`](crate::Engine::acting_for) returns an
//! engine with the permissions of a [`Grant`]. A server without tokens acts with [`Grant::open`].

mod authorization;
mod tokens;

use std::collections::BTreeSet;

use protocol::access::{Allowed, Permissions, Scope};
use protocol::{LabelSet, Millis, SecretName, TokenName};

pub use crate::token::{TokenHash, TokenRecord, TokenText};
pub(crate) use tokens::{TokensCache, tokens_cache};
pub use tokens::{create, first};

use crate::error::{EngineError, Result};
use crate::ids::Principal;

/// A caller's permissions.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The token's name, if there is one.
    pub name: Option<TokenName>,
    /// The principal that the caller's leases are bound to.
    pub principal: Principal,
    /// What the token allows.
    pub permissions: Permissions,
    /// When the token expires.
    pub expires_at: Option<Millis>,
}

impl Grant {
    /// All permissions, for a server without tokens.
    #[must_use]
    pub fn open() -> Self {
        Self { name: None, principal: Principal::default(), permissions: Permissions::all(), expires_at: None }
    }

    /// The permissions of a token.
    #[must_use]
    pub fn of(token: &TokenRecord) -> Self {
        Self {
            name: Some(token.name.clone()),
            principal: token.principal(),
            permissions: token.permissions.clone(),
            expires_at: Some(token.expires_at),
        }
    }

    /// Returns true if the caller's jobs may use any label and secret.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.permissions.labels == Allowed::All && self.permissions.secrets == Allowed::All
    }

    /// Returns true if the caller has one of these scopes.
    #[must_use]
    pub fn has(&self, any_of: &[Scope]) -> bool {
        any_of.iter().any(|scope| self.permissions.scopes.contains(scope))
    }

    /// Returns true if the caller's workers may run jobs that name these secrets.
    #[must_use]
    pub fn may_have(&self, secrets: &BTreeSet<SecretName>) -> bool {
        secrets.iter().all(|secret| self.permissions.secrets.has(secret))
    }

    /// Refuses labels that the caller's token doesn't allow.
    ///
    /// # Errors
    /// [`EngineError::LabelsNotAllowed`], with the refused labels.
    pub fn check_labels(&self, labels: &LabelSet) -> Result<()> {
        let refused = self.permissions.labels.refused(labels);
        if refused.is_empty() {
            return Ok(());
        }
        Err(EngineError::LabelsNotAllowed { refused, allowed: self.permissions.labels.to_string() })
    }

    /// Refuses groups whose names the caller's token doesn't allow as labels.
    ///
    /// # Errors
    /// [`EngineError::GroupsNotAllowed`], with the refused groups.
    pub fn check_groups(&self, groups: &LabelSet) -> Result<()> {
        let refused = self.permissions.labels.refused(groups);
        if refused.is_empty() {
            return Ok(());
        }
        Err(EngineError::GroupsNotAllowed { refused, allowed: self.permissions.labels.to_string() })
    }

    /// Refuses secrets that the caller's token doesn't allow, for a submission.
    ///
    /// # Errors
    /// [`EngineError::SecretNotAllowed`], with the first refused secret.
    pub fn check_secrets<'a>(&self, mut secrets: impl Iterator<Item = &'a SecretName>) -> Result<()> {
        match secrets.find(|secret| !self.permissions.secrets.has(secret)) {
            Some(secret) => Err(EngineError::SecretNotAllowed(secret.clone())),
            None => Ok(()),
        }
    }
}
