//! Tokens with which the forge is asked: the one that the link names, or an App's, minted for an hour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use engine::clock::Clock;
use engine::forge::link::{Access, Link};
use engine::forge::ports::ForgeError;
use engine::ports::SecretStore;
use protocol::wire::FORGE_APP_KEY;
use protocol::{Millis, SecretName, SecretValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::api::{failure, no_answer};
use super::http::{Call, Origin};
use super::jwt;

/// A minted token isn't used for this long before its end.
const MARGIN: Duration = Duration::from_mins(5);
/// Minted tokens that are kept.
const KEPT: usize = 1000;

/// A token of the forge.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub value: SecretValue,
    /// When a minted one ends.
    pub expires_at: Option<Millis>,
}

/// What a minted token is for: the forge, the App, its installation, and the repository.
type Minted = BTreeMap<(String, String, u64, u64), Token>;

/// Reads and mints tokens.
pub(crate) struct Tokens {
    secrets: Arc<dyn SecretStore>,
    clock: Arc<dyn Clock>,
    minted: Mutex<Minted>,
}

/// The name of the secret that has the private key of a GitHub App: `FORGE_APP_KEY_<id>`.
#[must_use]
pub fn app_key_name(app: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' };
    format!("{FORGE_APP_KEY}{}", app.chars().map(plain).collect::<String>())
}

#[derive(Deserialize)]
struct Answered {
    token: String,
    expires_at: String,
}

impl Tokens {
    pub(crate) fn new(secrets: Arc<dyn SecretStore>, clock: Arc<dyn Clock>) -> Self {
        Self { secrets, clock, minted: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The token for requests to the forge about the link's repository.
    pub(crate) async fn of(&self, origin: &Origin, link: &Link) -> Result<Token, ForgeError> {
        let (app, installation) = match &link.access {
            Access::Token(name) => return Ok(Token { value: self.secret(name).await?, expires_at: None }),
            Access::App { id, installation } => (id, *installation),
        };
        let key = (origin.base(), app.clone(), installation, link.key.repository);
        // One request for all who ask meanwhile.
        let mut minted = self.minted.lock().await;
        if let Some(token) = minted.get(&key).filter(|token| self.is_fresh(token)) {
            return Ok(token.clone());
        }
        let mut wanted = json!({});
        if link.key.repository != 0 {
            wanted["repository_ids"] = json!([link.key.repository]);
        }
        let token = self.mint(origin, app, installation, wanted).await?;
        if minted.len() >= KEPT {
            minted.retain(|_, token| self.is_fresh(token));
        }
        minted.insert(key, token.clone());
        Ok(token)
    }

    /// Drops the token that was refused.
    pub(crate) async fn forget(&self, refused: &Token) {
        self.minted.lock().await.retain(|_, token| token.value != refused.value);
    }

    /// A token that reads the contents of the link's repository and does nothing else.
    pub(crate) async fn reading(&self, origin: &Origin, link: &Link) -> Result<Token, ForgeError> {
        match &link.access {
            Access::Token(name) => Ok(Token { value: self.secret(name).await?, expires_at: None }),
            Access::App { id, installation } => {
                let wanted = json!({ "repository_ids": [link.key.repository], "permissions": { "contents": "read" } });
                self.mint(origin, id, *installation, wanted).await
            }
        }
    }

    /// The App's own token, for requests about the App.
    pub(crate) async fn app(&self, app: &str) -> Result<String, ForgeError> {
        let name = SecretName::new(app_key_name(app)).map_err(|error| ForgeError::NoCredentials(error.to_string()))?;
        let key = self.secret(&name).await?;
        jwt::app_token(app, key.reveal(), self.now()).map_err(|error| ForgeError::NoCredentials(error.to_string()))
    }

    fn is_fresh(&self, token: &Token) -> bool {
        token.expires_at.is_none_or(|at| at > self.now() + MARGIN)
    }

    async fn mint(&self, origin: &Origin, app: &str, installation: u64, wanted: Value) -> Result<Token, ForgeError> {
        let jwt = self.app(app).await?;
        let call = Call::post(format!("/app/installations/{installation}/access_tokens"), wanted);
        let call =
            call.header("authorization", format!("Bearer {jwt}")).header("accept", "application/vnd.github+json");
        let answer = origin.send(&call).await.map_err(no_answer)?;
        if !answer.is_success() {
            return Err(failure(&answer, self.now()));
        }
        let Answered { token, expires_at } = answer.json().map_err(no_answer)?;
        let value = SecretValue::new(token).map_err(|error| ForgeError::BadAnswer(format!("its token: {error}")))?;
        let bad = || ForgeError::BadAnswer(format!("a token that expires at {expires_at:?}"));
        let expires_at = millis(&expires_at).ok_or_else(bad)?;
        Ok(Token { value, expires_at: Some(expires_at) })
    }

    async fn secret(&self, name: &SecretName) -> Result<SecretValue, ForgeError> {
        let names = [name.clone()].into();
        let found = self.secrets.secrets(&names).await;
        let found = found.map_err(|error| ForgeError::NoCredentials(format!("secret {name}: {error}")))?;
        found.get(name).cloned().ok_or_else(|| ForgeError::NoCredentials(format!("there is no secret {name}")))
    }
}

/// A time as GitHub writes it: `2026-07-01T12:00:00Z`.
pub(crate) fn millis(text: &str) -> Option<Millis> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Millis)
}

/// A time as GitHub reads it.
pub(crate) fn iso(at: Millis) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at.0)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_forge() {
        assert_eq!(millis("2023-11-14T22:13:20Z"), Some(Millis(1_700_000_000_000)));
        assert_eq!(iso(Millis(1_700_000_000_999)), "2023-11-14T22:13:20Z");
        assert_eq!(millis("yesterday"), None);
    }

    #[test]
    fn every_app_has_a_key_of_its_own_name() {
        assert_eq!(app_key_name("12345"), "FORGE_APP_KEY_12345");
        assert_eq!(app_key_name("Iv23li.x"), "FORGE_APP_KEY_IV23LI_X");
    }
}
