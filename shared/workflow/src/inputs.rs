//! The key `inputs`: which values a run may be given.

use protocol::{limit, limits};

use super::advice::check_keys;
use super::checker::Checker;
use super::input::{Input, InputType};
use super::keys::{self, Level};
use super::leg::is_axis;
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;

impl Checker<'_> {
    /// The inputs that a definition declares.
    pub(super) fn inputs(&mut self, node: &Node, path: Path<'_>) -> Vec<Input> {
        let Some(entries) =
            self.mapping(node, path, "a mapping of names to inputs, such as `version: {required: true}`")
        else {
            return Vec::new();
        };
        self.at_most(entries.len(), limit!(INPUTS), "inputs", node.at, path);
        let mut inputs: Vec<Input> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(input) = self.input(entry, path.key(&entry.key)) else { continue };
            if let Some(other) = inputs.iter().find(|other| other.variable() == input.variable()) {
                let message = format!(
                    "the inputs {} and {} would both be the variable {}; rename one",
                    quote(&other.name),
                    quote(&input.name),
                    quote(&input.variable())
                );
                self.report.add("same_variable", entry.key_at, path.key(&entry.key), message);
            }
            inputs.push(input);
        }
        inputs
    }

    fn input(&mut self, entry: &Entry, path: Path<'_>) -> Option<Input> {
        let name = &entry.key;
        if !is_axis(name) {
            let message = format!(
                "{} can't be the name of an input; use A-Z a-z 0-9 _ -, beginning with a letter, at most {} bytes (limit AXIS_NAME)",
                quote(name),
                limits::AXIS_NAME
            );
            self.report.add("bad_input_name", entry.key_at, path, message);
        }
        let none = Input { name: name.clone(), ..Input::default() };
        if entry.value.is_null() {
            return Some(none);
        }
        let entries = self.mapping(&entry.value, path, "an input, such as `{required: true}`")?;
        check_keys(&mut self.report, entries, path, Level::Input);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let kind = get("type").map(|node| self.input_type(node, path.key("type"))).unwrap_or_default();
        let choices = get("choices").map(|node| self.choices(node, path.key("choices"))).unwrap_or_default();
        let required = get("required").is_some_and(|node| self.boolean(node, path.key("required")));
        let default = get("default").and_then(|node| self.input_value(node, path.key("default")));
        self.shown(get("description"), path.key("description"));
        let description = get("description").and_then(|node| self.text(node, path.key("description"), "text"));
        let input = Input { kind, choices, default, required, description: description.map(str::to_owned), ..none };
        if let (Some(node), Some(default)) = (get("default"), &input.default) {
            if required {
                let message = "a required input has no `default`; remove one of them";
                self.report.add("required_default", node.at, path.key("default"), message);
            }
            if let Some(why) = input.refuses(default) {
                self.report.add("bad_input", node.at, path.key("default"), why);
            }
        }
        Some(input)
    }

    fn input_type(&mut self, node: &Node, path: Path<'_>) -> InputType {
        let Some(text) = self.text(node, path, "`text`, `number` or `boolean`") else { return InputType::default() };
        text.parse().unwrap_or_else(|_| {
            let message = format!("the type is `text`, `number` or `boolean`, not {}", quote(text));
            self.report.add("unknown_value", node.at, path, message);
            InputType::default()
        })
    }

    fn choices(&mut self, node: &Node, path: Path<'_>) -> Vec<String> {
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "a list of values");
            return Vec::new();
        };
        if items.is_empty() {
            self.report.add("no_choices", node.at, path, "`choices` is empty; write at least one value");
        }
        self.at_most(items.len(), limit!(CHOICES), "choices", node.at, path);
        items.iter().enumerate().filter_map(|(n, item)| self.input_value(item, path.index(n))).collect()
    }

    /// A value as written, which may be empty.
    fn input_value(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.wrong_type(node, path, "a text, a number, true or false");
            return None;
        };
        self.no_nul(text, node.at, path);
        self.no_longer_than(limit!(INPUTS_SIZE), text.len(), node.at, path).then(|| text.clone())
    }
}
