//! Checks `env`: texts as written and, on a job, values from the outputs of the jobs it needs.

use std::collections::HashSet;

use protocol::wire::WORKER_VARIABLES;
use protocol::{JobId, OutputName, limit, limits};
use serde::{Deserialize, Serialize};

use super::advice::check_keys;
use super::checker::Checker;
use super::keys::{self, Level};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// As written: `1.10` stays `1.10`, `no` stays `no`.
    Text(String),
    /// What a directly needed job gave, put in when the job is claimed.
    Output {
        /// The needed job.
        job: JobId,
        /// The name of its output.
        output: OutputName,
    },
}

impl EnvValue {
    fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Output { job, output } => job.as_str().len() + output.as_str().len(),
        }
    }
}

/// Bytes that an `env` counts towards the limits of a job and of a workflow.
pub(super) fn weight(env: &[(String, EnvValue)]) -> usize {
    env.iter().map(|(name, value)| name.len() + value.weight()).sum()
}

/// The needs of a job as written, valid or not.
pub(super) struct Needed<'a> {
    as_written: Vec<&'a str>,
    ids: HashSet<&'a str>,
}

impl<'a> Needed<'a> {
    pub fn new(node: Option<&'a Node>) -> Self {
        let as_written: Vec<&str> = match node.map(|node| (&node.kind, node)) {
            Some((Kind::List(items), _)) => items.iter().filter_map(Node::text).collect(),
            Some((_, node)) => node.text().into_iter().collect(),
            None => Vec::new(),
        };
        Self { ids: as_written.iter().copied().collect(), as_written }
    }
}

impl Checker<'_> {
    /// Reads an `env`. `needs` are the jobs whose outputs it may take; `None` where it may take none.
    pub(super) fn env(&mut self, node: &Node, path: Path<'_>, needs: Option<&Needed<'_>>) -> Vec<(String, EnvValue)> {
        let Some(entries) = self.mapping(node, path, "a mapping of names to values") else { return Vec::new() };
        self.at_most(entries.len(), limit!(ENV), "variables", node.at, path);
        let mut env = Vec::with_capacity(entries.len());
        for Entry { key, key_at, value } in entries {
            let path = path.key(key);
            if !is_name(key) {
                let message = format!(
                    "{} can't be the name of an environment variable; use A-Z a-z 0-9 _, not beginning with a digit",
                    quote(key)
                );
                self.report.add("bad_env_name", *key_at, path, message);
            }
            if WORKER_VARIABLES.contains(&key.as_str()) {
                let message = format!("{} is set by the worker; choose another name", quote(key));
                self.report.add("reserved_env_name", *key_at, path, message);
            }
            if let Some(value) = self.env_value(value, path, needs) {
                env.push((key.clone(), value));
            }
        }
        env
    }

    fn env_value(&mut self, node: &Node, path: Path<'_>, needs: Option<&Needed<'_>>) -> Option<EnvValue> {
        match (&node.kind, needs) {
            (Kind::Scalar { text, .. }, _) => {
                self.no_nul(text, node.at, path);
                self.no_longer_than(limit!(ENV_VALUE), text.len(), node.at, path);
                Some(EnvValue::Text(text.clone()))
            }
            (Kind::Map(entries), Some(needs)) => self.reference(node, entries, path, needs),
            (_, Some(_)) => {
                self.wrong_type(node, path, "text, or `from: <job>.<output>`");
                None
            }
            (_, None) => {
                self.wrong_type(node, path, "text (only the `env` of a job takes `from: <job>.<output>`)");
                None
            }
        }
    }

    fn reference(&mut self, node: &Node, entries: &[Entry], path: Path<'_>, needs: &Needed<'_>) -> Option<EnvValue> {
        check_keys(&mut self.report, entries, path, Level::Reference);
        let Some(from) = keys::find(entries, "from") else {
            self.wrong_type(node, path, "text, or `from: <job>.<output>`");
            return None;
        };
        let path = path.key("from");
        let text = self.text(&from.value, path, "`<job>.<output>`")?;
        match split(text, needs) {
            Ok((job, output)) => Some(EnvValue::Output { job: JobId::new(job).ok()?, output }),
            Err(reason) => {
                let reason = reason.unwrap_or_else(|| self.not_needed(text, needs));
                self.report.add("bad_reference", from.value.at, path, reason);
                None
            }
        }
    }

    fn not_needed(&self, text: &str, needs: &Needed<'_>) -> String {
        if let Some((job, _)) = splits(text).find(|(job, _)| self.ids.contains_key(job)) {
            let job = quote(job);
            return format!(
                "{} is an output of {job}, which this job doesn't need; add {job} to its `needs`",
                quote(text)
            );
        }
        let needs = match needs.as_written.as_slice() {
            [] => "this job needs none".to_owned(),
            needs if needs.len() <= 8 => {
                format!("this job needs {}", needs.iter().map(|need| quote(need)).collect::<Vec<_>>().join(", "))
            }
            needs => format!("this job needs {} jobs", needs.len()),
        };
        format!("{} is not an output of a needed job; write `<job>.<output>` ({needs})", quote(text))
    }
}

/// Ids and output names may both have dots: the longest needed id that leaves an output name is meant.
fn split<'t>(text: &'t str, needs: &Needed<'_>) -> Result<(&'t str, OutputName), Option<String>> {
    let mut bad = None;
    for (need, rest) in splits(text).filter(|(job, _)| needs.ids.contains(job)) {
        match OutputName::new(rest) {
            Ok(output) => return Ok((need, output)),
            Err(_) => {
                bad = Some(format!(
                    "{} is not the name of an output of {}; names are 1 to {} of A-Z a-z 0-9 _ - .",
                    quote(rest),
                    quote(need),
                    limits::OUTPUT_NAME
                ));
            }
        }
    }
    Err(bad)
}

/// What may be a job's id, and what comes after its dot; the longest first.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let ids = &text[..text.floor_char_boundary(limits::ID + 1)];
    ids.match_indices('.').rev().map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// What a shell takes as a variable's name.
fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
