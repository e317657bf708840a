//! Tokens, scopes and audit entries.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, VariantArray};

#[cfg(feature = "schema")]
use crate::limits::TOKEN_SECS;
use crate::{JobId, Label, LabelSet, Millis, SecretName, TokenName, WorkflowId};

/// What a token may be used for. No scope includes another.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    AsRefStr,
    VariantArray,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = not_a_scope)]
pub enum Scope {
    /// Read workflows, logs, outputs, workers and pools.
    Read,
    /// Submit, run, cancel and delete workflows.
    Submit,
    /// Claim jobs and report on them.
    Work,
    /// Create, list and revoke tokens, link repositories of forges, and read the audit log.
    Admin,
    /// Let a commit of a fork run.
    Approve,
}

fn not_a_scope(text: &str) -> String {
    format!("{text:?} isn't a scope; there are read, submit, work, admin and approve")
}

/// The labels or secrets that a token allows. Written as a list, or as the text `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "expected a list, or \"*\" for all", bound(deserialize = "T: Deserialize<'de> + Ord"))]
pub enum Allowed<T> {
    /// Every one, known or not.
    #[serde(rename = "*")]
    All,
    /// Only these.
    #[serde(untagged)]
    Only(BTreeSet<T>),
}

impl<T> Default for Allowed<T> {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl<T: Ord> Allowed<T> {
    /// Returns true if this label or secret is allowed.
    #[must_use]
    pub fn has(&self, one: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(one),
        }
    }

    /// The number of names in the list; 0 for all.
    #[must_use]
    pub fn named(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Only(these) => these.len(),
        }
    }
}

impl Allowed<Label> {
    /// The labels of a set that are not allowed.
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

/// What the holder of a token may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Permissions {
    /// What the token may be used for; at least one.
    #[cfg_attr(feature = "schema", schemars(schema_with = "schema::some_scopes"))]
    pub scopes: BTreeSet<Scope>,
    /// With `work`, the labels that workers may declare; with `submit`, those that jobs may require.
    #[serde(default)]
    pub labels: Allowed<Label>,
    /// With `work`, the secrets that jobs are given; with `submit`, those that jobs may name.
    #[serde(default)]
    pub secrets: Allowed<SecretName>,
    /// With `work`: claims only jobs that require at least one label.
    #[serde(default)]
    pub exclusive: bool,
}

impl Permissions {
    /// Permission for everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            scopes: Scope::VARIANTS.iter().copied().collect(),
            labels: Allowed::All,
            secrets: Allowed::All,
            exclusive: false,
        }
    }
}

/// `POST /api/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NewToken {
    /// The token's name.
    pub name: TokenName,
    /// What it allows.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// How long it is valid.
    #[serde(default = "ninety_days")]
    #[cfg_attr(feature = "schema", schemars(range(min = *TOKEN_SECS.start(), max = *TOKEN_SECS.end())))]
    pub expires_in_secs: u64,
}

impl NewToken {
    /// A token that allows everything, valid for the usual time.
    #[must_use]
    pub fn for_everything(name: TokenName) -> Self {
        Self { name, permissions: Permissions::all(), expires_in_secs: ninety_days() }
    }
}

fn ninety_days() -> u64 {
    90 * 24 * 60 * 60
}

/// A token as the list shows it: everything but its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenInfo {
    /// The token's name.
    pub name: TokenName,
    /// What it allows.
    #[serde(flatten)]
    pub permissions: Permissions,
    /// When it was created.
    pub created_at_ms: Millis,
    /// When it expires.
    pub expires_at_ms: Millis,
}

/// The answer to `POST /api/tokens`: the only one that has the token's text.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedToken {
    /// The text, to be stored by the token's user.
    pub token: String,
    /// The token.
    #[serde(flatten)]
    pub info: TokenInfo,
}

/// An action of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, AsRefStr)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditAction {
    /// A workflow was submitted.
    Submit,
    /// A workflow was started, or started again.
    Run,
    /// A workflow was cancelled.
    Cancel,
    /// A workflow was deleted.
    Delete,
    /// A token was created.
    CreateToken,
    /// A token was revoked.
    RevokeToken,
    /// A repository of a forge was linked, or its link replaced.
    Link,
    /// A link to a repository was removed.
    Unlink,
    /// A commit of a fork was approved.
    Approve,
    /// What a push starts was started by hand.
    StartRef,
    /// The states of a commit are not reported to its forge any more.
    GiveUp,
    /// A request was refused: its token is missing, invalid or doesn't allow it.
    Refused,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AuditEntry {
    /// When.
    pub at_ms: Millis,
    /// The caller's token. `null`: the server requires none, or the caller's isn't valid.
    pub token: Option<TokenName>,
    /// What the caller did or tried.
    pub action: AuditAction,
    /// The route as a template, such as `/api/workflows/{id}`. It contains no lease and no secret.
    pub route: String,
    /// The workflow that the action concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowId>,
    /// The job that the action concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The token that was created or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<TokenName>,
    /// What else the action concerns, such as the repository of a link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Why the request was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of similar refusals that were not recorded just before this one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

impl AuditEntry {
    /// An entry without optional fields.
    #[must_use]
    pub fn new(at_ms: Millis, token: Option<TokenName>, action: AuditAction, route: String) -> Self {
        Self {
            at_ms,
            token,
            action,
            route,
            workflow: None,
            job: None,
            subject: None,
            about: None,
            reason: None,
            suppressed: 0,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Allowed, BTreeSet, Scope};
    use crate::limits;

    impl<T: JsonSchema> JsonSchema for Allowed<T> {
        fn schema_name() -> Cow<'static, str> {
            format!("Allowed{}", T::schema_name()).into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let items = generator.subschema_for::<T>();
            json_schema!({
                "description": format!("A list of at most {}, or `*` for all.", limits::NAMED_PER_TOKEN),
                "anyOf": [{ "const": "*" }, { "type": "array", "items": items }],
            })
        }
    }

    /// At least one scope; duplicates count once.
    pub(super) fn some_scopes(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = <BTreeSet<Scope>>::json_schema(generator);
        schema.insert("minItems".to_owned(), 1.into());
        schema.remove("uniqueItems");
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_means_all_and_a_list_with_a_star_means_that_label() {
        let read = |text| serde_json::from_str::<Allowed<Label>>(text);
        assert_eq!(read("\"*\"").expect("all"), Allowed::All);
        let star = read("[\"*\"]").expect("a list");
        assert!(star.has(&Label::new("*").expect("a label")) && !star.has(&Label::new("gpu").expect("a label")));
        assert_eq!(serde_json::to_string(&star).expect("JSON"), "[\"*\"]");
        assert_eq!(serde_json::to_string(&Allowed::<Label>::All).expect("JSON"), "\"*\"");
        assert!(read("\"gpu\"").expect_err("one text").to_string().contains("\"*\" for all"));
    }

    #[test]
    fn scopes_parse_from_their_wire_form() {
        for scope in Scope::VARIANTS {
            assert_eq!(scope.to_string().parse(), Ok(*scope));
            assert_eq!(serde_json::to_value(scope).expect("JSON"), scope.to_string());
        }
        assert!("root".parse::<Scope>().expect_err("no scope").contains("\"root\" isn't a scope"));
    }
}
