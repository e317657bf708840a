//! One job: its settings, and how they are read from the keys of the workflow file.
//!
//! [`JobSettings`] is the only list of a job's settings. A run stores it and the engine reads it, so a new key needs a
//! field here, a row in the table of [`keys`] and a line in [`Checker::job`].

use std::collections::{BTreeSet, HashSet};

use protocol::wire::OutputsFrom;
use protocol::{BadId, BadLabel, JobId, Label, LabelSet, SecretName, limit, limits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::advice::check_keys;
use super::bounds::{Retry, TimeLimits, is_default};
use super::checker::{Checker, Edge};
use super::env::{EnvValue, Needed, weight};
use super::keys::{self, Level};
use super::node::{Entry, Node, Path};
use super::problem::Position;
use super::report::quote;
use super::secrets::set_by_steps;

/// A job of a checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDefinition {
    /// Unique in the definition.
    pub id: JobId,
    /// Positions in [`Definition::jobs`](crate::Definition::jobs), each once, without a cycle.
    pub needs: Vec<usize>,
    /// Everything else that the definition says about the job.
    pub settings: JobSettings,
}

/// Everything that a definition says about a job, except its id and its needs.
///
/// Every field but `name` and `script` is left out of the stored form while it has its default value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSettings {
    /// For people; the id, unless the definition says otherwise.
    pub name: String,
    /// What `sh -c` runs after the environment is set. Steps are already one script. See [`command`](super::command).
    pub script: String,
    /// The workflow's and the job's own variables, each name once, in this order. The `env` of a step is in the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, EnvValue)>,
    /// A worker must have all of these.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// Secrets that the job is given in its environment when a worker takes it. No other variable has such a name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// How often, and after what delay, it is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: TimeLimits,
    /// Where the worker looks for outputs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs_from: OutputsFrom,
    /// Fields that only clients read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub passthrough: Passthrough,
}

/// Fields that are stored and returned as given; the engine does nothing with them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Passthrough {
    /// As submitted.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
    /// As submitted.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub ports: Value,
    /// As submitted.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub children: Value,
    /// As submitted.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub collapsed: Value,
}

impl JobSettings {
    /// A job that runs this, with the default of every other setting.
    #[must_use]
    pub fn new(name: impl Into<String>, script: impl Into<String>) -> Self {
        Self { name: name.into(), script: script.into(), ..Self::default() }
    }
}

