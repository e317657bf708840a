//! The state of a check, and the checks that several parts of a definition share. Every problem is added to the report.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use protocol::{LabelSet, Limit, SecretName, limit, limits};
use serde_json::Value;

use super::builder::EXPANDED;
use super::expression;
use super::graph;
use super::input::Input;
use super::leg::Leg;
use super::node::{Entry, Kind, Node, Path};
use super::problem::Position;
use super::report::{Report, nearest, quote};

/// What suggestions for unknown needs may cost in one definition, in pairs of letters compared: a moment.
const COMPARISONS: usize = 20_000_000;
/// Jobs of a cycle that a message names.
const CYCLE_SHOWN: usize = 40;
/// The longest argument that Linux starts a program with, and so the longest command of `sh -c` there.
const ARGUMENT: usize = 131_071;

pub(super) struct Checker<'a> {
    pub report: Report,
    pub notes: Report,
    /// Positions in `names`.
    pub ids: HashMap<&'a str, usize>,
    /// Every job's id as written, in the order of the file.
    pub names: Vec<&'a str>,
    /// What each of these jobs is written out to. Without a matrix it is one leg.
    pub legs: Vec<Vec<Leg>>,
    /// The position of each job's first leg among all legs.
    starts: Vec<usize>,
    /// The legs that have an id of their own: the position in `names`, and among all legs.
    leg_ids: HashMap<String, (usize, usize)>,
    /// The inputs that the definition declares.
    pub inputs: Vec<Input>,
    /// For each leg the last job that was seen to need it, so that a need given twice shows.
    needed_by: Vec<Option<usize>>,
    needs: usize,
    /// The distinct sets of labels and secrets so far.
    pools: HashSet<(LabelSet, BTreeSet<SecretName>)>,
    /// The size of all jobs' commands so far.
    commands: usize,
    comparisons: usize,
}

/// A need and the position where it is written.
pub(super) struct Edge {
    /// The job as written: a position in `Checker::names`.
    pub to: usize,
    /// The legs of it that are needed: positions in the definition's jobs.
    pub legs: Range<usize>,
    pub at: Position,
    pub index: Option<usize>,
}

impl<'a> Checker<'a> {
    pub fn new(report: Report) -> Self {
        Self {
            report,
            notes: Report::default(),
            ids: HashMap::new(),
            names: Vec::new(),
            legs: Vec::new(),
            starts: Vec::new(),
            leg_ids: HashMap::new(),
            inputs: Vec::new(),
            needed_by: Vec::new(),
            needs: 0,
            pools: HashSet::new(),
            commands: 0,
            comparisons: COMPARISONS,
        }
    }

    /// The ids that needs may name; the first of equal ones counts. `legs` are those of each job.
    pub fn name_jobs(&mut self, names: impl Iterator<Item = &'a str>, legs: Vec<Vec<Leg>>) {
        self.names = names.collect();
        for (n, &name) in self.names.iter().enumerate() {
            self.ids.entry(name).or_insert(n);
        }
        let mut start = 0;
        for (n, legs) in legs.iter().enumerate() {
            self.starts.push(start);
            for (position, leg) in (start..).zip(legs).filter(|(_, leg)| leg.suffix.is_some()) {
                self.leg_ids.insert(leg.job_id(self.names[n]), (n, position));
            }
            start += legs.len();
        }
        self.needed_by = vec![None; start];
        self.legs = legs;
    }

    /// The number of jobs that the definition is written out to.
    pub fn count_legs(&self) -> usize {
        self.needed_by.len()
    }

    /// A job by the id that a need has: the job as written, and the legs that are meant.
    fn job_of_need(&self, id: &str) -> Option<(usize, Range<usize>)> {
        if let Some(&job) = self.ids.get(id) {
            let start = self.starts[job];
            return Some((job, start..start + self.legs[job].len()));
        }
        self.leg_ids.get(id).map(|&(job, position)| (job, position..position + 1))
    }

    /// Whether a text may begin with the id of a leg, because the matrix of that job has a problem and its legs are not known.
    pub fn may_be_leg(&self, text: &str) -> bool {
        let ids = &text[..text.floor_char_boundary(limits::ID + 1)];
        let mut before_signs = ids.match_indices('@').map(|(at, _)| &text[..at]);
        before_signs.any(|job| self.ids.get(job).is_some_and(|&job| self.legs[job].iter().any(|leg| leg.unknown)))
    }

