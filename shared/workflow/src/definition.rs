//! Checks the tree of a workflow file and turns it into a definition.

use std::mem;

use protocol::wire::Condition;
use protocol::{limit, limits};

use super::advice::check_keys;
use super::builder::EXPANDED;
use super::checker::Checker;
use super::defaults::Shared;
use super::env::{EnvValue, Scope, over, weight};
use super::events::{Events, MANUAL, ReportStates};
use super::graph;
use super::group::RunGroup;
use super::input::Input;
use super::job::JobDefinition;
use super::keys::{self, Level};
use super::leg::Leg;
use super::node::{Entry, Kind, Node, Path};
use super::problem::{Position, Problem};
use super::report::{Report, quote};

/// The key of the job that runs if another one failed. It is the job's id too.
const HANDLER: &str = "on_failure";

/// A checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// As written; the caller knows what else to call it, such as the file's name.
    pub name: Option<String>,
    /// The names of the events in `on`, or `manual`.
    pub trigger: String,
    /// The events that start a run.
    pub events: Events,
    /// The states that a linked forge is told.
    pub states: ReportStates,
    /// The values that a run may be given.
    pub inputs: Vec<Input>,
    /// The group of its runs, if it has one.
    pub concurrency: Option<RunGroup>,
    /// In the order of the file, which isn't an order to run them in. A matrix is written out. The job of `on_failure` is the
    /// last.
    pub jobs: Vec<JobDefinition>,
    /// Remarks about a valid definition, such as that `on` needs a link.
    pub notes: Vec<Problem>,
}

impl Definition {
    /// The positions of the jobs so that each comes after all it needs. Among those that could come next, the first of the
    /// file does.
    #[must_use]
    pub fn topological_order(&self) -> Vec<usize> {
        graph::topological_order(&self.jobs.iter().map(|job| job.needs.as_slice()).collect::<Vec<_>>())
    }
}

/// Checks a definition: a mapping with `jobs` a mapping.
pub(super) fn check(root: &Node, report: Report) -> Result<Definition, Vec<Problem>> {
    let mut checker = Checker::new(report);
    let definition = checker.workflow(root);
    checker.finish(definition)
}

impl<'a> Checker<'a> {
    pub fn finish(self, definition: Option<Definition>) -> Result<Definition, Vec<Problem>> {
        match definition {
            Some(definition) if self.report.is_empty() => {
                Ok(Definition { notes: self.notes.into_problems(), ..definition })
            }
            _ => Err(self.report.into_problems()),
        }
    }

    fn workflow(&mut self, root: &'a Node) -> Option<Definition> {
        let path = Path::Root;
        let entries = self.mapping(root, path, "a mapping with `jobs`")?;
        check_keys(&mut self.report, entries, path, Level::Workflow);
        let name = keys::find(entries, "name").and_then(|entry| self.text(&entry.value, path.key("name"), "text"));
        self.shown(keys::find(entries, "name").map(|entry| &entry.value), path.key("name"));
        let on = keys::find(entries, "on").map(|entry| self.events(entry));
        let (events, trigger) = on.unwrap_or_else(|| (Events::default(), MANUAL.to_owned()));
        let jobs = match keys::find(entries, "jobs").map(|entry| &entry.value) {
            Some(node) if !node.is_null() => self.mapping(node, path.key("jobs"), "a mapping of ids to jobs")?,
            _ => &[],
        };
        let inputs = keys::find(entries, "inputs");
        self.inputs = inputs.map(|entry| self.inputs(&entry.value, path.key("inputs"))).unwrap_or_default();
        if !events.is_empty() {
            self.forge_inputs(inputs);
        }
        let concurrency = keys::find(entries, "concurrency");
        let group_at = concurrency.map(|entry| entry.key_at);
        let concurrency = concurrency.and_then(|entry| self.run_group(&entry.value, path.key("concurrency")));
        self.expand_matrices(jobs);
        let at = keys::find(entries, "jobs").map_or(root.at, |entry| entry.key_at);
        let handler = keys::find(entries, HANDLER);
        self.count(self.count_legs() + usize::from(handler.is_some()), at);
        let env = keys::find(entries, "env");
        let env_values = env.map(|entry| self.env(&entry.value, path.key("env"), Scope::Workflow)).unwrap_or_default();
        if let Some(env) = env {
            self.env_fits(env, &over(&[], &env_values, &Leg::default()), self.count_legs());
        }
        let defaults = keys::find(entries, "defaults");
        let defaults = defaults.map(|entry| self.defaults(&entry.value, path.key("defaults"))).unwrap_or_default();
        let shared = Shared { defaults, env: env_values };
        let mut jobs = self.jobs(jobs, &shared);
        jobs.extend(handler.map(|entry| self.handler(entry, &shared)).unwrap_or_default());
        let states = keys::find(entries, "report");
        let states = states.map(|entry| self.report_states(&entry.value, path.key("report"))).unwrap_or_default();
        if let (Some(at), Some(group)) = (group_at, &concurrency) {
            self.note_always(group, &jobs, at);
        }
        Some(Definition {
            name: name.map(str::to_owned),
            trigger,
            events,
            states,
            inputs: mem::take(&mut self.inputs),
            concurrency,
            jobs,
            notes: Vec::new(),
        })
    }

