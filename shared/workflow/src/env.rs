//! Checks `env`: texts as written and, on a job, values from the outputs of the jobs it needs.

use std::collections::HashSet;

use protocol::wire::WORKER_VARIABLES;
use protocol::{JobId, OutputName, limit, limits};
use serde::{Deserialize, Serialize};

use super::advice::check_keys;
use super::checker::Checker;
use super::expression;
use super::keys::{self, Level};
use super::leg::Leg;
use super::node::{Entry, Kind, Node, Path};
use super::report::{nearest, quote};

/// How the names of variables begin that have the values of inputs and axes, and the statuses of needs.
pub(super) const RESERVED_PREFIXES: [&str; 3] = ["INPUT_", "MATRIX_", "NEEDS_"];

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// As written: `1.10` stays `1.10`, `no` stays `no`.
    Text(String),
    /// The value of an input of the run, put in when the job is claimed.
    Input(String),
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
            Self::Text(text) | Self::Input(text) => text.len(),
            Self::Output { job, output } => job.as_str().len() + output.as_str().len(),
        }
    }
}

/// Bytes that an `env` counts towards the limits of a job and of a workflow.
pub(super) fn weight(env: &[(String, EnvValue)]) -> usize {
    env.iter().map(|(name, value)| name.len() + value.weight()).sum()
}

/// A value as the file has it. It is the same for all legs of a matrix, unless it names an axis.
#[derive(Clone)]
pub(super) enum Written {
    Value(EnvValue),
    Axis(String),
}

impl Written {
    /// The value for a leg. An axis that the leg doesn't have is empty.
    fn of_leg(&self, leg: &Leg) -> EnvValue {
        match self {
            Self::Value(value) => value.clone(),
            Self::Axis(axis) => EnvValue::Text(leg.value(axis).unwrap_or_default().to_owned()),
        }
    }
}

/// The variables of a leg: the inner wins, and the outer comes first.
pub(super) fn over(outer: &[(String, Written)], inner: &[(String, Written)], leg: &Leg) -> Vec<(String, EnvValue)> {
    let names: HashSet<&str> = inner.iter().map(|(name, _)| name.as_str()).collect();
    let outer = outer.iter().filter(|(name, _)| !names.contains(name.as_str()));
    outer.chain(inner).map(|(name, value)| (name.clone(), value.of_leg(leg))).collect()
}

/// The needs of a job as written, valid or not, and the ids of the jobs that they mean.
pub(super) struct Needed<'a> {
    as_written: Vec<&'a str>,
    ids: HashSet<String>,
}

/// What the values of an `env` may refer to, besides the inputs.
#[derive(Clone, Copy)]
pub(super) enum Scope<'s> {
    /// The axes of any job.
    Workflow,
    Job {
        needs: &'s Needed<'s>,
        legs: &'s [Leg],
    },
    Step {
        legs: &'s [Leg],
    },
}

