//! Random workflows, with their needs and limits as the generator chose them.

use std::fmt::Write;

use protocol::wire::{Backoff, Condition};
use protocol::{JobId, Label, LabelSet};
use workflow::{Definition, from_yaml};

use crate::rng::Rng;

/// All labels of jobs and workers.
pub(crate) const LABELS: &str = "a,b,c";

/// A generated workflow.
pub(crate) struct Graph {
    pub(crate) yaml: String,
    pub(crate) definition: Definition,
    /// Job `j<n>` is at position `n`. The job of `on_failure`, if there is one, is the last.
    pub(crate) jobs: Vec<GraphJob>,
}

/// The exit code that ends a job as skipped, if it says so.
pub(crate) const SKIP_EXIT: i32 = 78;
/// The id of the job of `on_failure`.
const HANDLER: &str = "on_failure";

/// A generated job.
pub(crate) struct GraphJob {
    /// Positions in [`Graph::jobs`].
    pub(crate) needs: Vec<usize>,
    pub(crate) labels: LabelSet,
    pub(crate) allowed: Allowed,
    pub(crate) group: Option<Label>,
    pub(crate) ends: Ends,
}

/// What starts a job, and what its end means.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) condition: Condition,
    pub(crate) allow_failure: bool,
    /// [`SKIP_EXIT`] ends it as skipped.
    pub(crate) may_skip: bool,
}

impl Ends {
    fn random(rng: &mut Rng, has_needs: bool) -> Self {
        let conditions =
            [Condition::Success, Condition::Success, Condition::Success, Condition::Failure, Condition::Always];
        Self {
            condition: if has_needs { rng.pick(&conditions) } else { Condition::Success },
            allow_failure: rng.chance(0.15),
            may_skip: rng.chance(0.3),
        }
    }

    /// The keys of the definition.
    fn lines(self) -> String {
        let mut lines = match self.condition {
            Condition::Success | Condition::OnFailure => String::new(),
            other => format!(", if: {other}"),
        };
        if self.allow_failure {
            lines.push_str(", allow_failure: true");
        }
        if self.may_skip {
            let _ = write!(lines, ", skip_exit: {SKIP_EXIT}");
        }
        lines
    }
}

/// The retries and time limits of a job.
#[derive(Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) max: u32,
    pub(crate) lost: Option<u32>,
    pub(crate) timeouts: Option<u32>,
    pub(crate) backoff: Backoff,
    pub(crate) timeout: Option<u32>,
    pub(crate) queue_timeout: Option<u32>,
}

impl Allowed {
    fn random(rng: &mut Rng) -> Self {
        let none_or = |rng: &mut Rng, of: &[u32]| rng.chance(0.3).then(|| rng.pick(of));
        Self {
            max: rng.pick(&[0, 1, 1, 2]),
            lost: none_or(rng, &[0, 1, 3]),
            timeouts: none_or(rng, &[0, 1, 2]),
            backoff: rng.pick(&[
                Backoff::None,
                Backoff::None,
                Backoff::Fixed { delay_secs: 5 },
                Backoff::Exponential { base_secs: 2, max_secs: 6 },
            ]),
            timeout: none_or(rng, &[8, 30, 100]),
            queue_timeout: none_or(rng, &[20, 60, 300]),
        }
    }

    /// The keys of the definition.
    fn lines(&self) -> String {
        let mut retry = format!("max: {}", self.max);
        let mut add = |key: &str, value: Option<u32>| {
            if let Some(value) = value {
                let _ = write!(retry, ", {key}: {value}");
            }
        };
        add("lost", self.lost);
        add("timeout", self.timeouts);
        match self.backoff {
            Backoff::None => {}
            Backoff::Fixed { delay_secs } => {
                let _ = write!(retry, ", delay: {delay_secs}");
            }
            Backoff::Exponential { base_secs, max_secs } => {
                let _ = write!(retry, ", backoff: exponential, delay: {base_secs}, max_delay: {max_secs}");
            }
        }
        let mut lines = format!("retry: {{{retry}}}");
        for (key, value) in [("timeout", self.timeout), ("queue_timeout", self.queue_timeout)] {
            if let Some(value) = value {
                let _ = write!(lines, ", {key}: {value}");
            }
        }
        lines
    }

    /// The delay in milliseconds after the attempt of this number.
    pub(crate) fn delay(&self, attempt: u32) -> u64 {
        1000 * match self.backoff {
            Backoff::None => 0,
            Backoff::Fixed { delay_secs } => delay_secs,
            Backoff::Exponential { base_secs, max_secs } => (base_secs << attempt.min(20)).min(max_secs),
        }
    }

