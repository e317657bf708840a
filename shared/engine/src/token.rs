//! A token's text, and what is kept of it.

use std::collections::BTreeSet;
use std::fmt;

use protocol::access::{Allowed, Scope, TokenInfo};
use protocol::{Label, Millis, SecretName, TokenName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ids::{Principal, Random};

/// What every token begins with, so that scanners for lost secrets know one.
const PREFIX: &str = "wfg_";

/// A token as its user has it: `wfg_<name>_<64 hexadecimal digits>`. The name says which record to compare with.
#[derive(Clone)]
pub struct TokenText {
    /// The token's name.
    pub name: TokenName,
    secret: [u8; 32],
}

impl TokenText {
    /// A fresh one.
    #[must_use]
    pub fn new(name: TokenName, [first, second]: [Random; 2]) -> Self {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&first);
        secret[16..].copy_from_slice(&second);
        Self { name, secret }
    }

    /// Reads one; `None` if it can't be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, secret) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
        let read = Self { name: TokenName::new(name).ok()?, secret: hex::decode(secret).ok()?.try_into().ok()? };
        (read.reveal() == text).then_some(read)
    }

    /// The text, for its user only.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.name, hex::encode(self.secret))
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        // 256 random bits can't be guessed, so a plain hash is as good as a slow one.
        TokenHash(hex::encode(Sha256::new().chain_update("token:").chain_update(self.secret).finalize()))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenText({}, …)", self.name)
    }
}

/// The hash of a token's secret part.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    /// Whether they are the same, in a time that doesn't say how much of them is.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// A token as a store keeps it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What it is known by.
    pub name: TokenName,
    /// Of its secret part.
    pub hash: TokenHash,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// Which labels.
    pub labels: Allowed<Label>,
    /// Which secrets.
    pub secrets: Allowed<SecretName>,
    /// Only jobs that ask for a label.
    pub exclusive: bool,
    /// When it was made.
    pub created_at: Millis,
    /// When it ends.
    pub expires_at: Millis,
}

impl TokenRecord {
    /// Whether this is the token, and it is still good.
    #[must_use]
    pub fn admits(&self, text: &TokenText, now: Millis) -> bool {
        self.hash.is(&text.hash()) && now < self.expires_at
    }

    /// What its leases are bound to: a token made again under the same name is another.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::of(self.hash.0.as_bytes())
    }

    /// What is shown of it.
    #[must_use]
    pub fn info(&self) -> TokenInfo {
        TokenInfo {
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            labels: self.labels.clone(),
            secrets: self.secrets.clone(),
            exclusive: self.exclusive,
            created_at_ms: self.created_at,
            expires_at_ms: self.expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> TokenText {
        TokenText::new(TokenName::new(name).expect("a name"), [[1; 16], [2; 16]])
    }

    #[test]
    fn a_token_reads_back_whatever_its_name() {
        for name in ["ci", "ci_staging", "a.b-c_", "_"] {
            let read = TokenText::parse(&text(name).reveal()).expect(name);
            assert_eq!(read.name.as_str(), name);
            assert!(read.hash().is(&text(name).hash()));
        }
        let good = text("ci").reveal();
        let upper = TokenText::new(TokenName::new("ci").expect("a name"), [[0xab; 16]; 2]).reveal().replace("ab", "AB");
        for bad in [
            "",
            "wfg_",
            "wfg_ci_",
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}0"),
            &format!("{good}zz"),
            &upper,
        ] {
            assert!(TokenText::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn neither_a_token_nor_what_is_kept_of_it_shows_in_debug_output() {
        let text = text("ci");
        let shown = format!("{text:?} {:?}", text.hash());
        assert!(!shown.contains("0101") && !shown.contains(&text.hash().0), "{shown}");
        assert!(!text.reveal().contains(&text.hash().0), "what is kept is no token");
    }
}
