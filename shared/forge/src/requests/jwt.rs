//! The token with which a GitHub App asks for installation tokens: a JWT with RS256.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use protocol::Millis;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

/// The token is valid from this long ago, since the forge's clock may be behind.
const BEFORE: Duration = Duration::from_mins(1);
/// The token is valid for this long from now on. GitHub allows ten minutes.
const AHEAD: Duration = Duration::from_mins(9);

/// Why an App's key can't be used. The text contains nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a private key in PEM.
    #[error("the App's key isn't a private key in PEM (`-----BEGIN RSA PRIVATE KEY-----`)")]
    NotPem,
    /// A key, but not one for RS256.
    #[error("the App's key isn't an RSA key of 2048 bits or more")]
    NotRsa,
}

/// Makes the token of an App, given its id or client id.
///
/// # Errors
/// [`KeyError`] if the key can't sign.
pub fn app_token(app: &str, key: &str, now: Millis) -> Result<String, KeyError> {
    let pair = key_pair(key)?;
    let seconds = now.0 / 1000;
    let header = json!({ "alg": "RS256", "typ": "JWT" }).to_string();
    let claims = json!({
        "iat": seconds.saturating_sub(BEFORE.as_secs()),
        "exp": seconds + AHEAD.as_secs(),
        "iss": app,
    });
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| KeyError::NotRsa)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// Reads PKCS#1 and PKCS#8. A secret may have lost its line ends on the way, so the text may also be the PEM in base64.
fn key_pair(text: &str) -> Result<RsaKeyPair, KeyError> {
    let decoded = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pem = decoded.as_deref().unwrap_or(text);
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::NotPem)? {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return Err(KeyError::NotRsa),
    }
    .map_err(|_| KeyError::NotRsa)
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// Made for the tests with `openssl genrsa -traditional 2048`; it opens nothing.
    const KEY: &str = include_str!("../../../../tests/forge/app-key.pem");
    const NOW: Millis = Millis(1_700_000_000_000);

    #[test]
    fn token_is_signed_by_the_key_and_valid_for_ten_minutes_at_most() {
        for key in [KEY.to_owned(), STANDARD.encode(KEY)] {
            let token = app_token("Iv1.abc", &key, NOW).expect("a key");
            let (signed, signature) = token.rsplit_once('.').expect("three parts");
            let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
            let pair = key_pair(KEY).expect("a key");
            let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
            public.verify(signed.as_bytes(), &signature).expect("signed");
            let claims = signed.split_once('.').expect("two parts").1;
            let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
            assert_eq!(claims, json!({ "iss": "Iv1.abc", "iat": 1_699_999_940, "exp": 1_700_000_540 }));
        }
    }

    #[test]
    fn key_that_cannot_sign_is_named_without_its_text() {
        for bad in ["hunter22", "", "-----BEGIN RSA PRIVATE KEY-----\naHVudGVy\n-----END RSA PRIVATE KEY-----\n"] {
            let error = app_token("1", bad, NOW).expect_err(bad).to_string();
            assert!(error.contains("the App's key") && !error.contains("hunter"), "{error}");
        }
    }
}
