//! The workflow file: parsed, checked and turned into jobs.
//!
//! Every format is read into one tree that remembers positions and the text of scalars; then the tree is checked, so
//! that all problems are reported at once. Only a syntax error is reported alone.
//!
//! ```text
//! from_yaml ─ yaml ─┐                ┌─ check, job, env, keys   (jobs: a mapping)
//!                   ├─ builder ─ node ┤                          ─ graph, script
//! from_json ─ json ─┘                └─ list                     (jobs: a list)
//! ```

mod advice;
mod bounds;
mod builder;
mod check;
mod env;
mod graph;
mod job;
mod json;
mod keys;
mod list;
mod node;
mod report;
mod retry;
mod schema;
mod script;
mod secrets;
mod steps;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

use protocol::wire;
use protocol::{JobId, OutputName, limits};
use serde::{Deserialize, Serialize};

pub use self::bounds::{Budgets, Retry, TimeLimits};
pub use self::graph::topological_order;
pub use self::job::{JobSettings, Passthrough};
pub use self::schema::{definition_schema, json_schema, list_schema};
pub use self::script::command;

use self::node::{Kind, Node};
use self::report::Report;

/// A checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// As written; the caller knows what else to call it, such as the file's name.
    pub name: Option<String>,
    /// `on` as text, or `manual`. It starts nothing.
    pub trigger: String,
    /// In the order of the file, which isn't an order to run them in.
    pub jobs: Vec<JobDefinition>,
    /// What is worth saying though nothing is wrong, such as that `on` starts nothing.
    pub notes: Vec<Problem>,
}

/// A job of a checked definition.
#[derive(Clone, Debug, PartialEq)]
pub struct JobDefinition {
    /// Unique in the definition.
    pub id: JobId,
    /// Positions in [`Definition::jobs`], each once, without a cycle.
    pub needs: Vec<usize>,
    /// Everything else that the definition says about the job.
    pub settings: JobSettings,
}

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

/// Where in the source something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes from the beginning of the source.
    pub offset: usize,
    /// In bytes; 0 where only the beginning is known, as of a mapping.
    pub len: usize,
}

/// One thing that is wrong with a definition, or worth noting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A word that stays the same from release to release.
    pub code: &'static str,
    /// What is wrong, with the value, the limit or what to write; one sentence, without its place.
    pub message: String,
    /// `jobs.build.needs[0]`; empty for the whole.
    pub path: String,
    /// `None` for the form with a list of jobs, which no person wrote.
    pub at: Option<Position>,
}

/// `3:5: there is no job ...`, or the path instead of line and column.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:{}: ", at.line, at.column)?,
            None if self.path.is_empty() => {}
            None => write!(f, "{}: ", self.path)?,
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for wire::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.to_owned(),
            message: problem.message,
            path: problem.path,
            line: problem.at.map(|at| at.line),
            column: problem.at.map(|at| at.column),
        }
    }
}

/// Reads a definition in YAML.
///
/// # Errors
///
/// Every problem there is, in the order of the file; of very many the first thousand, and a last one that counts the
/// rest.
pub fn from_yaml(text: &str) -> Result<Definition, Vec<Problem>> {
    check_size(text)?;
    let (root, report) = yaml::read(text);
    let (root, report) = whole(root, report)?;
    check::definition(&root, report)
}

/// Reads a body in JSON: `jobs` is a list of jobs as clients send them, or an object as in [`from_yaml`].
///
/// # Errors
///
/// As for [`from_yaml`]; for the list, problems have paths and no positions.
pub fn from_json(text: &str) -> Result<Definition, Vec<Problem>> {
    check_size(text)?;
    let (root, report) = json::read(text);
    let (root, report) = whole(root, report)?;
    if list::is_list_form(&root) { list::definition(&root, report) } else { check::definition(&root, report) }
}

fn check_size(text: &str) -> Result<(), Vec<Problem>> {
    if text.len() <= limits::DEFINITION {
        return Ok(());
    }
    let message = format!(
        "the definition is {} bytes; at most {} are allowed. Put long scripts in files that the jobs run",
        text.len(),
        limits::DEFINITION
    );
    Err(vec![Problem { code: "too_large", message, path: String::new(), at: None }])
}

/// The tree, if the source could be read to its end and has something in it.
fn whole(root: Option<Node>, mut report: Report) -> Result<(Node, Report), Vec<Problem>> {
    match root {
        Some(root) if !matches!(&root.kind, Kind::Scalar { text, plain: true } if text.is_empty()) => {
            Ok((root, report))
        }
        _ => {
            if report.is_empty() {
                let at = Position { line: 1, column: 1, ..Position::default() };
                report.add("empty", at, "", "there is nothing in it; write `jobs: {<id>: {run: <command>}}`");
            }
            Err(report.into_problems())
        }
    }
}