impl Checker<'_> {
    /// The job, unless something is wrong with it, and what it needs in any case.
    pub(super) fn job(
        &mut self,
        n: usize,
        entry: &Entry,
        workflow_env: &[(String, EnvValue)],
    ) -> (Option<JobDefinition>, Vec<Edge>) {
        let jobs = Path::Root.key("jobs");
        let path = jobs.key(&entry.key);
        let id = self.id("job id", &entry.key, entry.key_at, path);
        let Some(entries) = self.mapping(&entry.value, path, "a job, such as `{run: <command>}`") else {
            return (None, Vec::new());
        };
        check_keys(&mut self.report, entries, path, Level::Job);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let name = get("name").and_then(|node| self.text(node, path.key("name"), "text"));
        self.shown(get("name"), path.key("name"));
        let needs = get("needs");
        let edges = needs.map(|node| self.needs(n, node, path.key("needs"))).unwrap_or_default();
        let labels = get("labels").map(|node| self.labels(node, path.key("labels"))).unwrap_or_default();
        let retry = self.retry(entries, path);
        let limits = self.time_limits(entries, path);
        let outputs_from = get("outputs_from").map(|node| self.outputs_from(node, path.key("outputs_from")));
        let own = get("env").map(|node| self.env(node, path.key("env"), Some(&Needed::new(needs))));
        let env = over(workflow_env, own.unwrap_or_default());
        let set: Vec<_> =
            env.iter().map(|(name, _)| (name.as_str(), "`env`")).chain(set_by_steps(get("steps"))).collect();
        let secrets = get("secrets").map(|node| self.secrets(node, path.key("secrets"), &set)).unwrap_or_default();
        self.pool(&labels, &secrets, entry.key_at, path);
        let script = self.script(entry, entries, path);
        let metadata = self.passthrough(get("metadata"), path.key("metadata"));
        let script = script.filter(|script| self.command_fits(script.len() + weight(&env), entry.key_at, path));
        let job = id.zip(script).map(|(id, script)| JobDefinition {
            id,
            needs: edges.iter().map(|edge| edge.to).collect(),
            settings: JobSettings {
                env,
                labels,
                secrets,
                retry,
                limits,
                outputs_from: outputs_from.unwrap_or_default(),
                passthrough: Passthrough { metadata, ..Passthrough::default() },
                ..JobSettings::new(name.unwrap_or(&entry.key), script)
            },
        });
        (job, edges)
    }

    pub(super) fn id(&mut self, what: &str, text: &str, at: Position, path: Path<'_>) -> Option<JobId> {
        let id = JobId::new(text);
        if let Err(error) = &id {
            let message = match error {
                BadId::Empty { .. } => format!("a {what} must not be empty"),
                other => other.to_string().replacen("job id", what, 1),
            };
            self.report.add("bad_id", at, path, message);
        }
        id.ok()
    }

    pub(super) fn needs(&mut self, job: usize, node: &Node, path: Path<'_>) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (index, item) in self.one_or_many(node, path, "a job or a list of jobs") {
            let path = index.map_or(path, |index| path.index(index));
            edges.extend(self.need(job, item, path).map(|to| Edge { to, at: item.at, index }));
        }
        edges
    }

    pub(super) fn labels(&mut self, node: &Node, path: Path<'_>) -> LabelSet {
        let mut labels = Vec::new();
        for (index, item) in self.one_or_many(node, path, "a label or a list of labels") {
            let path = index.map_or(path, |index| path.index(index));
            let Some(text) = self.text(item, path, "a label") else { continue };
            match Label::new(text) {
                Ok(label) => labels.push(label),
                Err(error) => self.report.add("bad_label", item.at, path, about_label(text, &error)),
            }
        }
        let labels: LabelSet = labels.into_iter().collect();
        if let Err(error) = labels.at_most(limit!(LABELS_PER_JOB)) {
            self.report.add("too_many_labels", node.at, path, error.to_string());
        }
        labels
    }

    fn outputs_from(&mut self, node: &Node, path: Path<'_>) -> OutputsFrom {
        match self.text(node, path, "`stdout` or `file`") {
            Some("stdout") => OutputsFrom::Stdout,
            Some("file") => OutputsFrom::File,
            Some("both") | None => OutputsFrom::Both,
            Some(other) => {
                let message = format!(
                    "outputs are read from `stdout` or `file`, or without this key from both, not from {}",
                    quote(other)
                );
                self.report.add("unknown_value", node.at, path, message);
                OutputsFrom::Both
            }
        }
    }
}

/// The inner wins, and the outer comes first.
fn over(outer: &[(String, EnvValue)], inner: Vec<(String, EnvValue)>) -> Vec<(String, EnvValue)> {
    let names: HashSet<&str> = inner.iter().map(|(name, _)| name.as_str()).collect();
    let mut env: Vec<_> = outer.iter().filter(|(name, _)| !names.contains(name.as_str())).cloned().collect();
    env.extend(inner);
    env
}

fn about_label(text: &str, error: &BadLabel) -> String {
    let text = text.trim();
    if text.len() > limits::LABEL {
        return format!("the label {} is {} bytes long; {}", quote(text), text.len(), limit!(LABEL));
    }
    match error {
        BadLabel::Character { found: ',', .. } => {
            format!("the label {} has a comma; write several labels as a list", quote(text))
        }
        other => other.to_string(),
    }
}
