//! Creates, checks, lists and revokes tokens.

use std::time::Duration;

use protocol::access::{CreatedToken, NewToken, Scope, TokenInfo};
use protocol::{Millis, TokenName, limit, limits};

use super::{Grant, TokenRecord, TokenText};
use crate::Tokens;
use crate::cache::Cache;
use crate::error::{EngineError, Result};
use crate::ids::Random;
use crate::ports::TokenStore;

/// A token is cached for this long. A revoked token is refused at the latest after this time.
const TTL: Duration = Duration::from_secs(30);
/// After a secret didn't match, the token is read again after this long: a new token may have been created under its
/// name.
const MISMATCH_TTL: Duration = Duration::from_secs(1);
/// Only existing tokens are cached, so clients can't fill the cache with invented names.
const TOKENS_CACHED: usize = 1000;

/// Token records by name.
pub(crate) type TokensCache = Cache<TokenName, TokenRecord>;

pub(crate) fn tokens_cache() -> TokensCache {
    Cache::new(TTL, TOKENS_CACHED)
}

impl<P: TokenStore> Tokens<'_, P> {
    /// Returns the permissions of the token that a caller presents.
    ///
    /// # Errors
    /// [`EngineError::BadToken`] if it is unknown, revoked or expired.
    pub async fn grant_of(self, text: &str) -> Result<Grant> {
        let text = TokenText::parse(text).ok_or(EngineError::BadToken)?;
        let now = self.engine.now();
        for max_age in [TTL, MISMATCH_TTL] {
            let record = self.token(&text.name, max_age).await?.ok_or(EngineError::BadToken)?;
            if record.admits(&text, now) {
                return Ok(Grant::of(&record));
            }
        }
        Err(EngineError::BadToken)
    }

    async fn token(self, name: &TokenName, max_age: Duration) -> Result<Option<TokenRecord>> {
        let now = self.engine.now();
        if let Some(record) = self.engine.caches.tokens.get_younger(name, max_age, now) {
            return Ok(Some(record));
        }
        let record = self.engine.ports.token(name).await?;
        match &record {
            Some(record) => self.engine.caches.tokens.insert(name.clone(), record.clone(), now),
            None => self.engine.caches.tokens.remove(name),
        }
        Ok(record)
    }

    /// Creates a token. The response is the only place where its text appears.
    ///
    /// # Errors
    /// [`EngineError::TokenExists`], [`EngineError::Range`], [`EngineError::NoScopes`].
    pub async fn create(self, new: NewToken) -> Result<CreatedToken> {
        create(&*self.engine.ports, new, self.engine.now(), [self.engine.random(), self.engine.random()]).await
    }

    /// Lists all tokens by name, including recently expired ones.
    pub async fn list(self) -> Result<Vec<TokenInfo>> {
        let mut tokens: Vec<TokenInfo> =
            self.engine.ports.tokens(self.engine.now()).await?.iter().map(TokenRecord::info).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tokens)
    }

    /// Revokes a token. Every process refuses it within 30 s.
    ///
    /// # Errors
    /// [`EngineError::NoToken`].
    pub async fn revoke(self, name: &TokenName) -> Result<()> {
        let there = self.engine.ports.remove_token(name).await?;
        self.engine.caches.tokens.remove(name);
        if there { Ok(()) } else { Err(EngineError::NoToken(name.clone())) }
    }

    /// Creates the first token of a server that requires tokens. It has all permissions and is named `admin`, or
    /// `admin` with a suffix. Returns `None` if a token that can create tokens exists.
    pub async fn first(self) -> Result<Option<CreatedToken>> {
        first(&*self.engine.ports, self.engine.now(), || self.engine.random()).await
    }
}

/// As [`Tokens::first`], directly in a store, for a caller with access to the store.
///
/// # Errors
/// As [`create`].
pub async fn first<S: TokenStore>(store: &S, now: Millis, random: impl Fn() -> Random) -> Result<Option<CreatedToken>> {
    let can = |token: &TokenRecord| token.permissions.scopes.contains(&Scope::Admin) && now < token.expires_at;
    if store.tokens(now).await?.iter().any(can) {
        return Ok(None);
    }
    let another = format!("admin-{}", hex::encode(&random()[..4]));
    for name in ["admin", &another] {
        let new = NewToken::for_everything(TokenName::new(name)?);
        match create(store, new, now, [random(), random()]).await {
            Err(EngineError::TokenExists(_)) => {}
            made => return made.map(Some),
        }
    }
    Err(EngineError::TokenExists(TokenName::new(another)?))
}

/// Creates a token directly in a store, for a caller with access to the store.
///
/// # Errors
/// As [`Tokens::create`], [`EngineError::TooMuch`] for too many tokens.
pub async fn create<S: TokenStore>(store: &S, new: NewToken, now: Millis, random: [Random; 2]) -> Result<CreatedToken> {
    check(&new)?;
    let text = TokenText::new(new.name, random);
    let record = TokenRecord {
        name: text.name.clone(),
        hash: text.hash(),
        permissions: new.permissions,
        created_at: now,
        expires_at: now + Duration::from_secs(new.expires_in_secs),
    };
    EngineError::over(limit!(TOKENS), || "the number of tokens".to_owned(), store.tokens(now).await?.len() + 1)?;
    let info = record.info();
    if !store.put_token(record, now).await? {
        // The stored token is this one if the response to this request's own write was lost and the write was repeated.
        let stored = store.token(&text.name).await?;
        if !stored.is_some_and(|stored| stored.hash.is(&text.hash())) {
            return Err(EngineError::TokenExists(text.name));
        }
    }
    Ok(CreatedToken { token: text.reveal(), info })
}

fn check(new: &NewToken) -> Result<()> {
    if new.permissions.scopes.is_empty() {
        return Err(EngineError::NoScopes);
    }
    let range = |field, value: u64, min: u64, max: u64| {
        if (min..=max).contains(&value) { Ok(()) } else { Err(EngineError::Range { field, value, min, max }) }
    };
    range("expires_in_secs", new.expires_in_secs, *limits::TOKEN_SECS.start(), *limits::TOKEN_SECS.end())?;
    let most = limits::NAMED_PER_TOKEN as u64;
    range("the number of labels", new.permissions.labels.named() as u64, 0, most)?;
    range("the number of secrets", new.permissions.secrets.named() as u64, 0, most)
}
