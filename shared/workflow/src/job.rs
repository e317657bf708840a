//! One job: its settings, and how they are read from the keys of the workflow file.
//!
//! [`JobSettings`] is the only list of a job's settings. A run stores it and the engine reads it, so a new key needs a
//! field here, a row in the table of [`keys`] and a line in [`Checker::job`].

use std::collections::{BTreeMap, BTreeSet};

use protocol::wire::{Condition, OutputsFrom};
use protocol::{BadId, JobId, Label, LabelSet, SecretName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::advice::check_keys;
use super::bounds::{Retry, TimeLimits, is_default};
use super::checker::{Checker, Edge};
use super::checkout::{Checkout, CheckoutFrom};
use super::defaults::Shared;
use super::env::{EnvValue, Scope, over, weight};
use super::fetch;
use super::keys::{self, Level};
use super::leg::{Leg, variable};
use super::node::{Entry, Node, Path};
use super::problem::Position;
use super::script::{self, Begun};
use super::secrets::set_by_steps;
use super::shell::Shell;
use super::steps::Script;
use super::workdir::Workdir;

/// A job of a checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDefinition {
    /// Unique in the definition.
    pub id: JobId,
    /// Positions in [`Definition::jobs`](crate::Definition::jobs), each once, without a cycle.
    pub needs: Vec<usize>,
    /// Where the definition says it. `None` for the form with a list of jobs.
    pub at: Option<Position>,
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
    /// What `shell` reads after the environment is set. Steps are already one script. See [`JobSettings::command`].
    pub script: String,
    /// What reads the script.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shell: Shell,
    /// Where the script begins. Steps enter their folders themselves.
    #[serde(default, skip_serializing_if = "is_default")]
    pub workdir: Workdir,
    /// The checkout before the script, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Checkout>,
    /// Programs that the machine must have to run the script, because a `shell` of the file names them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub programs: BTreeSet<String>,
    /// The axes of the matrix that the job is a leg of, each with its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
    /// Whether the workflow has inputs. Then each job has their values in its environment.
    #[serde(default, skip_serializing_if = "is_default")]
    pub has_inputs: bool,
    /// The workflow's and the job's own variables, each name once, in this order. The `env` of a step is in the script.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, EnvValue)>,
    /// A worker must have all of these.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// Secrets that the job is given in its environment when a worker takes it. No other variable has such a name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<SecretName>,
    /// The group whose jobs run one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Label>,
    /// How often, and after what delay, it is tried again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// How long it may take.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: TimeLimits,
    /// Where the worker looks for outputs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs_from: OutputsFrom,
    /// Which ends of its needs start it.
    #[serde(default, rename = "if", skip_serializing_if = "is_default")]
    pub condition: Condition,
    /// Whether its failure counts as passed, for the run and for the jobs that need it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_failure: bool,
    /// The exit code that ends it as skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_exit: Option<u8>,
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

    /// The shell text that sets `env` and then has the job's shell run its script. It is complete in itself, for a worker that
    /// knows nothing else.
    ///
    /// Names must be shell identifiers. A value with a NUL is kept, so that starting the command fails loudly: no environment
    /// can hold one.
    #[must_use]
    pub fn command(&self, env: &[(String, String)]) -> String {
        script::command(env, Begun { shell: &self.shell, script: &self.script, workdir: &self.workdir })
    }

    /// As [`Self::command`], after a checkout from there if the job has one. A worker that sets the job's variables itself leaves
    /// them to this command, so that none of them reaches git.
    #[must_use]
    pub fn command_with_checkout(&self, env: &[(String, String)], from: &CheckoutFrom) -> String {
        let command = self.command(env);
        match &self.checkout {
            Some(checkout) => fetch::checked_out(&command, checkout, from),
            None => command,
        }
    }

    /// The variables of the job's leg of a matrix.
    pub fn matrix_variables(&self) -> impl Iterator<Item = (String, &str)> {
        self.matrix.iter().map(|(axis, value)| (variable("MATRIX", axis), value.as_str()))
    }
}

impl<'a> Checker<'a> {
    /// The jobs that an entry of `jobs` is written out to, unless something is wrong with it, and what they need in any case.
    pub(super) fn job(&mut self, n: usize, entry: &'a Entry, shared: &Shared) -> (Vec<JobDefinition>, Vec<Edge>) {
        let jobs = Path::Root.key("jobs");
        let legs = self.legs[n].clone();
        self.job_at(Some(n), entry, shared, &legs, (Level::Job, jobs.key(&entry.key)))
    }