    /// One need, if there is such a job and it may be needed.
    pub fn need(&mut self, job: usize, node: &Node, path: Path<'_>, index: Option<usize>) -> Option<Edge> {
        let name = self.text(node, path, "the id of a job")?;
        let Some((to, legs)) = self.job_of_need(name) else {
            if self.may_be_leg(name) {
                return None;
            }
            let ids = self.names.iter().copied().chain(self.leg_ids.keys().map(String::as_str));
            let near = nearest(name, ids, &mut self.comparisons);
            let near = near.map(|near| format!("; did you mean {}?", quote(near))).unwrap_or_default();
            self.report.add("unknown_need", node.at, path, format!("there is no job {}{near}", quote(name)));
            return None;
        };
        let before = self.needs;
        self.needs += legs.len() * self.legs[job].len();
        if before <= limits::NEEDS && self.needs > limits::NEEDS {
            let message =
                format!("here begin needs over the {} that a workflow may have (limit NEEDS); split it", limits::NEEDS);
            self.report.add("too_many_needs", node.at, path, message);
        }
        if to == job {
            let message = format!("the job {} needs itself; remove that", quote(name));
            self.report.add("self_need", node.at, path, message);
            return None;
        }
        let again = self.needed_by[legs.clone()].iter_mut().filter_map(|by| by.replace(job)).any(|by| by == job);
        if again {
            let message = format!("the job {} is needed twice; remove one", quote(name));
            self.report.add("duplicate_need", node.at, path, message);
            return None;
        }
        Some(Edge { to, legs, at: node.at, index })
    }

    pub fn cycles(&mut self, edges: &[Vec<Edge>], key: &str, path: impl Fn(usize) -> String) {
        let needs: Vec<Vec<usize>> = edges.iter().map(|edges| edges.iter().map(|edge| edge.to).collect()).collect();
        for cycle in graph::cycles(&needs) {
            let [first, second, ..] = cycle[..] else { continue };
            let Some(edge) = edges[first].iter().find(|edge| edge.to == second) else { continue };
            let index = edge.index.map(|index| format!("[{index}]")).unwrap_or_default();
            let message = format!("these jobs need one another and could never start: {}", self.way(&cycle));
            self.report.add("cycle", edge.at, format!("{}.{key}{index}", path(first)), message);
        }
    }

    /// `a -> b -> a`, the middle of a long one left out.
    fn way(&self, cycle: &[usize]) -> String {
        let name = |&n: &usize| self.names[n].chars().take(limits::ID).collect::<String>();
        let mut names: Vec<_> = cycle.iter().chain(cycle.first()).map(name).collect();
        if names.len() > CYCLE_SHOWN {
            let left_out = names.len() - CYCLE_SHOWN;
            names.splice(CYCLE_SHOWN / 2..CYCLE_SHOWN / 2 + left_out, [format!("({left_out} more)")]);
        }
        names.join(" -> ")
    }

    /// A script with something in it.
    pub fn run<'n>(&mut self, node: &'n Node, path: Path<'_>) -> Option<&'n str> {
        if node.is_null() || node.text().is_some_and(|text| text.trim().is_empty()) {
            self.report.add("empty_run", node.at, path, "it is empty; write a command (`true` does nothing)");
            return None;
        }
        let text = self.text(node, path, "a command")?;
        self.no_nul(text, node.at, path);
        if let Some(message) = expression::instead(text) {
            self.notes.add("expression", node.at, path, message);
        }
        Some(text)
    }

    pub fn warn_if_long(&mut self, script: &str, at: Position, path: Path<'_>) {
        if script.len() > ARGUMENT {
            let message = format!(
                "the command is {} bytes; where a worker runs it with `sh -c` on Linux, {ARGUMENT} is the most. Put it in a file that the job runs",
                script.len()
            );
            self.notes.add("long_command", at, path, message);
        }
    }

    pub fn mapping<'n>(&mut self, node: &'n Node, path: Path<'_>, expected: &str) -> Option<&'n [Entry]> {
        if let Kind::Map(entries) = &node.kind {
            return Some(entries);
        }
        self.wrong_type(node, path, expected);
        None
    }