impl Checker<'_> {
    pub(super) fn needed<'n>(&self, node: Option<&'n Node>) -> Needed<'n> {
        let as_written: Vec<&str> = match node.map(|node| (&node.kind, node)) {
            Some((Kind::List(items), _)) => items.iter().filter_map(Node::text).collect(),
            Some((_, node)) => node.text().into_iter().collect(),
            None => Vec::new(),
        };
        let ids = as_written.iter().flat_map(|name| match self.ids.get(name) {
            Some(&job) => self.legs[job].iter().map(|leg| leg.job_id(name)).collect(),
            None => vec![(*name).to_owned()],
        });
        Needed { ids: ids.collect(), as_written }
    }

    /// Reads an `env`.
    pub(super) fn env(&mut self, node: &Node, path: Path<'_>, scope: Scope<'_>) -> Vec<(String, Written)> {
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
            if let Some(prefix) = RESERVED_PREFIXES.into_iter().find(|prefix| key.starts_with(prefix)) {
                let message = format!(
                    "{} can't be set; variables that begin with {prefix} have the values of inputs, of a matrix, or the statuses of needs",
                    quote(key)
                );
                self.report.add("reserved_env_name", *key_at, path, message);
            }
            if let Some(value) = self.env_value(value, path, scope) {
                env.push((key.clone(), value));
            }
        }
        env
    }

    fn env_value(&mut self, node: &Node, path: Path<'_>, scope: Scope<'_>) -> Option<Written> {
        match &node.kind {
            Kind::Scalar { text, .. } => {
                self.no_nul(text, node.at, path);
                self.no_longer_than(limit!(ENV_VALUE), text.len(), node.at, path);
                if let Some(message) = expression::instead(text) {
                    self.notes.add("expression", node.at, path, message);
                } else if text.contains('$') {
                    let message = "the value has a `$`, which is kept as it is: nothing is expanded in `env`";
                    self.notes.add("not_expanded", node.at, path, message);
                }
                Some(Written::Value(EnvValue::Text(text.clone())))
            }
            Kind::Map(entries) => self.reference(node, entries, path, scope),
            Kind::List(_) => {
                self.wrong_type(
                    node,
                    path,
                    "text, or one of `{from: <job>.<output>}`, `{input: <name>}`, `{matrix: <axis>}`",
                );
                None
            }
        }
    }

    fn reference(&mut self, node: &Node, entries: &[Entry], path: Path<'_>, scope: Scope<'_>) -> Option<Written> {
        check_keys(&mut self.report, entries, path, Level::Reference);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        match (get("from"), get("input"), get("matrix")) {
            (Some(from), None, None) => self.output(from, path.key("from"), scope).map(Written::Value),
            (None, Some(input), None) => {
                self.input_of(input, path.key("input")).map(|name| Written::Value(EnvValue::Input(name)))
            }
            (None, None, Some(axis)) => self.axis_of(axis, path.key("matrix"), scope).map(Written::Axis),
            _ => {
                self.wrong_type(
                    node,
                    path,
                    "text, or exactly one of `from: <job>.<output>`, `input: <name>` and `matrix: <axis>`",
                );
                None
            }
        }
    }

    pub(super) fn input_of(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let name = self.text(node, path, "the name of an input")?;
        if self.inputs.iter().any(|input| input.name == name) {
            return Some(name.to_owned());
        }
        let near = nearest(name, self.inputs.iter().map(|input| input.name.as_str()), &mut usize::MAX.clone());
        let near = near.map(|near| format!("; did you mean {}?", quote(near)));
        let near = near.unwrap_or_else(|| "; declare it in the workflow's `inputs`".to_owned());
        self.report.add("unknown_input", node.at, path, format!("there is no input {}{near}", quote(name)));
        None
    }

    pub(super) fn axis_of(&mut self, node: &Node, path: Path<'_>, scope: Scope<'_>) -> Option<String> {
        let name = self.text(node, path, "the name of an axis")?;
        let (known, of) = match scope {
            Scope::Job { legs, .. } | Scope::Step { legs } => (has_axis(legs, name), "this job's `matrix`"),
            Scope::Workflow => (self.legs.iter().any(|legs| has_axis(legs, name)), "any job's `matrix`"),
        };
        if !known {
            let message = format!("there is no axis {} in {of}", quote(name));
            self.report.add("unknown_axis", node.at, path, message);
        }
        known.then(|| name.to_owned())
    }

    fn output(&mut self, node: &Node, path: Path<'_>, scope: Scope<'_>) -> Option<EnvValue> {
        let Scope::Job { needs, .. } = scope else {
            let message = "only the `env` of a job takes `from`; the variable is set for its steps too";
            self.report.add("bad_reference", node.at, path, message);
            return None;
        };
        let text = self.text(node, path, "`<job>.<output>`")?;
        match split(text, needs) {
            Ok((job, output)) => Some(EnvValue::Output { job: JobId::new(job).ok()?, output }),
            Err(None) if self.may_be_leg(text) => None,
            Err(reason) => {
                let reason = reason.unwrap_or_else(|| self.not_needed(text, needs));
                self.report.add("bad_reference", node.at, path, reason);
                None
            }
        }
    }

    fn not_needed(&self, text: &str, needs: &Needed<'_>) -> String {
        if let Some((job, output)) = splits(text).find(|(job, _)| needs.as_written.contains(job))
            && let Some(leg) = self.ids.get(job).and_then(|&job| self.legs[job].first())
        {
            let leg = quote(&format!("{}.{output}", leg.job_id(job)));
            return format!("{} is several jobs, one for each combination of its matrix; name one: {leg}", quote(job));
        }
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
    for (need, rest) in splits(text).filter(|(job, _)| needs.ids.contains(*job)) {
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

/// Whether a matrix has the axis, or may have it. All legs have the same ones.
pub(super) fn has_axis(legs: &[Leg], axis: &str) -> bool {
    legs.first().is_some_and(|leg| leg.unknown || leg.value(axis).is_some())
}

/// What a shell takes as a variable's name.
fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
