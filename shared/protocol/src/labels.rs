//! Labels. A worker may take a job exactly when *all* labels of the job are among the labels of the worker.

use std::collections::BTreeSet;
use std::collections::btree_set::Iter;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Limit, limit, limits};

/// Why a text is not a label, or a set of labels is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLabel {
    /// The label is empty after trimming.
    #[error("a label must not be empty")]
    Empty,
    /// Over [`limits::LABEL`].
    #[error("label {text:?} is {} bytes long; {}", text.len(), limit!(LABEL))]
    TooLong {
        /// The label, trimmed.
        text: String,
    },
    /// The label has a comma, which separates labels, or an invisible character.
    #[error("label {text:?} has the character {found:?}; commas, white space and control characters are not allowed")]
    Character {
        /// The label, trimmed.
        text: String,
        /// The first such character.
        found: char,
    },
    /// Over [`limits::LABELS_PER_JOB`] or [`limits::LABELS_PER_WORKER`].
    #[error("{count} labels; {limit}")]
    TooMany {
        /// The number of labels, duplicates counted once.
        count: usize,
        /// The limit.
        limit: Limit,
    },
}

/// One label, trimmed and folded to lower case: `Docker` and `docker` are the same. A clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Label(Arc<str>);

impl Label {
    /// Trims, folds and checks.
    pub fn new(text: &str) -> Result<Self, BadLabel> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadLabel::Empty);
        }
        if let Some(found) = text.chars().find(|c| *c == ',' || c.is_whitespace() || c.is_control()) {
            return Err(BadLabel::Character { text: text.to_owned(), found });
        }
        let folded = text.to_lowercase();
        if folded.len() > limits::LABEL {
            return Err(BadLabel::TooLong { text: text.to_owned() });
        }
        Ok(Self(folded.into()))
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Label {
    type Error = BadLabel;
    fn try_from(text: String) -> Result<Self, BadLabel> {
        Self::new(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.as_str().to_owned()
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// A set of labels, sorted; duplicates count once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelSet(BTreeSet<Label>);

impl LabelSet {
    /// Reads labels as people write them in `WORKER_LABELS`: separated by commas, empty parts ignored.
    pub fn from_comma_separated(text: &str) -> Result<Self, BadLabel> {
        Self::parse(text.split(',').filter(|part| !part.trim().is_empty()))
    }

    /// Reads each text as one label.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadLabel> {
        texts.into_iter().map(Label::new).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses a set larger than `limit`.
    pub fn at_most(&self, limit: Limit) -> Result<(), BadLabel> {
        if self.0.len() > limit.most {
            return Err(BadLabel::TooMany { count: self.0.len(), limit });
        }
        Ok(())
    }

    /// The labels of this set that `worker` lacks. Empty means that the worker covers them all.
    #[must_use]
    pub fn missing_from(&self, worker: &Self) -> Self {
        Self(self.0.difference(&worker.0).cloned().collect())
    }

    /// Returns true if the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Iterates in sorted order.
    pub fn iter(&self) -> Iter<'_, Label> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a LabelSet {
    type Item = &'a Label;
    type IntoIter = Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Label> for LabelSet {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

/// Writes `docker, staging`, or nothing for the empty set.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels: Vec<&str> = self.0.iter().map(Label::as_str).collect();
        f.write_str(&labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> LabelSet {
        LabelSet::from_comma_separated(text).expect("good labels")
    }

    #[test]
    fn labels_ignore_case_spaces_and_duplicates() {
        assert_eq!(set(" Docker ,docker,GPU"), set("gpu,docker"));
        assert_eq!(set("a,,b,").len(), 2);
    }

    #[test]
    fn error_of_a_bad_label_names_the_character_or_the_limit() {
        assert_eq!(Label::new("  "), Err(BadLabel::Empty));
        assert!(Label::new("a b").expect_err("space").to_string().contains("' '"));
        assert!(Label::new(&"x".repeat(65)).expect_err("long").to_string().contains("at most 64"));
        assert!(Label::new(&"x".repeat(64)).is_ok());
    }

    proptest! {
        #[test]
        fn no_label_is_missing_from_a_superset_and_from_no_other_set(
            job in proptest::collection::btree_set("[a-eA-E]", 0..6),
            worker in proptest::collection::btree_set("[a-eA-E]", 0..6),
        ) {
            let folded = |labels: &BTreeSet<String>| labels.iter().map(|l| l.to_lowercase()).collect::<BTreeSet<_>>();
            let expected = folded(&job).iter().all(|label| folded(&worker).contains(label));
            let parse = |labels: &BTreeSet<String>| LabelSet::parse(labels.iter().map(String::as_str)).expect("good");
            prop_assert_eq!(parse(&job).missing_from(&parse(&worker)).is_empty(), expected);
        }
    }
}
