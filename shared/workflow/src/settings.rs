//! Settings that a job and `defaults` share: labels, the shell, and where outputs come from.

use std::collections::BTreeSet;

use protocol::wire::OutputsFrom;
use protocol::{BadLabel, Label, LabelSet, limit, limits};

use super::advice::check_keys;
use super::checker::Checker;
use super::env::Scope;
use super::expression;
use super::keys::{self, Level};
use super::leg::Leg;
use super::node::{Kind, Node, Path};
use super::report::quote;
use super::shell::Shell;
use super::workdir::Workdir;

impl Checker<'_> {
    /// The labels of each leg.
    pub(super) fn labels(&mut self, node: &Node, path: Path<'_>, legs: &[Leg]) -> Vec<LabelSet> {
        let mut of_legs = vec![Vec::new(); legs.len()];
        let items: Vec<(Option<usize>, &Node)> = match &node.kind {
            Kind::Map(_) => vec![(None, node)],
            _ => self.one_or_many(node, path, "a label or a list of labels"),
        };
        for (index, item) in items {
            let path = index.map_or(path, |index| path.index(index));
            if let Some(message) = item.text().and_then(expression::instead) {
                self.notes.add("expression", item.at, path, message);
            }
            let texts = self.texts_of_label(item, path, legs);
            let mut reported = BTreeSet::new();
            for (labels, text) in of_legs.iter_mut().zip(texts) {
                match Label::new(text) {
                    Ok(label) => labels.push(label),
                    Err(error) if reported.insert(text) => {
                        self.report.add("bad_label", item.at, path, about_label(text, &error));
                    }
                    Err(_) => {}
                }
            }
        }
        let of_legs: Vec<LabelSet> = of_legs.into_iter().map(|labels| labels.into_iter().collect()).collect();
        if let Some(error) = of_legs.iter().find_map(|labels| labels.at_most(limit!(LABELS_PER_JOB)).err()) {
            self.report.add("too_many_labels", node.at, path, error.to_string());
        }
        of_legs
    }

    /// A label's text for each leg: the same, or the leg's value of an axis. None if it is neither.
    fn texts_of_label<'t>(&mut self, node: &'t Node, path: Path<'_>, legs: &'t [Leg]) -> Vec<&'t str> {
        let Kind::Map(entries) = &node.kind else {
            return self.text(node, path, "a label").map(|text| vec![text; legs.len()]).unwrap_or_default();
        };
        check_keys(&mut self.report, entries, path, Level::LabelReference);
        let Some(axis) = keys::find(entries, "matrix") else {
            self.wrong_type(node, path, "a label, or `matrix: <axis>`");
            return Vec::new();
        };
        let path = path.key("matrix");
        let axis = self.axis_of(&axis.value, path, Scope::Step { legs });
        let Some(axis) = axis else { return Vec::new() };
        legs.iter().filter(|leg| !leg.unknown).map(|leg| leg.value(&axis).unwrap_or_default()).collect()
    }

    pub(super) fn outputs_from(&mut self, node: &Node, path: Path<'_>) -> OutputsFrom {
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

    /// `bash`, `sh`, or a program with its arguments.
    pub(super) fn shell(&mut self, node: &Node, path: Path<'_>) -> Option<Shell> {
        let expected = "`bash`, `sh`, or a list of a program and its arguments, such as `[python3, -u]`";
        match &node.kind {
            Kind::List(items) if !items.is_empty() => {
                self.at_most(items.len(), limit!(SHELL_WORDS), "words", node.at, path);
                let words: Vec<_> = items.iter().enumerate().map(|(n, item)| self.word(item, path.index(n))).collect();
                words.into_iter().collect::<Option<_>>().map(Shell::Program)
            }
            Kind::Scalar { text, .. } if text == "bash" => Some(Shell::Bash),
            Kind::Scalar { text, .. } if text == "sh" => Some(Shell::Sh),
            Kind::Scalar { text, .. } if !node.is_null() => {
                let place = if text.contains("{0}") { "; the script's path is put after the last word" } else { "" };
                let message = format!("the shell is {expected}; not {}{place}", quote(text));
                self.report.add("unknown_value", node.at, path, message);
                None
            }
            _ => {
                self.wrong_type(node, path, expected);
                None
            }
        }
    }

    /// `shared`, `fresh`, or a path below the job's own folder.
    pub(super) fn workdir(&mut self, node: &Node, path: Path<'_>) -> Option<Workdir> {
        let text = self.text(node, path, "`shared`, `fresh`, or a path below the job's own folder")?;
        self.no_nul(text, node.at, path);
        if !self.no_longer_than(limit!(WORKDIR), text.len(), node.at, path) {
            return None;
        }
        let workdir = Workdir::parse(text);
        if workdir.is_none() {
            let message = format!(
                "the workdir is `shared`, `fresh`, or a path below the job's own folder, such as `src`, not {}; \
                 for another place write `cd` in `run`",
                quote(text)
            );
            self.report.add("bad_workdir", node.at, path, message);
        }
        workdir
    }

    fn word(&mut self, node: &Node, path: Path<'_>) -> Option<String> {
        let text = self.text(node, path, "a program or an argument")?;
        if text.is_empty() {
            self.report.add("empty_word", node.at, path, "it is empty; write a program or an argument");
        }
        self.no_nul(text, node.at, path);
        self.no_longer_than(limit!(SHELL_WORD), text.len(), node.at, path).then(|| text.to_owned())
    }
}

fn about_label(text: &str, error: &BadLabel) -> String {
    let text = text.trim();
    if let Some(message) = expression::instead(text) {
        return message;
    }
    if text.len() > limits::LABEL {
        return format!("the label {} is {} bytes long; {}", quote(text), text.len(), limit!(LABEL));
    }
    match error {
        BadLabel::Character { found: ',', .. } => {
            format!("the label {} has a comma; write several labels as a list", quote(text))
        }
        other => other.to_string(),
    }
}