    /// A scalar's text as written: `1.10` and `no` too.
    pub fn text<'n>(&mut self, node: &'n Node, path: Path<'_>, expected: &str) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.wrong_type(node, path, expected);
        }
        text
    }

    /// A text that lists show: not too long, and without a NUL.
    pub fn shown(&mut self, node: Option<&Node>, path: Path<'_>) {
        let Some((node, text)) = node.and_then(|node| Some((node, node.text()?))) else { return };
        self.no_longer_than(limit!(NAME), text.len(), node.at, path);
        self.no_nul(text, node.at, path);
    }

    /// Whether a text of this size is allowed; reported if it isn't.
    pub fn no_longer_than(&mut self, limit: Limit, size: usize, at: Position, path: Path<'_>) -> bool {
        if size > limit.most {
            self.report.add("too_long", at, path, format!("it is {size} bytes; {limit}"));
        }
        size <= limit.most
    }

    /// Reports more of something than there may be.
    pub fn at_most(&mut self, count: usize, limit: Limit, what: &str, at: Position, path: Path<'_>) {
        if count > limit.most {
            self.report.add("too_many", at, path, format!("{count} {what}; {limit}"));
        }
    }

    /// Reports the first job with which the workflow has too many distinct sets of labels and secrets.
    pub fn pool(&mut self, labels: &LabelSet, secrets: &BTreeSet<SecretName>, at: Position, path: Path<'_>) {
        let Limit { name, most } = limit!(POOLS_PER_WORKFLOW);
        if self.pools.insert((labels.clone(), secrets.clone())) && self.pools.len() == most + 1 {
            let message = format!(
                "with this job the workflow has over {most} distinct sets of labels and secrets (limit {name}); use fewer"
            );
            self.report.add("too_many_pools", at, path, message);
        }
    }

    /// A value that is stored as given, if it isn't too large.
    pub fn passthrough(&mut self, node: Option<&Node>, path: Path<'_>) -> Value {
        let Some(node) = node else { return Value::Null };
        let value = node.to_value();
        let size = value.to_string().len();
        if self.no_longer_than(limit!(KEPT), size, node.at, path) { value } else { Value::Null }
    }

    /// Whether a job's command, and all commands together, are within their limits; reported if not. `jobs` have it.
    pub fn command_fits(&mut self, size: usize, jobs: usize, at: Position, path: Path<'_>) -> bool {
        let before = self.commands;
        self.commands += size * jobs;
        if before <= EXPANDED && self.commands > EXPANDED {
            let message =
                format!("with this one the commands of all jobs are over {EXPANDED} bytes; split the workflow");
            self.report.add("too_large", at, path, message);
        }
        self.no_longer_than(limit!(COMMAND), size, at, path) && self.commands <= EXPANDED
    }

    /// The items of a list with their indices, or the scalar itself.
    pub fn one_or_many<'n>(
        &mut self,
        node: &'n Node,
        path: Path<'_>,
        expected: &str,
    ) -> Vec<(Option<usize>, &'n Node)> {
        match &node.kind {
            Kind::List(items) => items.iter().enumerate().map(|(n, item)| (Some(n), item)).collect(),
            Kind::Scalar { .. } if !node.is_null() => vec![(None, node)],
            _ => {
                self.wrong_type(node, path, expected);
                Vec::new()
            }
        }
    }

    /// `true` or `false`, without quotes; false if it is anything else.
    pub fn boolean(&mut self, node: &Node, path: Path<'_>) -> bool {
        if let Value::Bool(value) = node.to_value() {
            return value;
        }
        self.wrong_type(node, path, "true or false");
        false
    }

    pub fn wrong_type(&mut self, node: &Node, path: Path<'_>, expected: &str) {
        let message = format!("expected {expected}, but here is {}", node.describe());
        self.report.add("wrong_type", node.at, path, message);
    }

    /// No argument and no variable of a program can hold a NUL, and no terminal shows it.
    pub fn no_nul(&mut self, text: &str, at: Position, path: Path<'_>) {
        if text.contains('\0') {
            self.report.add("bad_character", at, path, "a NUL character is not allowed here; remove it");
        }
    }
}
