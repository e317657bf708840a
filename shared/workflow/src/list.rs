//! The older form of a submission, `{name, trigger, jobs: [Job]}`: lenient about fields, as strict about the graph.

use super::bounds::Retry;
use super::checker::{Checker, Edge};
use super::definition::Definition;
use super::events::{Events, MANUAL, ReportStates};
use super::job::{JobDefinition, JobSettings, Passthrough};
use super::keys::find;
use super::leg::Leg;
use super::node::{Entry, Kind, Node, Path};
use super::problem::Problem;
use super::report::{Report, quote};

/// Whether this is that form.
pub(super) fn is_list_form(root: &Node) -> bool {
    match &root.kind {
        Kind::Map(entries) => find(entries, "jobs").is_some_and(|jobs| matches!(jobs.value.kind, Kind::List(_))),
        _ => false,
    }
}

/// Checks that form. Fields it doesn't know are ignored, `null` is the same as nothing, and problems have paths but no positions.
pub(super) fn check(root: &Node, mut report: Report) -> Result<Definition, Vec<Problem>> {
    report.hide_positions();
    let mut checker = Checker::new(report);
    let definition = checker.submission(root);
    checker.finish(definition)
}

fn given<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Node> {
    find(entries, key).map(|entry| &entry.value).filter(|node| !node.is_null())
}

impl<'a> Checker<'a> {
    fn submission(&mut self, root: &'a Node) -> Option<Definition> {
        let path = Path::Root;
        let entries = self.mapping(root, path, "an object with `jobs`")?;
        let name = given(entries, "name").and_then(|node| self.string(node, path.key("name")));
        let trigger = given(entries, "trigger").and_then(|node| self.string(node, path.key("trigger")));
        self.shown(given(entries, "name"), path.key("name"));
        self.shown(given(entries, "trigger"), path.key("trigger"));
        let jobs = match given(entries, "jobs").map(|node| &node.kind) {
            Some(Kind::List(jobs)) => jobs.as_slice(),
            _ => &[],
        };
        self.count(jobs.len(), root.at);
        let jobs = self.listed_jobs(jobs);
        Some(Definition {
            name: name.map(str::to_owned),
            trigger: trigger.unwrap_or(MANUAL).to_owned(),
            events: Events::default(),
            states: ReportStates::All,
            inputs: Vec::new(),
            concurrency: None,
            jobs,
            notes: Vec::new(),
        })
    }

    fn listed_jobs(&mut self, nodes: &'a [Node]) -> Vec<JobDefinition> {
        let list = Path::Root.key("jobs");
        let id = |node: &'a Node| match &node.kind {
            Kind::Map(entries) => given(entries, "id").and_then(Node::text).unwrap_or_default(),
            _ => "",
        };
        self.name_jobs(nodes.iter().map(id), vec![vec![Leg::default()]; nodes.len()]);
        let mut jobs = Vec::with_capacity(nodes.len());
        let mut edges = Vec::with_capacity(nodes.len());
        for (n, node) in nodes.iter().enumerate() {
            let (job, needs) = self.listed_job(n, node, list.index(n));
            jobs.extend(job);
            edges.push(needs);
        }
        self.cycles(&edges, "depends_on", |n| list.index(n).to_string());
        jobs
    }

    fn listed_job(&mut self, n: usize, node: &Node, path: Path<'_>) -> (Option<JobDefinition>, Vec<Edge>) {
        let Some(entries) = self.mapping(node, path, "a job, such as `{id, name, command}`") else {
            return (None, Vec::new());
        };
        let id = self.required(entries, "id", node, path).and_then(|id| {
            if self.ids.get(id) != Some(&n) {
                let message = format!("an earlier job has the id {} already; choose another", quote(id));
                self.report.add("duplicate_job", node.at, path.key("id"), message);
            }
            self.id("job id", id, node.at, path.key("id"))
        });
        let name = self.required(entries, "name", node, path);
        let command = self.required(entries, "command", node, path);
        if let Some(command) = command {
            self.no_nul(command, node.at, path.key("command"));
            self.warn_if_long(command, node.at, path.key("command"));
        }
        let needs = given(entries, "depends_on").filter(|node| self.is_list(node, path.key("depends_on")));
        let edges = needs.map(|node| self.needs(n, node, path.key("depends_on"))).unwrap_or_default();
        let labels = given(entries, "required_labels").filter(|node| self.is_list(node, path.key("required_labels")));
        let labels = labels.and_then(|node| self.labels(node, path.key("required_labels"), &[Leg::default()]).pop());
        let labels = labels.unwrap_or_default();
        let secrets = given(entries, "secrets").filter(|node| self.is_list(node, path.key("secrets")));
        let secrets = secrets.map(|node| self.secrets(node, path.key("secrets"), &[])).unwrap_or_default();
        self.pool(&labels, &secrets, node.at, path);
        let retries = given(entries, "max_retries").map(|node| self.retry_count(node, path.key("max_retries")));
        self.shown(given(entries, "name"), path.key("name"));
        let mut passthrough = |key| self.passthrough(given(entries, key), path.key(key));
        let [metadata, ports, children, collapsed] =
            ["metadata", "ports", "children", "collapsed"].map(&mut passthrough);
        let command = command.filter(|command| self.command_fits(command.len(), 1, node.at, path.key("command")));
        let job = id.zip(name).zip(command).map(|((id, name), command)| JobDefinition {
            id,
            needs: edges.iter().flat_map(|edge| edge.legs.clone()).collect(),
            at: None,
            settings: JobSettings {
                labels,
                secrets,
                retry: Retry { max: retries.unwrap_or_default(), ..Retry::default() },
                passthrough: Passthrough { metadata, ports, children, collapsed },
                ..JobSettings::new(name, command)
            },
        });
        (job, edges)
    }

    fn required<'n>(&mut self, entries: &'n [Entry], key: &str, job: &Node, path: Path<'_>) -> Option<&'n str> {
        let Some(node) = given(entries, key) else {
            let message = format!("a job needs `{key}`; only `id`, `name` and `command` can't be left out");
            self.report.add("missing_field", job.at, path.key(key), message);
            return None;
        };
        self.string(node, path.key(key))
    }

    fn string<'n>(&mut self, node: &'n Node, path: Path<'_>) -> Option<&'n str> {
        let text = match &node.kind {
            Kind::Scalar { text, plain: false } => Some(text.as_str()),
            _ => None,
        };
        if text.is_none() {
            self.wrong_type(node, path, "text");
        }
        text
    }

    fn is_list(&mut self, node: &Node, path: Path<'_>) -> bool {
        let is = matches!(node.kind, Kind::List(_));
        if !is {
            self.wrong_type(node, path, "a list of texts");
        }
        is
    }
}
