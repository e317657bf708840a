//! What the runs of a change may ask for. It comes from the link's file and from where the commit comes from, never from the
//! workflow file.

use std::collections::BTreeSet;

use protocol::access::{Allowed, Permissions, Scope};
use protocol::wire::InputValues;
use protocol::{Label, LabelSet};
use workflow::{Definition, Problem};

use super::change::origin_of;
use super::link::{Origin, Rule};
use super::names::EventName;

/// Returns the first rule that fits. A fork is matched only by a rule that names it.
#[must_use]
pub fn rule_for<'a>(rights: &'a [Rule], origin: Origin, name: &str) -> Option<&'a Rule> {
    rights.iter().find(|rule| {
        let event = if rule.event.is_empty() { origin != Origin::Fork } else { rule.event.contains(&origin) };
        event && rule.refs.as_ref().is_none_or(|refs| refs.has(name))
    })
}

/// Returns a problem for each job that asks for a label or a secret that the rule doesn't give.
///
/// A fork may name groups only like labels, or of runs apart from others by `change`: it could hold up those of the repository
/// otherwise.
#[must_use]
pub fn refused(definition: &Definition, rule: &Rule, origin: Origin) -> Vec<Problem> {
    let mut problems = Vec::new();
    let fork = origin == Origin::Fork;
    if let Some(group) = &definition.concurrency
        && fork
        && !rule.labels.contains(&group.group)
        && !group.per.iter().any(|input| input == "change")
    {
        let message = format!(
            "the link doesn't let a fork's run take the group `{}`; write `per: change`, or add the group to the rule's labels",
            group.group
        );
        problems.push(problem("group_not_allowed", None, "concurrency", message));
    }
    for job in &definition.jobs {
        let settings = &job.settings;
        let path = format!("jobs.{}", job.id);
        let labels = settings.labels.iter().filter(|label| !rule.labels.contains(*label));
        for label in labels {
            let message = format!("the link's rule for this {} doesn't allow the label `{label}`", named(origin));
            problems.push(problem("label_not_allowed", job.at, &path, message));
        }
        let group = settings.concurrency.iter().filter(|group| fork && !rule.labels.contains(*group));
        for group in group {
            let message = format!("the link doesn't let a fork's job take the group `{group}`");
            problems.push(problem("group_not_allowed", job.at, &path, message));
        }
        let secrets = settings.secrets.iter().filter(|secret| fork || !rule.secrets.contains(*secret));
        for secret in secrets {
            let message = format!("the link's rule for this {} doesn't allow the secret `{secret}`", named(origin));
            problems.push(problem("secret_not_allowed", job.at, &path, message));
        }
    }
    problems
}

/// The origin and the ref by which a run's rule is found, from the event that started it and the inputs that the forge gave.
#[must_use]
pub fn origin_of_run(event: EventName, inputs: &InputValues) -> (Origin, &str) {
    let value = |name: &str| inputs.get(name).map(String::as_str).unwrap_or_default();
    let origin = origin_of(event, value("fork") == "true");
    let name = match event {
        EventName::Push | EventName::Tag => value("ref"),
        EventName::PullRequest | EventName::MergeGroup => value("base"),
    };
    (origin, name)
}

/// Says why a link doesn't allow a run again whose jobs are laid out, if it doesn't. The jobs have the labels that a rule added when
/// the run was started.
#[must_use]
pub fn refused_again(
    definition: &Definition,
    labels: &[&LabelSet],
    rights: &[Rule],
    (origin, name): (Origin, &str),
) -> Option<String> {
    let Some(rule) = rule_for(rights, origin, name) else {
        return Some(format!("no rule of the link is for a {} of `{name}`", named(origin)));
    };
    if let Some(problem) = refused(definition, rule, origin).into_iter().next() {
        return Some(problem.message);
    }
    let lacks = |label: &&Label| !labels.iter().all(|labels| labels.iter().any(|other| other == *label));
    let missing = rule.add_labels.iter().find(lacks)?;
    Some(format!(
        "the link's rule for this {} adds the label `{missing}` now, and the run's jobs don't have it",
        named(origin)
    ))
}

fn named(origin: Origin) -> &'static str {
    match origin {
        Origin::Push => "branch",
        Origin::Tag => "tag",
        Origin::PullRequest => "pull request",
        Origin::MergeGroup => "merge queue",
        Origin::Fork => "fork",
    }
}

fn problem(code: &'static str, at: Option<workflow::Position>, path: &str, message: String) -> Problem {
    Problem { code, message, path: path.to_owned(), at }
}

/// Adds the rule's `add_labels` to every job.
pub fn add_labels(definition: &mut Definition, rule: &Rule) {
    for job in &mut definition.jobs {
        let labels: LabelSet = job.settings.labels.iter().chain(&rule.add_labels).cloned().collect();
        job.settings.labels = labels;
    }
}

/// What a run that has passed [`refused`] acts with: the rule's labels and secrets, and the groups that it names.
#[must_use]
pub fn permissions(definition: &Definition, rule: &Rule) -> Permissions {
    let groups = definition.jobs.iter().filter_map(|job| job.settings.concurrency.clone());
    let groups = groups.chain(definition.concurrency.as_ref().map(|group| group.group.clone()));
    let labels: BTreeSet<Label> = rule.labels.iter().chain(&rule.add_labels).cloned().chain(groups).collect();
    Permissions {
        scopes: BTreeSet::from([Scope::Submit]),
        labels: Allowed::Only(labels),
        secrets: Allowed::Only(rule.secrets.clone()),
        exclusive: false,
    }
}
