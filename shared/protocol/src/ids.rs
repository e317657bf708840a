//! Ids and names. Each kind is a type of its own, so that one can't be passed for another.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Limit, limit};

/// Why a text is not an id or name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadId {
    /// The text is empty.
    #[error("{what} must not be empty")]
    Empty {
        /// The kind of id.
        what: &'static str,
    },
    /// The text is `.` or `..`, which clients remove from a path.
    #[error("{what} {text:?} would disappear from a URL's path; use another name")]
    Dots {
        /// The kind of id.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The text is too long.
    #[error("{what} is {size} bytes long; {limit}")]
    TooLong {
        /// The kind of id.
        what: &'static str,
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: Limit,
    },
    /// The text has a character that would break a path, a log line or a file name.
    #[error("{what} {text:?} has the character {found:?}; {allowed}")]
    Character {
        /// The kind of id.
        what: &'static str,
        /// The text.
        text: String,
        /// The first such character.
        found: char,
        /// The characters that are allowed.
        allowed: &'static str,
    },
}

fn check_dots(what: &'static str, text: &str) -> Result<(), BadId> {
    match text {
        "." | ".." => Err(BadId::Dots { what, text: text.to_owned() }),
        _ => Ok(()),
    }
}

fn check_id(what: &'static str, text: &str) -> Result<(), BadId> {
    check_dots(what, text)?;
    check(what, text, limit!(ID), "`/ ? #`, white space and control characters are not allowed", |c| {
        !(matches!(c, '/' | '?' | '#') || c.is_whitespace() || c.is_control())
    })
}

fn check_output_name(what: &'static str, text: &str) -> Result<(), BadId> {
    check_name(what, text, limit!(OUTPUT_NAME))
}

fn check_token_name(what: &'static str, text: &str) -> Result<(), BadId> {
    check_dots(what, text)?;
    check_name(what, text, limit!(TOKEN_NAME))
}

fn check_name(what: &'static str, text: &str, limit: Limit) -> Result<(), BadId> {
    check(what, text, limit, "only A-Z a-z 0-9 _ - . are allowed", |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
    })
}

fn check_secret_name(what: &'static str, text: &str) -> Result<(), BadId> {
    let allowed = "it is a variable of the job's environment: only A-Z a-z 0-9 _ are allowed, and no digit first";
    if let Some(found) = text.chars().next().filter(char::is_ascii_digit) {
        return Err(BadId::Character { what, text: text.to_owned(), found, allowed });
    }
    check(what, text, limit!(SECRET_NAME), allowed, |c| c.is_ascii_alphanumeric() || c == '_')
}

fn check(
    what: &'static str,
    text: &str,
    limit: Limit,
    allowed: &'static str,
    good: impl Fn(char) -> bool,
) -> Result<(), BadId> {
    if text.is_empty() {
        return Err(BadId::Empty { what });
    }
    if text.len() > limit.most {
        return Err(BadId::TooLong { what, size: text.len(), limit });
    }
    match text.chars().find(|&c| !good(c)) {
        Some(found) => Err(BadId::Character { what, text: text.to_owned(), found, allowed }),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $check:path;)*) => {$(
        $(#[$doc])*
        ///
        /// A clone shares the text.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text against this kind's characters and length.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                $check($what, &text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
    )*};
}

ids! {
    /// A workflow, chosen by the engine.
    WorkflowId, "workflow id", check_id;
    /// A job within its workflow, chosen by the author.
    JobId, "job id", check_id;
    /// A worker, chosen by itself.
    WorkerId, "worker id", check_id;
    /// An output's name.
    OutputName, "output name", check_output_name;
    /// A token's name, chosen by its creator.
    TokenName, "token name", check_token_name;
    /// The name of a link to a forge, chosen by who adds it.
    LinkName, "link name", check_token_name;
    /// A secret's name, which is also the name of the variable in the job's environment.
    SecretName, "secret name", check_secret_name;
}

/// The lease of one attempt of a job. Workers treat it as opaque.
///
/// It is a capability: whoever has it may report for the attempt. It does not appear in logs, lists or `Debug` output.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LeaseId(pub String);

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_that_would_break_a_path_or_a_line_is_refused() {
        for bad in [".", "..", "a/b", "a?b", "a#b", "a b", "a\nb", "a\u{7}b", "a\u{a0}b"] {
            let error = JobId::new(bad).expect_err(bad).to_string();
            assert!(error.contains("job id"), "{error}");
        }
        assert!(JobId::new("").is_err());
        assert!(
            JobId::new("x".repeat(101))
                .expect_err("too long")
                .to_string()
                .contains("101 bytes long; at most 100 are allowed (limit ID)")
        );
        assert!(JobId::new("x".repeat(100)).is_ok());
        assert!(JobId::new("deploy-straße:1.2_é@%").is_ok());
    }

    #[test]
    fn token_name_that_a_path_would_lose_is_refused() {
        assert!(TokenName::new("..").is_err() && TokenName::new(".").is_err());
        assert!(TokenName::new("ci.2").is_ok());
    }

    #[test]
    fn output_name_has_only_allowed_characters() {
        assert!(OutputName::new("Artifact_url-1.2").is_ok());
        for bad in ["a b", "a=b", "a:b", "é", ""] {
            assert!(OutputName::new(bad).is_err(), "{bad}");
        }
        assert!(OutputName::new("x".repeat(129)).is_err());
    }

    #[test]
    fn debug_output_hides_a_lease_id() {
        assert!(!format!("{:?}", LeaseId("secret".into())).contains("secret"));
    }
}
