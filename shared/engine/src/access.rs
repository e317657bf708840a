//! Who may do what: what a token allows, and the use cases that make, find and revoke tokens.
//!
//! Who calls is part of an [`Engine`](crate::Engine): [`Engine::acting_for`](crate::Engine::acting_for) makes one that may
//! do what a [`Grant`] says. What isn't asked for a token acts with [`Grant::open`].

mod authorization;
mod tokens;

use std::collections::BTreeSet;

use protocol::access::{Allowed, Scope};
use protocol::{Label, LabelSet, SecretName, TokenName};

pub use crate::token::{TokenHash, TokenRecord, TokenText};
pub use tokens::create;
pub(crate) use tokens::{TokensCache, tokens_cache};

use crate::error::{EngineError, Result};
use crate::ids::Principal;

/// What a caller may do.
#[derive(Clone, Debug)]
pub struct Grant {
    name: Option<TokenName>,
    principal: Principal,
    scopes: BTreeSet<Scope>,
    labels: Allowed<Label>,
    secrets: Allowed<SecretName>,
    exclusive: bool,
}

impl Grant {
    /// For a server that asks for no tokens: everything.
    #[must_use]
    pub fn open() -> Self {
        Self {
            name: None,
            principal: Principal::default(),
            scopes: Scope::ALL.into(),
            labels: Allowed::All,
            secrets: Allowed::All,
            exclusive: false,
        }
    }

    /// What a token allows.
    #[must_use]
    pub fn of(token: &TokenRecord) -> Self {
        Self {
            name: Some(token.name.clone()),
            principal: token.principal(),
            scopes: token.scopes.clone(),
            labels: token.labels.clone(),
            secrets: token.secrets.clone(),
            exclusive: token.exclusive,
        }
    }

    /// The token's name, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&TokenName> {
        self.name.as_ref()
    }

    /// What a lease is bound to that this caller is given.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the caller may only take jobs that ask for a label.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether the caller's jobs may ask for anything.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.labels == Allowed::All && self.secrets == Allowed::All
    }

    /// Whether the caller has one of these scopes.
    #[must_use]
    pub fn has(&self, any_of: &[Scope]) -> bool {
        any_of.iter().any(|scope| self.scopes.contains(scope))
    }

    /// Whether jobs that name these secrets may be given to the caller's workers.
    #[must_use]
    pub fn may_have(&self, secrets: &BTreeSet<SecretName>) -> bool {
        secrets.iter().all(|secret| self.secrets.has(secret))
    }

    /// Refuses labels that the token doesn't name, for whoever declares or asks for them.
    ///
    /// # Errors
    /// [`EngineError::LabelsNotAllowed`], naming them.
    pub fn check_labels(&self, labels: &LabelSet) -> Result<()> {
        let refused = self.labels.refused(labels);
        if refused.is_empty() {
            return Ok(());
        }
        Err(EngineError::LabelsNotAllowed { refused, allowed: self.labels.to_string() })
    }

    /// Refuses secrets that the token doesn't name, for who submits a job that asks for them.
    ///
    /// # Errors
    /// [`EngineError::SecretNotAllowed`], naming the first.
    pub fn check_secrets<'a>(&self, mut secrets: impl Iterator<Item = &'a SecretName>) -> Result<()> {
        match secrets.find(|secret| !self.secrets.has(secret)) {
            Some(secret) => Err(EngineError::SecretNotAllowed(secret.clone())),
            None => Ok(()),
        }
    }
}
