//! The tree that every format is parsed into: scalars as written, each node with its position.

use std::fmt::{self, Display, Write};

use protocol::limits;
use serde_json::{Map, Number, Value};

use super::problem::Position;
use super::report::quote;

/// What a node counts on top of its text when aliases are written out.
const NODE_WEIGHT: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub at: Position,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `plain`: without quotes, so that it may be a number, true, false or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Node,
}

impl Node {
    /// The text of a scalar as written, unless it is nothing.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, plain: true } if is_null(text))
    }

    /// Describes the node, for a message about an expected other one.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
            Kind::Scalar { .. } if self.is_null() => "nothing".into(),
            Kind::Scalar { text, plain: true } => match plain_value(text) {
                Value::Number(_) => format!("the number {}", quote(text)),
                Value::Bool(_) => quote(text),
                _ => format!("the text {}", quote(text)),
            },
            Kind::Scalar { text, .. } => format!("the text {}", quote(text)),
        }
    }

    /// As JSON: plain scalars that are numbers, true, false or null in JSON become that, all others text.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar { text, plain: true } => plain_value(text),
            Kind::Scalar { text, .. } => Value::String(text.clone()),
            Kind::List(items) => items.iter().map(Node::to_value).collect(),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// Roughly the bytes a copy takes.
    pub fn weight(&self) -> usize {
        NODE_WEIGHT
            + match &self.kind {
                Kind::Scalar { text, .. } => text.len(),
                Kind::List(items) => items.iter().map(Node::weight).sum(),
                Kind::Map(entries) => entries.iter().map(|e| NODE_WEIGHT + e.key.len() + e.value.weight()).sum(),
            }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn plain_value(text: &str) -> Value {
    match text {
        _ if is_null(text) => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => serde_json::from_str::<Number>(text).map_or_else(|_| Value::String(text.to_owned()), Value::Number),
    }
}

/// Where a value is in the tree, linked from the leaf up so that the way down allocates nothing.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Root => Ok(()),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => {
                write!(f, "{parent}")?;
                write_key(f, matches!(parent, Self::Root), key)
            }
        }
    }
}

/// Adds a key to a path: `jobs.build`; one that would be misread is `jobs["quoted"]`.
pub(super) fn write_key(out: &mut impl Write, first: bool, key: &str) -> fmt::Result {
    let short: String = key.chars().take(limits::ID).collect();
    let simple = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (simple, first) {
        (true, true) => out.write_str(&short),
        (true, false) => write!(out, ".{short}"),
        (false, _) => write!(out, "[{short:?}]"),
    }
}
