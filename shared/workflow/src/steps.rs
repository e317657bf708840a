//! What a job runs: `run`, or `steps` put together into one script.

use std::collections::{BTreeSet, HashSet};

use protocol::limit;

use super::advice::check_keys;
use super::checker::Checker;
use super::defaults::Defaults;
use super::env::{EnvValue, Scope, Written};
use super::keys::{self, Level};
use super::leg::{Leg, variable};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;
use super::script::{self, Step, StepValue};
use super::shell::Shell;
use super::workdir::Workdir;

/// What a job runs.
pub(super) struct Script {
    pub text: String,
    pub shell: Shell,
    pub workdir: Workdir,
    /// The programs that shells of the file name.
    pub programs: BTreeSet<String>,
}

impl Checker<'_> {
    /// The job's script, from whichever of `run` and `steps` it has.
    pub(super) fn script(
        &mut self,
        (entry, entries): (&Entry, &[Entry]),
        defaults: &Defaults,
        legs: &[Leg],
        checks_out: bool,
        path: Path<'_>,
    ) -> Option<Script> {
        let shell = keys::find(entries, "shell").map(|entry| self.shell(&entry.value, path.key("shell")));
        let shell = shell.unwrap_or_else(|| defaults.shell.clone()).unwrap_or(Shell::Strict);
        let workdir = keys::find(entries, "workdir").map(|entry| self.workdir(&entry.value, path.key("workdir")));
        let workdir = workdir.unwrap_or_else(|| defaults.workdir.clone());
        let workdir = workdir.unwrap_or(if checks_out { Workdir::Checkout } else { Workdir::Shared });
        match (keys::find(entries, "run"), keys::find(entries, "steps")) {
            (Some(run), None) => {
                let text = self.run(&run.value, path.key("run"))?;
                let text = after(defaults, &shell, text);
                self.warn_if_long(&text, run.key_at, path.key("run"));
                let programs = programs([(&shell, &workdir)]);
                Some(Script { text, shell, workdir, programs })
            }
            (None, Some(steps)) => {
                let context = StepContext { shell, workdir, defaults, legs };
                let script = self.steps(&steps.value, path.key("steps"), &context)?;
                self.warn_if_long(&script.text, steps.key_at, path.key("steps"));
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

    fn steps(&mut self, node: &Node, path: Path<'_>, context: &StepContext<'_>) -> Option<Script> {
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of steps, such as `- run: <command>`");
            return None;
        };
        if items.is_empty() {
            self.report.add("no_steps", node.at, path, "`steps` is empty; write `- run: <command>`");
        }
        self.at_most(items.len(), limit!(STEPS), "steps", node.at, path);
        let mut ids = HashSet::new();
        let steps: Vec<_> =
            (0..).zip(items).map(|(n, item)| self.step(n, item, path.index(n), context, &mut ids)).collect();
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        // Quoting makes the text longer, so a text that is too long already is not quoted.
        let size = steps.iter().map(Step::size).sum();
        self.no_longer_than(limit!(COMMAND), size, node.at, path).then(|| Script {
            text: script::steps(&steps),
            shell: Shell::Plain,
            workdir: Workdir::Shared,
            programs: programs(steps.iter().map(|step| (&step.shell, &step.workdir))),
        })
    }

    fn step<'n>(
        &mut self,
        n: usize,
        node: &'n Node,
        path: Path<'_>,
        context: &StepContext<'_>,
        ids: &mut HashSet<&'n str>,
    ) -> Option<Step> {
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
        let scope = Scope::Step { legs: context.legs };
        let env = get("env").map(|node| self.env(node, path.key("env"), scope)).unwrap_or_default();
        let shell = get("shell").and_then(|node| self.shell(node, path.key("shell")));
        let workdir = get("workdir").and_then(|node| self.workdir(node, path.key("workdir")));
        let Some(run) = get("run") else {
            self.report.add("missing_run", node.at, path, "this step has nothing to run; write `run`");
            return None;
        };
        let shell = shell.unwrap_or_else(|| context.shell.clone());
        let run = after(context.defaults, &shell, self.run(run, path.key("run"))?);
        let title = name.or(id).map_or_else(|| format!("step {}", n + 1), str::to_owned);
        let env = env.into_iter().filter_map(|(name, value)| Some((name, value_of_step(value)?))).collect();
        let workdir = workdir.unwrap_or_else(|| context.workdir.clone());
        Some(Step { title, env, run, shell, workdir })
    }
}

/// What the steps of a job have in common.
struct StepContext<'c> {
    shell: Shell,
    workdir: Workdir,
    defaults: &'c Defaults,
    legs: &'c [Leg],
}

/// The script after the lines that are before each. Those are for the default shell, so a script of a program of its own
/// doesn't have them.
fn after(defaults: &Defaults, shell: &Shell, run: &str) -> String {
    let is_of_shells = |shell: &Shell| !matches!(shell, Shell::Program(_));
    let default = defaults.shell.as_ref().unwrap_or(&Shell::Strict);
    let fits = shell == default || (is_of_shells(shell) && is_of_shells(default));
    match &defaults.before {
        Some(before) if fits => format!("{}\n{run}", before.strip_suffix('\n').unwrap_or(before)),
        _ => run.to_owned(),
    }
}

fn programs<'s>(shells: impl IntoIterator<Item = (&'s Shell, &'s Workdir)>) -> BTreeSet<String> {
    let named = shells.into_iter().filter_map(|(shell, workdir)| shell.program_to_find(workdir));
    named.map(str::to_owned).collect()
}

/// A step takes the values of inputs and axes from the job's environment.
fn value_of_step(value: Written) -> Option<StepValue> {
    match value {
        Written::Value(EnvValue::Text(text)) => Some(StepValue::Text(text)),
        Written::Value(EnvValue::Input(name)) => Some(StepValue::Variable(variable("INPUT", &name))),
        Written::Value(EnvValue::Output { .. }) => None,
        Written::Axis(axis) => Some(StepValue::Variable(variable("MATRIX", &axis))),
    }
}
