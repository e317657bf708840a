//! Token texts and stored token records.

use std::fmt;

use protocol::access::{Permissions, TokenInfo};
use protocol::{Millis, TokenName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ids::{Principal, Random};

/// The prefix of every token. Secret scanners recognise it.
const PREFIX: &str = "wfg_";

/// A token's text: `wfg_<name>_<64 hexadecimal digits>`. The name identifies the stored record.
#[derive(Clone)]
pub struct TokenText {
    /// The token's name.
    pub name: TokenName,
    secret: [u8; 32],
}

impl TokenText {
    /// Creates a random token.
    #[must_use]
    pub fn new(name: TokenName, [first, second]: [Random; 2]) -> Self {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&first);
        secret[16..].copy_from_slice(&second);
        Self { name, secret }
    }

    /// Parses a token. Returns `None` if the text doesn't have a token's form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, secret) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
        let read = Self { name: TokenName::new(name).ok()?, secret: hex::decode(secret).ok()?.try_into().ok()? };
        (read.reveal() == text).then_some(read)
    }

    /// Returns the full text. Show it only to the token's user.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.name, hex::encode(self.secret))
    }

    /// Returns the hash of the secret part, which is what the store keeps.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        // The secret part has 256 random bits, so a fast hash is sufficient.
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
    /// Compares in constant time.
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

/// A stored token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The token's name.
    pub name: TokenName,
    /// The hash of the secret part.
    pub hash: TokenHash,
    /// What the token allows.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// When the token was created.
    pub created_at: Millis,
    /// When the token expires.
    pub expires_at: Millis,
}

impl TokenRecord {
    /// Returns true if the text is this token's and the token has not expired.
    #[must_use]
    pub fn admits(&self, text: &TokenText, now: Millis) -> bool {
        self.hash.is(&text.hash()) && now < self.expires_at
    }

    /// Returns the principal that the token's leases are bound to. A new token with the same name has another
    /// principal.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal::of(self.hash.0.as_bytes())
    }

    /// Returns the token's public information.
    #[must_use]
    pub fn info(&self) -> TokenInfo {
        TokenInfo {
            name: self.name.clone(),
            permissions: self.permissions.clone(),
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
    fn token_with_any_name_parses_back() {
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
    fn debug_output_hides_the_token_and_its_hash() {
        let text = text("ci");
        let shown = format!("{text:?} {:?}", text.hash());
        assert!(!shown.contains("0101") && !shown.contains(&text.hash().0), "{shown}");
        assert!(!text.reveal().contains(&text.hash().0), "what is kept is no token");
    }
}
