//! A secret's value, kept from showing by accident.

use std::collections::BTreeMap;
use std::fmt;

use crate::{SecretName, limits};

/// The value of a secret. It has no `Display` and no `Serialize`, and `Debug` hides it: whoever gives it away says so.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

/// Values by name.
pub type Secrets = BTreeMap<SecretName, SecretValue>;

/// Why a text can't be a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadSecret {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// Over the limit.
    #[error("it is {0} bytes; at most {limit} are allowed", limit = limits::SECRET)]
    TooLong(usize),
    /// No variable of a program can hold one.
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

    /// The text, for who is to have it.
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

/// Writes and reads values as they are: for the one message that hands them out.
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
    fn a_value_does_not_show_in_debug_output() {
        let value = SecretValue::new("hunter22").expect("a value");
        assert!(!format!("{value:?}").contains("hunter"));
        assert_eq!(value.reveal(), "hunter22");
    }

    #[test]
    fn what_no_variable_can_hold_or_no_store_keeps_is_refused() {
        assert_eq!(SecretValue::new(""), Err(BadSecret::Empty));
        assert_eq!(SecretValue::new("a\0b"), Err(BadSecret::Nul));
        let long = "x".repeat(limits::SECRET + 1);
        assert!(SecretValue::new(long.clone()).expect_err("too long").to_string().contains("4097 bytes; at most 4096"));
        assert!(SecretValue::new(&long[1..]).is_ok());
    }
}
