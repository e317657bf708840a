//! Random workflows, and what is known of them without asking the engine.

use std::fmt::Write;

use protocol::wire::Backoff;
use protocol::{JobId, LabelSet};
use workflow::{Definition, from_yaml};

use crate::rng::Rng;

/// Labels that jobs ask for and workers have.
pub(crate) const LABELS: &str = "a,b,c";

/// A workflow as its author wrote it.
pub(crate) struct Graph {
    pub(crate) yaml: String,
    pub(crate) definition: Definition,
    /// Job `j<n>` is the `n`th.
    pub(crate) jobs: Vec<Wanted>,
}

/// What the author asked of a job.
pub(crate) struct Wanted {
    /// By their place in [`Graph::jobs`].
    pub(crate) needs: Vec<usize>,
    pub(crate) labels: LabelSet,
    pub(crate) allowed: Allowed,
}

/// How often a job may be tried, and for how long.
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

    /// As a definition says it.
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

    /// How long the try after the attempt of this number waits, in milliseconds.
    pub(crate) fn delay(&self, attempt: u32) -> u64 {
        1000 * match self.backoff {
            Backoff::None => 0,
            Backoff::Fixed { delay_secs } => delay_secs,
            Backoff::Exponential { base_secs, max_secs } => (base_secs << attempt.min(20)).min(max_secs),
        }
    }

    /// Tries at the very most.
    pub(crate) fn most(&self) -> u32 {
        1 + self.max + self.lost.unwrap_or_default() + self.timeouts.unwrap_or_default()
    }
}

impl Graph {
    /// Which job of the graph has this id.
    pub(crate) fn place(id: &JobId) -> usize {
        id.as_str().trim_start_matches('j').parse().expect("an id that a graph gave")
    }

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let count = rng.pick(&[1, 2, 3, 4, 6, 8, 10, 12, 14]);
        let shape = rng.share();
        let jobs: Vec<Wanted> = (0..count).map(|n| wanted(n, count, shape, rng)).collect();
        let mut lines: Vec<String> = jobs.iter().enumerate().map(|(n, job)| line(n, job, rng)).collect();
        // The file's order isn't the graph's.
        rng.shuffle(&mut lines);
        let yaml = format!("jobs:\n{}", lines.concat());
        let definition = from_yaml(&yaml).unwrap_or_else(|problems| panic!("{problems:#?}\n{yaml}"));
        Self { yaml, definition, jobs }
    }
}

fn wanted(n: usize, count: usize, shape: f64, rng: &mut Rng) -> Wanted {
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
    Wanted { needs, labels, allowed: Allowed::random(rng) }
}

fn line(n: usize, job: &Wanted, rng: &mut Rng) -> String {
    // A long script makes the spec one that is stored apart.
    let script = "x".repeat(rng.pick(&[1, 1, 1, 400]));
    let needs: Vec<String> = job.needs.iter().map(|need| format!("j{need}")).collect();
    let labels: Vec<&str> = job.labels.iter().map(protocol::Label::as_str).collect();
    let mut line = format!("  j{n}: {{run: {script}, {}", job.allowed.lines());
    let _ = writeln!(line, ", needs: [{}], labels: [{}]}}", needs.join(", "), labels.join(", "));
    line
}
