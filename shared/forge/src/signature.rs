//! Checks who sent a delivery: the signature of its raw bytes, under one of the link's secrets.
//!
//! Only SHA-256 is accepted. A comparison takes the same time wherever two values differ.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::forge::link::ForgeKind;
use hmac::{Hmac, KeyInit, Mac};
use protocol::{Millis, SecretValue};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// How much older or newer than now a delivery's signed time may be.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// Why a delivery isn't accepted. The answer to the sender names none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No header that this forge signs with.
    #[error("the signature is missing")]
    Missing,
    /// A signature, but of other bytes or under another secret.
    #[error("the signature is wrong")]
    Wrong,
    /// Signed, but more than five minutes ago or ahead.
    #[error("the signed time is more than five minutes from now")]
    Old,
}

/// Checks a delivery of this kind of forge. `header` returns a header's value by its name in lower case; `secrets` are the valid ones, at most two.
///
/// # Errors
/// [`Refused`] if no secret fits. An empty secret never fits.
pub fn check<'a>(
    forge: ForgeKind,
    header: impl Fn(&str) -> Option<&'a str>,
    body: &[u8],
    secrets: &[SecretValue],
    now: Millis,
) -> Result<(), Refused> {
    match forge {
        ForgeKind::Github => {
            let given = header("x-hub-signature-256").ok_or(Refused::Missing)?;
            verify_hex(given.strip_prefix("sha256=").ok_or(Refused::Wrong)?, body, secrets)
        }
        ForgeKind::Gitea => {
            let given = header("x-gitea-signature").or_else(|| header("x-forgejo-signature"));
            verify_hex(given.ok_or(Refused::Missing)?, body, secrets)
        }
        ForgeKind::Gitlab => {
            if let Some(given) = header("webhook-signature") {
                let id = header("webhook-id").ok_or(Refused::Missing)?;
                let time = header("webhook-timestamp").ok_or(Refused::Missing)?;
                return check_standard(given, id, time, body, secrets, now);
            }
            let given = header("x-gitlab-token").ok_or(Refused::Missing)?;
            any(keys(secrets).map(|key| bool::from(given.as_bytes().ct_eq(key))))
        }
    }
}

/// The keys that may sign. Anybody can sign with an empty one.
fn keys(secrets: &[SecretValue]) -> impl Iterator<Item = &[u8]> {
    secrets.iter().map(|secret| secret.reveal().as_bytes()).filter(|key| !key.is_empty())
}

/// Looks at all of them, so that the time doesn't tell which one fits.
fn any(fits: impl Iterator<Item = bool>) -> Result<(), Refused> {
    if fits.fold(false, |found, fits| found | fits) { Ok(()) } else { Err(Refused::Wrong) }
}

fn verify_hex(given: &str, body: &[u8], secrets: &[SecretValue]) -> Result<(), Refused> {
    let given = hex::decode(given).map_err(|_| Refused::Wrong)?;
    any(keys(secrets).map(|key| fits(key, body, &given)))
}

/// Compares in constant time; a signature that isn't 32 bytes doesn't fit.
fn fits(key: &[u8], signed: &[u8], given: &[u8]) -> bool {
    mac(key, signed).verify_slice(given).is_ok()
}

/// The signature of the Standard Webhooks convention: `v1,BASE64`, several of them separated by spaces.
fn check_standard(
    given: &str,
    id: &str,
    time: &str,
    body: &[u8],
    secrets: &[SecretValue],
    now: Millis,
) -> Result<(), Refused> {
    let signed = [id.as_bytes(), b".", time.as_bytes(), b".", body].concat();
    let given: Vec<Vec<u8>> =
        given.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok()).collect();
    let keys: Vec<Vec<u8>> = keys(secrets).map(standard_key).filter(|key| !key.is_empty()).collect();
    any(keys.iter().flat_map(|key| given.iter().map(|given| fits(key, &signed, given))))?;
    let seconds: u64 = time.parse().map_err(|_| Refused::Wrong)?;
    let distance = now.0.abs_diff(seconds.saturating_mul(1000));
    if u128::from(distance) > TOLERANCE.as_millis() { Err(Refused::Old) } else { Ok(()) }
}

/// `whsec_BASE64` is the form in which the convention writes a key; any other text is the key itself.
fn standard_key(text: &[u8]) -> Vec<u8> {
    text.strip_prefix(b"whsec_").and_then(|coded| STANDARD.decode(coded).ok()).unwrap_or_else(|| text.to_vec())
}

/// The HMAC-SHA256 of these bytes. For tests and senders.
#[must_use]
pub fn sign(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    mac(key, bytes).finalize().into_bytes().to_vec()
}

