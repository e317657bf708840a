//! The key `on`: which events of a linked repository start a run.

use protocol::{limit, limits};

use super::advice::check_keys;
use super::checker::Checker;
use super::input::{Input, InputType};
use super::keys::{self, Level};
use super::node::{Entry, Kind, Node, Path};
use super::pattern::Patterns;
use super::report::{nearest, quote};

/// The inputs that a run has from the forge that started it. They are declared in every workflow that names events, and empty
/// where a run was started otherwise.
pub const FORGE_INPUTS: [&str; 11] =
    ["forge", "repository", "event", "ref", "commit", "before", "base", "pull_request", "change", "actor", "fork"];

/// The events that start a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Pushes of branches and tags.
    pub push: Option<PushEvents>,
    /// Pull requests.
    pub pull_request: Option<PullEvents>,
    /// Entries of a merge queue.
    pub merge_group: Option<QueueEvents>,
}

impl Events {
    /// True if nothing but a person starts it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which pushes start a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushEvents {
    branches: Option<Patterns>,
    tags: Option<Patterns>,
    /// The files of which one must have changed. Not asked for tags.
    pub paths: Option<Patterns>,
}

impl PushEvents {
    /// True if a push to this branch starts a run, as far as the name decides. `tags` alone starts nothing for branches.
    #[must_use]
    pub fn has_branch(&self, name: &str) -> bool {
        self.branches.as_ref().map_or(self.tags.is_none(), |patterns| patterns.has(name))
    }

    /// True if a push of this tag starts a run. `branches` alone starts nothing for tags.
    #[must_use]
    pub fn has_tag(&self, name: &str) -> bool {
        self.tags.as_ref().map_or(self.branches.is_none(), |patterns| patterns.has(name))
    }
}

/// Which pull requests start a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullEvents {
    branches: Option<Patterns>,
    /// The files of which one must have changed.
    pub paths: Option<Patterns>,
}

impl PullEvents {
    /// True if a pull request into this branch starts a run, as far as the name decides.
    #[must_use]
    pub fn has_base(&self, name: &str) -> bool {
        self.branches.as_ref().is_none_or(|patterns| patterns.has(name))
    }
}

/// Which entries of a merge queue start a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueEvents {
    branches: Option<Patterns>,
}

impl QueueEvents {
    /// True if the queue of this branch starts a run.
    #[must_use]
    pub fn has_base(&self, name: &str) -> bool {
        self.branches.as_ref().is_none_or(|patterns| patterns.has(name))
    }
}

/// The word for a workflow that nothing but a person starts.
pub(super) const MANUAL: &str = "manual";

