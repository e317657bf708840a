//! Tokens, scopes and audit entries.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(feature = "schema")]
use crate::limits::TOKEN_SECS;
use crate::{JobId, Label, LabelSet, Millis, SecretName, TokenName, WorkflowId};

/// What a token may be used for. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look at workflows, logs, outputs, workers and pools.
    Read,
    /// Submit, run, cancel and delete workflows.
    Submit,
    /// Claim jobs and report on them.
    Work,
    /// Make, list and revoke tokens, and read who did what.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Submit, Self::Work, Self::Admin];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Work => "work",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("{text:?} isn't a scope; there are read, submit, work and admin"))
    }
}

/// Which labels or secrets a token has to do with. Written as a list, or as the text `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed<T> {
    /// Whatever there is.
    All,
    /// These.
    Only(BTreeSet<T>),
}

impl<T> Default for Allowed<T> {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl<T: Ord> Allowed<T> {
    /// Whether this one is among them.
    #[must_use]
    pub fn has(&self, one: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(one),
        }
    }

    /// How many are named.
    #[must_use]
    pub fn named(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Only(these) => these.len(),
        }
    }
}

impl Allowed<Label> {
    /// The labels of a set that aren't among them.
    #[must_use]
    pub fn refused(&self, labels: &LabelSet) -> LabelSet {
        labels.iter().filter(|label| !self.has(label)).cloned().collect()
    }
}

impl<T: fmt::Display> fmt::Display for Allowed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("*"),
            Self::Only(these) => f.pad(&these.iter().map(T::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl<T: Serialize> Serialize for Allowed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("*"),
            Self::Only(these) => these.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Allowed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, bound = "T: Deserialize<'de> + Ord", expecting = "a list, or \"*\" for all")]
        enum Written<T> {
            Text(String),
            These(BTreeSet<T>),
        }
        match Written::deserialize(deserializer)? {
            Written::Text(text) if text == "*" => Ok(Self::All),
            Written::Text(text) => Err(D::Error::custom(format!("{text:?} is neither a list nor \"*\" for all"))),
            Written::These(these) => Ok(Self::Only(these)),
        }
    }
}

/// `POST /api/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewToken {
    /// What it will be known by.
    pub name: TokenName,
    /// What it may be used for; at least one.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::some_scopes"))]
    pub scopes: BTreeSet<Scope>,
    /// With `work`, the labels that workers may declare; with `submit`, those that jobs may ask for.
    #[serde(default)]
    pub labels: Allowed<Label>,
    /// With `work`, the secrets that jobs are given; with `submit`, those that jobs may name.
    #[serde(default)]
    pub secrets: Allowed<SecretName>,
    /// With `work`: only jobs that ask for at least one label.
    #[serde(default)]
    pub exclusive: bool,
    /// How long it is good for.
    #[serde(default = "ninety_days")]
    #[cfg_attr(feature = "schema", schemars(range(min = *TOKEN_SECS.start(), max = *TOKEN_SECS.end())))]
    pub expires_in_secs: u64,
}

impl NewToken {
    /// One that may do everything, for the usual time.
    #[must_use]
    pub fn for_everything(name: TokenName) -> Self {
        Self {
            name,
            scopes: Scope::ALL.into(),
            labels: Allowed::All,
            secrets: Allowed::All,
            exclusive: false,
            expires_in_secs: ninety_days(),
        }
    }
}

fn ninety_days() -> u64 {
    90 * 24 * 60 * 60
}

/// What is shown of a token: everything but the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenInfo {
    /// What it is known by.
    pub name: TokenName,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// See [`NewToken::labels`].
    pub labels: Allowed<Label>,
    /// See [`NewToken::secrets`].
    pub secrets: Allowed<SecretName>,
    /// See [`NewToken::exclusive`].
    pub exclusive: bool,
    /// When it was made.
    pub created_at_ms: Millis,
    /// When it ends.
    pub expires_at_ms: Millis,
}

/// The answer to `POST /api/tokens`: the only one that has the token's text.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedToken {
    /// To be kept by who uses it.
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// What was done, or tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuditAction {
    /// A workflow was submitted.
    Submit,
    /// A workflow was started, or started again.
    Run,
    /// A workflow was cancelled.
    Cancel,
    /// A workflow was deleted.
    Delete,
    /// A token was made.
    CreateToken,
    /// A token was revoked.
    RevokeToken,
    /// Something was refused: without a good token, or one that may not do it.
    Refused,
}

impl AuditAction {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Run => "run",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::CreateToken => "create_token",
            Self::RevokeToken => "revoke_token",
            Self::Refused => "refused",
        }
    }
}

/// One line of who did what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// When.
    pub at_ms: Millis,
    /// By which token. `null`: the server asks for none, or the one that was given isn't good.
    pub token: Option<TokenName>,
    /// What.
    pub action: AuditAction,
    /// The route, with `{}` where a request has its own words: no lease, and nothing secret.
    pub route: String,
    /// The workflow that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowId>,
    /// The job that it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The token that was made or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<TokenName>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many more like it were refused unwritten just before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

impl AuditEntry {
    /// One that says no more than that.
    #[must_use]
    pub fn new(at_ms: Millis, token: Option<TokenName>, action: AuditAction, route: String) -> Self {
        Self { at_ms, token, action, route, workflow: None, job: None, subject: None, reason: None, suppressed: 0 }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_a_star_and_a_label_called_star_is_a_label() {
        let read = |text| serde_json::from_str::<Allowed<Label>>(text);
        assert_eq!(read("\"*\"").expect("all"), Allowed::All);
        let star = read("[\"*\"]").expect("a list");
        assert!(star.has(&Label::new("*").expect("a label")) && !star.has(&Label::new("gpu").expect("a label")));
        assert_eq!(serde_json::to_string(&star).expect("JSON"), "[\"*\"]");
        assert_eq!(serde_json::to_string(&Allowed::<Label>::All).expect("JSON"), "\"*\"");
        assert!(read("\"gpu\"").expect_err("one text").to_string().contains("\"*\" for all"));
    }

    #[test]
    fn every_scope_reads_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).expect("JSON"), scope.as_str());
        }
        assert!("root".parse::<Scope>().is_err());
    }
}