    /// The largest number of attempts.
    pub(crate) fn most(&self) -> u32 {
        1 + self.max + self.lost.unwrap_or_default() + self.timeouts.unwrap_or_default()
    }
}

impl Graph {
    /// The position of the job with this id.
    pub(crate) fn position(&self, id: &JobId) -> usize {
        match id.as_str() {
            HANDLER => self.jobs.len() - 1,
            id => id.trim_start_matches('j').parse().expect("an id of a graph"),
        }
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let count = rng.pick(&[1, 2, 3, 4, 6, 8, 10, 12, 14]);
        let shape = rng.share();
        let mut jobs: Vec<GraphJob> = (0..count).map(|n| random_job(n, count, shape, rng)).collect();
        if rng.chance(0.5) {
            for job in &mut jobs {
                job.group = group(rng, &["", "", "g0", "g1"]);
            }
        }
        let mut lines: Vec<String> = jobs.iter().enumerate().map(|(n, job)| line(n, job, rng)).collect();
        // The order in the file differs from the order in the graph.
        rng.shuffle(&mut lines);
        let run_group = match group(rng, &["", "", "", "w0", "w0"]) {
            Some(group) if rng.chance(0.3) => format!("concurrency: {{group: {group}, when_newer: cancel}}\n"),
            Some(group) => format!("concurrency: {group}\n"),
            None => String::new(),
        };
        let mut yaml = format!("{run_group}jobs:\n{}", lines.concat());
        if rng.chance(0.4) {
            let ends = Ends { condition: Condition::OnFailure, allow_failure: false, may_skip: rng.chance(0.3) };
            let group = if rng.chance(0.5) { group(rng, &["", "g0"]) } else { None };
            let handler = GraphJob { needs: Vec::new(), ends, group, ..random_job(0, 1, shape, rng) };
            let _ = writeln!(yaml, "{HANDLER}: {}", body(&handler, rng));
            jobs.push(handler);
        }
        Self::read(yaml, jobs)
    }

    fn read(yaml: String, jobs: Vec<GraphJob>) -> Self {
        let definition = from_yaml(&yaml).unwrap_or_else(|problems| panic!("{problems:#?}\n{yaml}"));
        Self { yaml, definition, jobs }
    }

    /// A workflow that a push starts.
    pub(crate) fn of_a_push(rng: &mut Rng) -> Self {
        let Self { yaml, jobs, .. } = Self::random(rng);
        let checkout = rng.pick(&["", "defaults: {checkout: true}\n"]);
        Self::read(format!("on: push\n{checkout}{yaml}"), jobs)
    }
}

fn random_job(n: usize, count: usize, shape: f64, rng: &mut Rng) -> GraphJob {
    let last = n + 1 == count;
    let needs = match shape {
        _ if n == 0 => Vec::new(),
        ..0.15 => vec![n - 1],
        ..0.3 => {
            if last {
                (0..n).collect()
            } else {
                Vec::new()
            }
        }
        ..0.45 => {
            if last && n > 1 {
                (1..n).collect()
            } else {
                vec![0]
            }
        }
        _ => {
            let mut before: Vec<usize> = (0..n).collect();
            rng.shuffle(&mut before);
            before.truncate(rng.pick(&[0, 1, 1, 2, 3, 5, 7]));
            before.sort_unstable();
            before
        }
    };
    let labels = rng.pick(&["", "", "", "a", "b", "a,b", "c"]);
    let labels = LabelSet::from_comma_separated(labels).expect("good labels");
    let ends = Ends::random(rng, !needs.is_empty());
    GraphJob { needs, labels, allowed: Allowed::random(rng), ends, group: None }
}

/// One of these groups; none, if it is empty.
fn group(rng: &mut Rng, of: &[&str]) -> Option<Label> {
    Label::new(rng.pick(of)).ok()
}

fn line(n: usize, job: &GraphJob, rng: &mut Rng) -> String {
    format!("  j{n}: {}\n", body(job, rng))
}

fn body(job: &GraphJob, rng: &mut Rng) -> String {
    // The spec of a long script is stored in a record of its own.
    let script = "x".repeat(rng.pick(&[1, 1, 1, 400]));
    let needs: Vec<String> = job.needs.iter().map(|need| format!("j{need}")).collect();
    let labels: Vec<&str> = job.labels.iter().map(protocol::Label::as_str).collect();
    let mut body = format!("{{run: {script}, {}{}", job.allowed.lines(), job.ends.lines());
    if let Some(group) = &job.group {
        let _ = write!(body, ", concurrency: {group}");
    }
    if job.ends.condition != Condition::OnFailure {
        let _ = write!(body, ", needs: [{}]", needs.join(", "));
    }
    let _ = write!(body, ", labels: [{}]}}", labels.join(", "));
    body
}