fn mac(key: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key of any length is one");
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"a": 1}"#;
    const NOW: Millis = Millis(1_700_000_000_000);

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.to_owned()).expect("a value")
    }

    fn checked(forge: ForgeKind, headers: &[(&str, &str)], secrets: &[&str]) -> Result<(), Refused> {
        let secrets: Vec<SecretValue> = secrets.iter().map(|text| secret(text)).collect();
        let header = |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        check(forge, header, BODY, &secrets, NOW)
    }

    fn hex_of(key: &str, bytes: &[u8]) -> String {
        hex::encode(sign(key.as_bytes(), bytes))
    }

    #[test]
    fn signature_of_the_raw_bytes_under_either_secret_is_accepted() {
        for key in ["old", "new"] {
            let github = format!("sha256={}", hex_of(key, BODY));
            assert_eq!(checked(ForgeKind::Github, &[("x-hub-signature-256", &github)], &["old", "new"]), Ok(()));
            for name in ["x-gitea-signature", "x-forgejo-signature"] {
                assert_eq!(checked(ForgeKind::Gitea, &[(name, &hex_of(key, BODY))], &["old", "new"]), Ok(()));
            }
            assert_eq!(checked(ForgeKind::Gitlab, &[("x-gitlab-token", key)], &["old", "new"]), Ok(()));
        }
    }

    #[test]
    fn missing_empty_sha1_reencoded_and_foreign_signatures_are_refused() {
        let with = |value: &str| checked(ForgeKind::Github, &[("x-hub-signature-256", value)], &["key"]);
        assert_eq!(checked(ForgeKind::Github, &[], &["key"]), Err(Refused::Missing));
        assert_eq!(checked(ForgeKind::Github, &[("x-hub-signature", "sha1=00")], &["key"]), Err(Refused::Missing));
        let reencoded = hex_of("key", br#"{"a":1}"#);
        let good = hex_of("key", BODY);
        for wrong in [
            String::new(),
            "sha256=".to_owned(),
            format!("sha1={}", &good[..40]),
            good.clone(),
            format!("sha256={reencoded}"),
            format!("sha256={}", hex_of("", BODY)),
            format!("sha256={}", &good[..62]),
            format!("sha256={good}00"),
        ] {
            assert_eq!(with(&wrong), Err(Refused::Wrong), "{wrong}");
        }
        assert_eq!(with(&format!("sha256={good}")), Ok(()));
        assert_eq!(
            checked(ForgeKind::Github, &[("x-hub-signature-256", &format!("sha256={good}"))], &[]),
            Err(Refused::Wrong)
        );
        assert_eq!(checked(ForgeKind::Gitlab, &[("x-gitlab-token", "")], &["key"]), Err(Refused::Wrong));
        assert_eq!(checked(ForgeKind::Gitlab, &[("x-gitlab-token", "ke")], &["key"]), Err(Refused::Wrong));
    }

    #[test]
    fn signed_time_may_be_five_minutes_off_and_no_more() {
        let at = |seconds: u64, id: &str| {
            let time = seconds.to_string();
            let signed = [b"id-1.", time.as_bytes(), b".", BODY].concat();
            let given = format!("v1,AAAA v1,{}", STANDARD.encode(sign(b"key", &signed)));
            let headers = [("webhook-signature", &*given), ("webhook-id", id), ("webhook-timestamp", &*time)];
            checked(ForgeKind::Gitlab, &headers, &["key"])
        };
        let now = NOW.0 / 1000;
        assert_eq!(at(now - 300, "id-1"), Ok(()));
        assert_eq!(at(now + 300, "id-1"), Ok(()));
        assert_eq!(at(now - 301, "id-1"), Err(Refused::Old));
        assert_eq!(at(now, "id-2"), Err(Refused::Wrong), "the id is signed");
        // A signature that doesn't fit isn't replaced by a token that does.
        let headers = [
            ("webhook-signature", "v1,AAAA"),
            ("webhook-id", "x"),
            ("webhook-timestamp", "1"),
            ("x-gitlab-token", "key"),
        ];
        assert_eq!(checked(ForgeKind::Gitlab, &headers, &["key"]), Err(Refused::Wrong));
    }

    #[test]
    fn key_in_the_form_of_the_convention_is_decoded() {
        let time = (NOW.0 / 1000).to_string();
        let signed = [b"i.", time.as_bytes(), b".", BODY].concat();
        let given = format!("v1,{}", STANDARD.encode(sign(b"raw key", &signed)));
        let headers = [("webhook-signature", &*given), ("webhook-id", "i"), ("webhook-timestamp", &*time)];
        assert_eq!(checked(ForgeKind::Gitlab, &headers, &[&format!("whsec_{}", STANDARD.encode("raw key"))]), Ok(()));
    }
}
