//! The workflow file: parsed, checked and turned into jobs.
//!
//! Every format is read into one tree that remembers positions and the text of scalars; then the tree is checked, so
//! that all problems are reported at once. Only a syntax error is reported alone.
//!
//! ```text
//! from_yaml ─ yaml ─┐                 ┌─ definition ─ job ─ steps, settings, env, matrix, retry  (jobs: a mapping)
//!                   ├─ builder ─ node ┤
//! from_json ─ json ─┘                 └─ list                                                  (jobs: a list)
//! ```
//!
//! Each module uses only those above it.

mod bounds;
mod graph;
mod leg;
mod pattern;
mod problem;
mod shell;

mod script;

mod checkout;
mod fetch;

mod report;

mod node;

mod builder;
mod keys;

mod advice;
mod json;
mod schema;
mod workdir;
mod yaml;

mod input;

mod expression;

mod checker;

mod checkout_key;
mod condition;
mod env;
mod events;
mod group;
mod inputs;
mod matrix;
mod retry;
mod secrets;

mod link;

mod settings;

mod defaults;

mod steps;

mod job;

mod definition;

mod list;

#[cfg(test)]
mod tests;

use protocol::text::without_mark;
use protocol::{limit, limits};

pub use self::bounds::{Budgets, ExitBudget, Retry, TimeLimits};
pub use self::checkout::{Checkout, CheckoutCredential, CheckoutFrom, Credentials};
pub use self::condition::needs_variables;
pub use self::definition::Definition;
pub use self::env::EnvValue;
pub use self::events::{Events, FORGE_INPUTS, PullEvents, PushEvents, QueueEvents, ReportStates};
pub use self::group::RunGroup;
pub use self::input::{Input, InputType, input_variable, resolve as resolve_inputs};
pub use self::job::{JobDefinition, JobSettings, Passthrough};
pub use self::link::{Access, ForgeKind, LinkFile, Origin, Rule, link_from_yaml};
pub use self::pattern::Patterns;
pub use self::problem::{Position, Problem};
pub use self::schema::{definition_schema, json_schema, list_schema};
pub use self::shell::Shell;
pub use self::workdir::Workdir;

use self::node::{Kind, Node};
use self::report::Report;

/// Reads a definition in YAML.
///
/// # Errors
///
/// Every problem there is, in the order of the file; of very many the first thousand, and a last one that counts the
/// rest.
pub fn from_yaml(text: &str) -> Result<Definition, Vec<Problem>> {
    read(text, yaml::read, definition::check)
}

/// Reads a body in JSON: `jobs` is a list of jobs as clients send them, or an object as in [`from_yaml`].
///
/// # Errors
///
/// As for [`from_yaml`]; for the list, problems have paths and no positions.
pub fn from_json(text: &str) -> Result<Definition, Vec<Problem>> {
    read(text, json::read, |root, report| {
        if list::is_list_form(root) { list::check(root, report) } else { definition::check(root, report) }
    })
}

/// Reads a file in YAML that isn't a workflow.
fn read_yaml<T>(text: &str, check: impl FnOnce(&Node, Report) -> Result<T, Vec<Problem>>) -> Result<T, Vec<Problem>> {
    check_size(text.len() as u64)?;
    let (root, report) = yaml::read(without_mark(text));
    whole(root, report).and_then(|(root, report)| check(&root, report))
}

fn read(
    text: &str,
    parse: impl FnOnce(&str) -> (Option<Node>, Report),
    check: impl FnOnce(&Node, Report) -> Result<Definition, Vec<Problem>>,
) -> Result<Definition, Vec<Problem>> {
    check_size(text.len() as u64)?;
    let (root, report) = parse(without_mark(text));
    let mut result = whole(root, report).and_then(|(root, report)| check(&root, report));
    let problems = match &mut result {
        Ok(definition) => &mut definition.notes,
        Err(problems) => problems,
    };
    for at in problems.iter_mut().filter_map(|problem| problem.at.as_mut()) {
        at.offset += text.len() - without_mark(text).len();
    }
    result
}

/// Refuses a definition of more than [`limits::DEFINITION`] bytes.
///
/// # Errors
///
/// A problem that says the size.
pub fn check_size(bytes: u64) -> Result<(), Vec<Problem>> {
    if bytes <= limits::DEFINITION as u64 {
        return Ok(());
    }
    let message =
        format!("the definition is {bytes} bytes; {}. Put long scripts in files that the jobs run", limit!(DEFINITION));
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