    /// Notes a job that is meant to run in any case in a workflow whose runs a newer one cancels.
    fn note_always(&mut self, group: &RunGroup, jobs: &[JobDefinition], at: Position) {
        let always = jobs.iter().find(|job| job.settings.condition == Condition::Always);
        if let Some(job) = always.filter(|_| group.yields) {
            let message = format!(
                "a newer run cancels this one, and after a cancel nothing starts, {} with `if: always` neither; clean up in a trap of \
                 the script, within the time that a cancelled job is given",
                quote(job.id.as_str())
            );
            self.notes.add("always_after_cancel", at, Path::Root.key("concurrency"), message);
        }
    }

    /// Writes out each matrix, so that needs may name its legs.
    fn expand_matrices(&mut self, entries: &'a [Entry]) {
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let jobs = Path::Root.key("jobs");
            let path = jobs.key(&entry.key);
            let matrix = match &entry.value.kind {
                Kind::Map(keys) => keys::find(keys, "matrix").map(|entry| &entry.value),
                _ => None,
            };
            all.push(self.legs(matrix, &entry.key, path.key("matrix")));
        }
        self.name_jobs(entries.iter().map(|entry| entry.key.as_str()), all);
        for (entry, legs) in entries.iter().zip(self.legs.clone()) {
            for id in legs.iter().filter(|leg| leg.suffix.is_some()).map(|leg| leg.job_id(&entry.key)) {
                if self.ids.contains_key(id.as_str()) {
                    let message =
                        format!("a combination of this job's matrix is the job {} too; rename one", quote(&id));
                    self.report.add("duplicate_job", entry.key_at, Path::Root.key("jobs").key(&entry.key), message);
                }
            }
        }
    }

    pub fn count(&mut self, jobs: usize, at: Position) {
        if jobs == 0 {
            let message = "a workflow needs at least one job; write `jobs: {<id>: {run: <command>}}`";
            self.report.add("no_jobs", at, "jobs", message);
        } else if jobs > limits::JOBS {
            let message = format!("{jobs} jobs; a workflow may have {} (limit JOBS). Split it", limits::JOBS);
            self.report.add("too_many_jobs", at, "jobs", message);
        }
    }

    fn jobs(&mut self, entries: &'a [Entry], shared: &Shared) -> Vec<JobDefinition> {
        let mut jobs = Vec::with_capacity(entries.len());
        let mut edges = Vec::with_capacity(entries.len());
        for (n, entry) in entries.iter().enumerate() {
            let (job, needs) = self.job(n, entry, shared);
            jobs.extend(job);
            edges.push(needs);
        }
        self.cycles(&edges, "needs", |n| Path::Root.key("jobs").key(&entries[n].key).to_string());
        jobs
    }

    /// The job of `on_failure`, without needs.
    fn handler(&mut self, entry: &'a Entry, shared: &Shared) -> Vec<JobDefinition> {
        let path = Path::Root.key(HANDLER);
        if self.ids.contains_key(HANDLER) {
            let message = "a job has this id too; rename it";
            self.report.add("duplicate_job", entry.key_at, path, message);
        }
        let (mut jobs, _) = self.job_at(None, entry, shared, &[Leg::default()], (Level::OnFailure, path));
        for job in &mut jobs {
            job.settings.condition = Condition::OnFailure;
        }
        jobs
    }

    fn env_fits(&mut self, entry: &Entry, env: &[(String, EnvValue)], jobs: usize) {
        let size = weight(env);
        let (count, limit) = (env.len().saturating_mul(jobs), limit!(ENV_IN_ALL));
        if count > limit.most {
            let message = format!(
                "every job is given these variables, which for {jobs} jobs makes {count}; {limit}. Give them to the jobs that use them"
            );
            self.report.add("too_many", entry.key_at, "env", message);
        }
        if size.saturating_mul(jobs) > EXPANDED {
            let message = format!(
                "every job is given these {size} bytes, which for {jobs} jobs makes over {EXPANDED}; give them to the jobs that use them"
            );
            self.report.add("too_large", entry.key_at, "env", message);
        }
    }
}
