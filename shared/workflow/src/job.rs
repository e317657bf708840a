//! One job of a definition.

use std::collections::HashSet;

use protocol::wire::OutputsFrom;
use protocol::{BadId, BadLabel, JobId, Label, LabelSet, limits};
use serde_json::Value;

use super::check::{Checker, Edge};
use super::env::Needed;
use super::keys::{self, Level};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;
use super::script::{self, Step};
use super::secrets::set_by_steps;
use super::{EnvValue, JobDefinition};

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
        keys::check(&mut self.report, entries, path, Level::Job);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let name = get("name").and_then(|node| self.text(node, path.key("name"), "text"));
        self.shown(get("name"), path.key("name"));
        let needs = get("needs");
        let edges = needs.map(|node| self.needs(n, node, path.key("needs"))).unwrap_or_default();
        let labels = get("labels").map(|node| self.labels(node, path.key("labels")));
        let retry = self.retry(entries, path);
        let limits = self.time_limits(entries, path);
        let outputs_from = get("outputs_from").map(|node| self.outputs_from(node, path.key("outputs_from")));
        let own = get("env").map(|node| self.env(node, path.key("env"), Some(&Needed::new(needs))));
        let env = over(workflow_env, own.unwrap_or_default());
        let set: Vec<_> =
            env.iter().map(|(name, _)| (name.as_str(), "`env`")).chain(set_by_steps(get("steps"))).collect();
        let secrets = get("secrets").map(|node| self.secrets(node, path.key("secrets"), &set));
        let script = self.script(entry, entries, path);
        let metadata = self.kept(get("metadata"), path.key("metadata"));
        let size: usize = env.iter().map(|(name, value)| name.len() + value.weight()).sum();
        let script = script.filter(|script| self.command_fits(script.len() + size, entry.key_at, path));
        let job = id.zip(script).map(|(id, script)| JobDefinition {
            name: name.unwrap_or(&entry.key).to_owned(),
            id,
            script,
            env,
            needs: edges.iter().map(|edge| edge.to).collect(),
            labels: labels.unwrap_or_default(),
            secrets: secrets.unwrap_or_default(),
            retry,
            limits,
            outputs_from: outputs_from.unwrap_or_default(),
            metadata,
            ports: Value::Null,
            children: Value::Null,
            collapsed: Value::Null,
        });
        (job, edges)
    }

    pub(super) fn id(&mut self, what: &str, text: &str, at: super::Position, path: Path<'_>) -> Option<JobId> {
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
        if let Err(error) = labels.at_most(limits::LABELS_PER_JOB) {
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

    fn script(&mut self, entry: &Entry, entries: &[Entry], path: Path<'_>) -> Option<String> {
        match (keys::find(entries, "run"), keys::find(entries, "steps")) {
            (Some(run), None) => {
                let script = self.run(&run.value, path.key("run"))?;
                self.warn_if_long(script, run.key_at, path.key("run"));
                Some(script.to_owned())
            }
            (None, Some(steps)) => {
                let script = self.steps(&steps.value, path.key("steps"))?;
                self.warn_if_long(&script, steps.key_at, path.key("steps"));
                Some(script)
            }
            (Some(_), Some(steps)) => {
                let message = format!("the job {} has both `run` and `steps`; keep one of them", quote(&entry.key));
                self.report.add("run_and_steps", steps.key_at, path.key("steps"), message);
                None
            }
            (None, None) => {
                let message = format!("the job {} has nothing to run; write `run` or `steps`", quote(&entry.key));
                self.report.add("missing_run", entry.key_at, path, message);
                None
            }
        }
    }

    fn run<'n>(&mut self, node: &'n Node, path: Path<'_>) -> Option<&'n str> {
        if node.is_null() || node.text().is_some_and(|text| text.trim().is_empty()) {
            self.report.add("empty_run", node.at, path, "`run` is empty; write a command (`true` does nothing)");
            return None;
        }
        let text = self.text(node, path, "a command")?;
        self.no_nul(text, node, path);
        Some(text)
    }

    fn steps(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of steps, such as `- run: <command>`");
            return None;
        };
        if items.is_empty() {
            self.report.add("no_steps", node.at, path, "`steps` is empty; write `- run: <command>`");
        }
        self.at_most(items.len(), limits::STEPS, "steps", node.at, path);
        let mut ids = HashSet::new();
        let steps: Vec<_> = (0..).zip(items).map(|(n, item)| self.step(n, item, path.index(n), &mut ids)).collect();
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        // Quoting makes more of it, so what is too long as it stands isn't even put together.
        let size = steps.iter().map(Step::size).sum();
        self.no_longer_than(limits::COMMAND, size, node.at, path).then(|| script::steps(&steps))
    }

    fn step<'n>(&mut self, n: usize, node: &'n Node, path: Path<'_>, ids: &mut HashSet<&'n str>) -> Option<Step> {
        let entries = self.mapping(node, path, "a step, such as `- run: <command>`")?;
        keys::check(&mut self.report, entries, path, Level::Step);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let id = get("id").and_then(|node| {
            let path = path.key("id");
            let id = self.text(node, path, "text")?;
            self.id("step id", id, node.at, path);
            if !ids.insert(id) {
                let message = format!("an earlier step of this job has the id {}; choose another", quote(id));
                self.report.add("duplicate_step", node.at, path, message);
            }
            Some(id)
        });
        let name = get("name").and_then(|node| {
            let path = path.key("name");
            self.shown(Some(node), path);
            self.text(node, path, "text")
        });
        let env = get("env").map(|node| self.env(node, path.key("env"), None)).unwrap_or_default();
        let Some(run) = get("run") else {
            self.report.add("missing_run", node.at, path, "this step has nothing to run; write `run`");
            return None;
        };
        let run = self.run(run, path.key("run"))?.to_owned();
        let title = name.or(id).map_or_else(|| format!("step {}", n + 1), str::to_owned);
        let text = |(name, value)| match value {
            EnvValue::Text(text) => Some((name, text)),
            EnvValue::Output { .. } => None,
        };
        Some(Step { title, env: env.into_iter().filter_map(text).collect(), run })
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
        return format!(
            "the label {} is {} bytes long; at most {} are allowed",
            quote(text),
            text.len(),
            limits::LABEL
        );
    }
    match error {
        BadLabel::Character { found: ',', .. } => {
            format!("the label {} has a comma; write several labels as a list", quote(text))
        }
        other => other.to_string(),
    }
}