    /// As [`Self::job`], also for a job that is no entry of `jobs`, which has no needs.
    pub(super) fn job_at(
        &mut self,
        n: Option<usize>,
        entry: &'a Entry,
        shared: &Shared,
        legs: &[Leg],
        (level, path): (Level, Path<'_>),
    ) -> (Vec<JobDefinition>, Vec<Edge>) {
        let id = self.id("job id", &entry.key, entry.key_at, path);
        let Some(entries) = self.mapping(&entry.value, path, "a job, such as `{run: <command>}`") else {
            return (Vec::new(), Vec::new());
        };
        check_keys(&mut self.report, entries, path, level);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value).filter(|_| level.has(key));
        let name = get("name").and_then(|node| self.text(node, path.key("name"), "text"));
        self.shown(get("name"), path.key("name"));
        let needs = get("needs");
        let edges = needs.zip(n).map(|(node, n)| self.needs(n, node, path.key("needs"))).unwrap_or_default();
        let condition = get("if").map(|node| self.condition(node, path.key("if"))).unwrap_or_default();
        self.check_condition(condition, entry, &edges, path);
        let allow_failure = get("allow_failure").is_some_and(|node| self.boolean(node, path.key("allow_failure")));
        let skip_exit = match get("skip_exit") {
            Some(node) => self.exit_code(node, path.key("skip_exit")),
            None => shared.defaults.skip_exit,
        };
        let labels = match get("labels") {
            Some(node) => self.labels(node, path.key("labels"), legs),
            None => vec![shared.defaults.labels.clone(); legs.len()],
        };
        let concurrency = get("concurrency").and_then(|node| self.group(node, path.key("concurrency")));
        let retry = self.retry(entries, path).unwrap_or_else(|| shared.defaults.retry.clone());
        let limits = self.time_limits(entries, path).or(shared.defaults.limits);
        let outputs_from = get("outputs_from").map(|node| self.outputs_from(node, path.key("outputs_from")));
        let needed = self.needed(needs);
        let scope = Scope::Job { needs: &needed, legs };
        let own = get("env").map(|node| self.env(node, path.key("env"), scope)).unwrap_or_default();
        let given = self.inputs.iter().map(|input| (input.variable(), "an input"));
        let axes = legs[0].values.iter().map(|(axis, _)| (variable("MATRIX", axis), "the matrix"));
        let statuses = self.status_variables(condition, &edges).into_iter().map(|name| (name, "`needs`"));
        let given: Vec<_> = given.chain(axes).chain(statuses).collect();
        let set = shared.env.iter().chain(&own).map(|(name, _)| (name.as_str(), "`env`"));
        let set = set.chain(given.iter().map(|(name, by)| (name.as_str(), *by)));
        let set: Vec<_> = set.chain(set_by_steps(get("steps"))).collect();
        let secrets = get("secrets").map(|node| self.secrets(node, path.key("secrets"), &set)).unwrap_or_default();
        for labels in &labels {
            self.pool(labels, &secrets, entry.key_at, path);
        }
        let checkout = match get("checkout") {
            Some(node) => self.checkout(node, path.key("checkout")),
            None => shared.defaults.checkout.clone(),
        };
        let script = self.script((entry, entries), &shared.defaults, legs, checkout.is_some(), path);
        let metadata = self.passthrough(get("metadata"), path.key("metadata"));
        let size = |script: &Script| script.text.len() + weight(&over(&shared.env, &own, &legs[0]));
        let script = script.filter(|script| self.command_fits(size(script), legs.len(), entry.key_at, path));
        let Some(Script { text, shell, workdir, programs }) = id.and(script) else { return (Vec::new(), edges) };
        let needs: Vec<usize> = edges.iter().flat_map(|edge| edge.legs.clone()).collect();
        let jobs = legs.iter().zip(labels).filter_map(|(leg, labels)| {
            Some(JobDefinition {
                id: JobId::new(leg.job_id(&entry.key)).ok()?,
                needs: needs.clone(),
                at: Some(entry.key_at),
                settings: JobSettings {
                    env: over(&shared.env, &own, leg),
                    labels,
                    secrets: secrets.clone(),
                    concurrency: concurrency.clone(),
                    retry: retry.clone(),
                    limits,
                    outputs_from: outputs_from.unwrap_or(shared.defaults.outputs_from),
                    passthrough: Passthrough { metadata: metadata.clone(), ..Passthrough::default() },
                    shell: shell.clone(),
                    workdir: workdir.clone(),
                    checkout: checkout.clone(),
                    programs: programs.clone(),
                    matrix: leg.values.iter().cloned().collect(),
                    has_inputs: !self.inputs.is_empty(),
                    condition,
                    allow_failure,
                    skip_exit,
                    ..JobSettings::new(name_of(leg, name, &entry.key), text.clone())
                },
            })
        });
        (jobs.collect(), edges)
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
            edges.extend(self.need(job, item, path, index));
        }
        edges
    }
}

/// The name for people: the one given, with the values that tell the leg from others, or the job's id.
fn name_of(leg: &Leg, given: Option<&str>, id: &str) -> String {
    match (given, &leg.suffix) {
        (Some(name), Some(suffix)) => format!("{name} ({})", suffix.replace(',', ", ")),
        (Some(name), None) => name.to_owned(),
        (None, _) => leg.job_id(id),
    }
}
