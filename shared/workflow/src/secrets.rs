//! Checks `secrets`: names of values in the environment of a claimed job.

use std::collections::BTreeSet;

use protocol::wire::{FORGE_SECRET, WORKER_VARIABLES};
use protocol::{SecretName, limits};

use super::checker::Checker;
use super::keys;
use super::node::{Entry, Kind, Node, Path};
use super::problem::Position;
use super::report::quote;

/// Variables, besides those that the worker sets, that decide how a job's shell runs.
const RESERVED: [&str; 8] = ["PATH", "HOME", "PWD", "IFS", "ENV", "BASH_ENV", "LD_PRELOAD", "LD_LIBRARY_PATH"];

/// A variable that the job has anyway, and what sets it.
pub(super) type Setter<'a> = (&'a str, &'static str);

impl Checker<'_> {
    /// Reads `secrets`. `set` are the variables that the job has anyway.
    pub(super) fn secrets(&mut self, node: &Node, path: Path<'_>, set: &[Setter<'_>]) -> BTreeSet<SecretName> {
        let mut names = BTreeSet::new();
        let items = self.one_or_many(node, path, "the name of a secret or a list of names");
        let count = items.len();
        for (index, item) in items {
            let path = index.map_or(path, |index| path.index(index));
            let Some(text) = self.text(item, path, "the name of a secret") else { continue };
            let name = match SecretName::new(text) {
                Ok(name) => name,
                Err(error) => {
                    self.report.add("bad_secret", item.at, path, error.to_string());
                    continue;
                }
            };
            self.not_of_a_forge(text, item.at, path);
            if let Some(problem) = taken(text, set) {
                self.report.add("secret_is_set", item.at, path, problem);
            }
            if !names.insert(name) {
                let message = format!("the secret {} is named twice; remove one", quote(text));
                self.report.add("duplicate_secret", item.at, path, message);
            }
        }
        if count > limits::SECRETS_PER_JOB {
            let message =
                format!("{count} secrets; a job may name {} (limit SECRETS_PER_JOB)", limits::SECRETS_PER_JOB);
            self.report.add("too_many_secrets", node.at, path, message);
        }
        names
    }
}

impl Checker<'_> {
    /// Refuses the name of a secret that only links to forges use.
    pub(super) fn not_of_a_forge(&mut self, name: &str, at: Position, path: Path<'_>) {
        if name.starts_with(FORGE_SECRET) {
            let message = format!(
                "{} belongs to a link of a forge, and no job may have it; call the secret otherwise, without {FORGE_SECRET} in front",
                quote(name)
            );
            self.report.add("bad_secret", at, path, message);
        }
    }
}

fn taken(name: &str, set: &[Setter<'_>]) -> Option<String> {
    if RESERVED.contains(&name) || WORKER_VARIABLES.contains(&name) {
        return Some(format!("{} is a variable that every job has already; call the secret otherwise", quote(name)));
    }
    let (_, by) = set.iter().find(|(other, _)| *other == name)?;
    Some(format!("{} is a secret and is set by {by} too; remove it from one of them", quote(name)))
}

/// The variables that the steps of a job set, valid or not.
pub(super) fn set_by_steps(steps: Option<&Node>) -> impl Iterator<Item = Setter<'_>> {
    let steps = steps.map_or(&[] as &[Node], |node| match &node.kind {
        Kind::List(steps) => steps,
        _ => &[],
    });
    steps.iter().flat_map(|step| {
        let env = map(step).and_then(|entries| keys::find(entries, "env"));
        let names = env.and_then(|env| map(&env.value)).unwrap_or_default();
        names.iter().map(|entry| (entry.key.as_str(), "the `env` of a step"))
    })
}

fn map(node: &Node) -> Option<&[Entry]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => None,
    }
}