impl Checker<'_> {
    /// Reads `on`: the events, and the text that lists show.
    pub(super) fn events(&mut self, entry: &Entry) -> (Events, String) {
        let (path, node) = (Path::Root.key("on"), &entry.value);
        let mut events = Events::default();
        let mut names = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                check_keys(&mut self.report, entries, path, Level::On);
                for entry in entries.iter().filter(|entry| Level::On.has(&entry.key)) {
                    names.push(entry.key.as_str());
                    self.event(&mut events, &entry.key, Some(&entry.value), path.key(&entry.key));
                }
            }
            _ => {
                for (index, item) in self.one_or_many(node, path, "an event, a list of events, or a mapping") {
                    let path = index.map_or(path, |index| path.index(index));
                    let Some(name) = self.text(item, path, "an event") else { continue };
                    if names.contains(&name) {
                        let message = format!("the event {} is here twice; remove one", quote(name));
                        self.report.add("duplicate_event", item.at, path, message);
                    } else if name == MANUAL || Level::On.has(name) {
                        self.event(&mut events, name, None, path);
                    } else {
                        self.report.add("unknown_event", item.at, path, about_unknown(name));
                    }
                    names.push(name);
                }
            }
        }
        if !events.is_empty() {
            let message = "`on` starts runs once the file's repository is linked with `wfg forge add`; until then start it with `run`, or submit it with `?run=true`";
            self.notes.add("on_needs_a_link", entry.key_at, path, message);
        }
        let shown = if names.is_empty() { MANUAL.to_owned() } else { names.join(", ") };
        (events, shown)
    }

    fn event(&mut self, events: &mut Events, name: &str, filter: Option<&Node>, path: Path<'_>) {
        let level = match name {
            "push" => Level::Push,
            "pull_request" => Level::PullRequest,
            "merge_group" => Level::MergeGroup,
            _ => return,
        };
        let entries = match filter {
            Some(node) if !node.is_null() => self.mapping(node, path, "a mapping of filters, or nothing"),
            _ => None,
        };
        let entries = entries.unwrap_or_default();
        check_keys(&mut self.report, entries, path, level);
        let mut patterns = |key: &str| {
            let node = level.has(key).then(|| keys::find(entries, key)).flatten()?;
            Some(self.patterns(&node.value, path.key(key)))
        };
        let (branches, tags, paths) = (patterns("branches"), patterns("tags"), patterns("paths"));
        match level {
            Level::Push => events.push = Some(PushEvents { branches, tags, paths }),
            Level::PullRequest => events.pull_request = Some(PullEvents { branches, paths }),
            _ => events.merge_group = Some(QueueEvents { branches }),
        }
    }

    pub(super) fn patterns(&mut self, node: &Node, path: Path<'_>) -> Patterns {
        let items = self.one_or_many(node, path, "a pattern or a list of patterns");
        self.at_most(items.len(), limit!(PATTERNS), "patterns", node.at, path);
        let mut patterns = Vec::with_capacity(items.len());
        for (index, item) in items {
            let path = index.map_or(path, |index| path.index(index));
            let Some(text) = self.text(item, path, "a pattern") else { continue };
            self.no_nul(text, item.at, path);
            self.no_longer_than(limit!(PATTERN), text.len(), item.at, path);
            if text.trim_start_matches('!').is_empty() {
                self.report.add("empty_pattern", item.at, path, "the pattern is empty; write a name, `*` or `**`");
            }
            patterns.push(text.to_owned());
        }
        let patterns = Patterns::new(patterns);
        if patterns.only_exclude() {
            let message = "nothing would match, since every pattern excludes; write `\"**\"` before them";
            self.report.add("only_excludes", node.at, path, message);
        }
        patterns
    }

    /// Declares the inputs that a forge gives, in a workflow that names events. Each other input needs a value without a person.
    pub(super) fn forge_inputs(&mut self, declared: Option<&Entry>) {
        let entries = match declared.map(|entry| &entry.value.kind) {
            Some(Kind::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        let inputs = Path::Root.key("inputs");
        for input in self.inputs.clone() {
            let at = keys::find(entries, &input.name).map(|entry| entry.key_at).unwrap_or_default();
            if FORGE_INPUTS.contains(&input.name.as_str()) {
                let message = format!(
                    "beside `on`, every run has an input {} from the forge; rename this one",
                    quote(&input.name)
                );
                self.report.add("given_by_forge", at, inputs.key(&input.name), message);
            } else if input.required {
                let message = format!(
                    "beside `on`, nobody is there to give {}; write a `default` instead of `required`",
                    quote(&input.name)
                );
                self.report.add("required_beside_on", at, inputs.key(&input.name), message);
            }
        }
        let given = FORGE_INPUTS.iter().filter(|name| !self.inputs.iter().any(|input| input.name == **name));
        let given = given.map(|name| Input { name: (*name).to_owned(), kind: InputType::Text, ..Input::default() });
        let given: Vec<Input> = given.collect();
        self.inputs.extend(given);
    }
}

fn about_unknown(name: &str) -> String {
    if name == "schedule" {
        return format!("`schedule` is not supported in `on`; {}", keys::SCHEDULE);
    }
    let near = nearest(name, Level::On.names(), &mut usize::MAX.clone());
    let near = near.map(|near| format!("; did you mean {}?", quote(near))).unwrap_or_default();
    let names: Vec<_> = Level::On.names().collect();
    format!("{} is not an event{near}; there are {}", quote(name), names.join(", "))
}

/// Which states a forge is told: the key `report`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReportStates {
    /// The run, and each job if they are not too many.
    #[default]
    All,
    /// The run alone.
    Run,
    /// The run and these jobs, by their ids in the file.
    Jobs(Vec<String>),
}

impl Checker<'_> {
    /// Reads `report`, after the jobs have names.
    pub(super) fn report_states(&mut self, node: &Node, path: Path<'_>) -> ReportStates {
        if node.text() == Some("run") {
            return ReportStates::Run;
        }
        let Kind::List(items) = &node.kind else {
            self.wrong_type(node, path, "`run` or a list of jobs");
            return ReportStates::All;
        };
        self.at_most(items.len(), limit!(STATES), "jobs", node.at, path);
        let mut jobs = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = path.index(index);
            let Some(name) = self.text(item, path, "the id of a job") else { continue };
            if !self.ids.contains_key(name) {
                let near = nearest(name, self.names.iter().copied(), &mut (limits::JOBS * limits::ID));
                let near = near.map(|near| format!("; did you mean {}?", quote(near))).unwrap_or_default();
                self.report.add("unknown_job", item.at, path, format!("there is no job {}{near}", quote(name)));
            } else if jobs.iter().any(|job| job == name) {
                let message = format!("the job {} is here twice; remove one", quote(name));
                self.report.add("duplicate_job", item.at, path, message);
            }
            jobs.push(name.to_owned());
        }
        ReportStates::Jobs(jobs)
    }
}
