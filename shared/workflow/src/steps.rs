//! What a job runs: `run`, or `steps` put together into one script.

use std::collections::HashSet;

use protocol::limit;

use super::advice::check_keys;
use super::checker::Checker;
use super::env::EnvValue;
use super::keys::{self, Level};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;
use super::script::{self, Step};

impl Checker<'_> {
    /// The job's script, from whichever of `run` and `steps` it has.
    pub(super) fn script(&mut self, entry: &Entry, entries: &[Entry], path: Path<'_>) -> Option<String> {
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
        self.no_nul(text, node.at, path);
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
        self.at_most(items.len(), limit!(STEPS), "steps", node.at, path);
        let mut ids = HashSet::new();
        let steps: Vec<_> = (0..).zip(items).map(|(n, item)| self.step(n, item, path.index(n), &mut ids)).collect();
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        // Quoting makes the text longer, so a text that is too long already is not quoted.
        let size = steps.iter().map(Step::size).sum();
        self.no_longer_than(limit!(COMMAND), size, node.at, path).then(|| script::steps(&steps))
    }

    fn step<'n>(&mut self, n: usize, node: &'n Node, path: Path<'_>, ids: &mut HashSet<&'n str>) -> Option<Step> {
        let entries = self.mapping(node, path, "a step, such as `- run: <command>`")?;
        check_keys(&mut self.report, entries, path, Level::Step);
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
