//! The values of secrets, protected against accidental display.

use std::collections::BTreeMap;
use std::fmt;

use crate::{SecretName, limit, limits};

/// The value of a secret. It has no `Display` and no `Serialize`, and `Debug` hides it. Only [`SecretValue::reveal`]
/// returns the text.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

/// Secrets by name.
pub type Secrets = BTreeMap<SecretName, SecretValue>;

/// Why a text can't be a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSecret {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than [`limits::SECRET`].
    #[error("it is {0} bytes; {limit}", limit = limit!(SECRET))]
    TooLong(usize),
    /// The text has a NUL character.
    #[error("it has a NUL character, which no environment variable can hold")]
    Nul,
}

impl SecretValue {
    /// Checks a text.
    ///
    /// # Errors
    /// If it is empty, longer than [`limits::SECRET`] or has a NUL.
    pub fn new(text: impl Into<String>) -> Result<Self, BadSecret> {
        let text = text.into();
        match text.len() {
            0 => Err(BadSecret::Empty),
            size if size > limits::SECRET => Err(BadSecret::TooLong(size)),
            _ if text.contains('\0') => Err(BadSecret::Nul),
            _ => Ok(Self(text)),
        }
    }

    /// The text, for its recipient.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Serializes values in clear, for the one answer that gives them to a worker.
pub(crate) mod revealed {
    use std::collections::BTreeMap;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{SecretValue, Secrets};
    use crate::SecretName;

    pub(crate) fn serialize<S: Serializer>(secrets: &Secrets, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(secrets.iter().map(|(name, value)| (name, value.reveal())))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secrets, D::Error> {
        let texts = BTreeMap::<SecretName, String>::deserialize(deserializer)?;
        let value = |(name, text): (SecretName, String)| match SecretValue::new(text) {
            Ok(value) => Ok((name, value)),
            Err(error) => Err(D::Error::custom(format!("secret {name}: {error}"))),
        };
        texts.into_iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_a_secret() {
        let value = SecretValue::new("hunter22").expect("a value");
        assert!(!format!("{value:?}").contains("hunter"));
        assert_eq!(value.reveal(), "hunter22");
    }

    #[test]
    fn secret_that_no_variable_or_store_can_hold_is_refused() {
        assert_eq!(SecretValue::new(""), Err(BadSecret::Empty));
        assert_eq!(SecretValue::new("a\0b"), Err(BadSecret::Nul));
        let long = "x".repeat(limits::SECRET + 1);
        assert!(SecretValue::new(long.clone()).expect_err("too long").to_string().contains("4097 bytes; at most 4096"));
        assert!(SecretValue::new(&long[1..]).is_ok());
    }
}
