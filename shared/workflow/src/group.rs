//! The key `concurrency`: the groups in which jobs and runs take turns.

use protocol::wire::InputValues;
use protocol::{BadLabel, Label, limit, limits};
use serde::{Deserialize, Serialize};

use super::advice::check_keys;
use super::checker::Checker;
use super::expression;
use super::keys::{self, Level};
use super::node::{Kind, Node, Path};
use super::report::quote;

/// The group of a workflow's runs: one run of it is open at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunGroup {
    /// The fixed part of the group's name. A token must allow it.
    pub group: Label,
    /// The inputs whose values are part of the group's name.
    pub per: Vec<String>,
    /// True if a newer run of the group cancels a run of this workflow.
    pub yields: bool,
}

impl RunGroup {
    /// The values of the inputs in `per`, in that order.
    #[must_use]
    pub fn values<'a>(&'a self, inputs: &'a InputValues) -> Vec<(&'a str, &'a str)> {
        let value = |name: &'a String| (name.as_str(), inputs.get(name).map_or("", String::as_str));
        self.per.iter().map(value).collect()
    }
}

impl Checker<'_> {
    /// The name of a group: the rules are those of a label.
    pub(super) fn group(&mut self, node: &Node, path: Path<'_>) -> Option<Label> {
        let text = self.text(node, path, "the name of a group")?;
        if expression::instead(text).is_some() {
            let message = format!(
                "{} has an expression, and there are none; write `concurrency: {{group: <name>, per: <input>}}` on the workflow",
                quote(text)
            );
            self.report.add("bad_group", node.at, path, message);
            return None;
        }
        let group = Label::new(text);
        if let Err(error) = &group {
            self.report.add("bad_group", node.at, path, about_group(text, error));
        }
        group.ok()
    }

    /// The group of the workflow's runs: a name, or a mapping.
    pub(super) fn run_group(&mut self, node: &Node, path: Path<'_>) -> Option<RunGroup> {
        let Kind::Map(entries) = &node.kind else {
            let group = self.group(node, path)?;
            return Some(RunGroup { group, per: Vec::new(), yields: false });
        };
        check_keys(&mut self.report, entries, path, Level::Concurrency);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let per = get("per").map(|node| self.per(node, path.key("per"))).unwrap_or_default();
        let yields = get("when_newer").is_some_and(|node| self.when_newer(node, path.key("when_newer")));
        let Some(group) = get("group") else {
            self.report.add("missing_key", node.at, path, "`concurrency` needs a `group`; write `group: <name>`");
            return None;
        };
        Some(RunGroup { group: self.group(group, path.key("group"))?, per, yields })
    }

    fn per(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        let mut per = Vec::new();
        for (index, item) in self.one_or_many(node, path, "an input or a list of inputs") {
            let path = index.map_or(path, |index| path.index(index));
            if let Some(name) = self.input_of(item, path) {
                if per.contains(&name) {
                    let message = format!("the input {} is here twice; remove one", quote(&name));
                    self.report.add("duplicate_input", item.at, path, message);
                }
                per.push(name);
            }
        }
        per
    }

    fn when_newer(&mut self, node: &Node, path: Path<'_>) -> bool {
        match self.text(node, path, "`wait` or `cancel`") {
            Some("cancel") => true,
            Some("wait") | None => false,
            Some(other) => {
                let message =
                    format!("when there is a newer run, this one may `wait` or `cancel`, not {}", quote(other));
                self.report.add("unknown_value", node.at, path, message);
                false
            }
        }
    }
}

fn about_group(text: &str, error: &BadLabel) -> String {
    let text = text.trim();
    if text.len() > limits::LABEL {
        return format!("the group {} is {} bytes long; {}", quote(text), text.len(), limit!(LABEL));
    }
    error.to_string().replacen("label", "group", 1)
}
