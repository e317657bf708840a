//! Conditions of jobs: `if`, `allow_failure`, `skip_exit` and the workflow's `on_failure`.

use std::collections::{BTreeMap, HashMap};

use protocol::wire::Condition;
use protocol::{JobId, Status};

use super::checker::{Checker, Edge};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;

/// The variable that tells a job with `if` how a needed job ended: `NEEDS_` and the id in capitals, each other character as
/// `_`. All jobs of a matrix have the same.
fn needs_variable(id: &str) -> String {
    let id = id.split('@').next().unwrap_or(id);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("NEEDS_{}", id.chars().map(plain).collect::<String>())
}

/// The variables that tell a job how the jobs ended that it needs. Of a matrix the worst counts: failure, then skipped.
#[must_use]
pub fn needs_variables(statuses: &BTreeMap<JobId, Status>) -> BTreeMap<String, Status> {
    let rank = |status: &Status| match status {
        Status::Success => 0,
        Status::Skipped => 1,
        _ => 2,
    };
    let mut variables = BTreeMap::new();
    for (id, status) in statuses {
        let worst = variables.entry(needs_variable(id.as_str())).or_insert(*status);
        if rank(status) > rank(worst) {
            *worst = *status;
        }
    }
    variables
}

impl Checker<'_> {
    /// The value of `if`.
    pub(super) fn condition(&mut self, node: &Node, path: Path<'_>) -> Condition {
        let expected = "`success`, `failure` or `always`";
        let Some(text) = self.text(node, path, expected) else { return Condition::default() };
        let advice = match text {
            "success" => return Condition::Success,
            "failure" => return Condition::Failure,
            "always" => return Condition::Always,
            other if other.contains("fail") => {
                ". `if: failure` looks at the jobs in `needs` only; the workflow's `on_failure` looks at the whole run"
            }
            other if other.contains("always") || other.contains("cancel") || other.contains("done") => {
                ". Write `if: always`; after a cancel nothing starts"
            }
            _ => {
                ". Test anything else in `run`, and end it with `exit 0`, or with the code of `skip_exit`. The value of an \
                 input is `\"$INPUT_NAME\"`"
            }
        };
        let message = format!("a job runs if {expected}, not {}{advice}", quote(text));
        self.report.add("unknown_value", node.at, path, message);
        Condition::default()
    }

    /// A job with `if` has needs whose variables differ.
    pub(super) fn check_condition(&mut self, condition: Condition, entry: &Entry, edges: &[Edge], path: Path<'_>) {
        if condition == Condition::Failure && edges.is_empty() {
            let message = "`if: failure` looks at the jobs in `needs`, and there are none; the workflow's `on_failure` looks \
                           at the whole run";
            self.report.add("condition_without_needs", entry.key_at, path, message);
        }
        let mut seen: HashMap<String, usize> = HashMap::new();
        for edge in edges.iter().filter(|_| condition != Condition::Success) {
            let (name, variable) = (self.names[edge.to], needs_variable(self.names[edge.to]));
            if seen.insert(variable.clone(), edge.to).is_some_and(|other| other != edge.to) {
                let message = format!(
                    "the status of {} would be the variable {}, as that of another needed job; rename one",
                    quote(name),
                    quote(&variable)
                );
                self.report.add("same_variable", edge.at, path, message);
            }
        }
    }

    /// The variables that tell the job how its needs ended.
    pub(super) fn status_variables(&self, condition: Condition, edges: &[Edge]) -> Vec<String> {
        let edges = edges.iter().filter(|_| condition != Condition::Success);
        edges.map(|edge| needs_variable(self.names[edge.to])).collect()
    }

    /// An exit code: 1 to 255.
    pub(super) fn exit_code(&mut self, node: &Node, path: Path<'_>) -> Option<u8> {
        let code = match &node.kind {
            Kind::Scalar { text, plain: true } => text.parse().ok().filter(|code| *code > 0),
            _ => None,
        };
        if code.is_none() {
            self.wrong_type(node, path, "an exit code, 1 to 255");
        }
        code
    }
}
