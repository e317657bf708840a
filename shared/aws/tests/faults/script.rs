//! What is submitted, and what a worker has to do with each job.

use std::collections::BTreeMap;

use protocol::Status;

/// A workflow, how it must end, and its jobs with how each must.
pub struct Story {
    pub name: &'static str,
    pub definition: &'static str,
    pub ends: Status,
    pub jobs: &'static [(&'static str, Status)],
}

/// The first has a job that fails once and is tried again after a second, one with outputs for the bucket, and one
/// whose worker is lost once. The second is worked off by completions that ask for the next job. The third is cancelled
/// while `y` runs.
pub const STORIES: [Story; 3] = [
    Story {
        name: "diamond",
        definition: "
jobs:
  a: { run: 'true', retries: 9 }
  b: { run: 'true', needs: a, retry: { max: 9, delay: 1 } }
  c: { run: 'true', needs: a, retries: 9 }
  d: { run: 'true', needs: [b, c], retries: 9 }
  frail: { run: 'true', labels: frail, retries: 9 }
",
        ends: Status::Success,
        jobs: &[
            ("a", Status::Success),
            ("b", Status::Success),
            ("c", Status::Success),
            ("d", Status::Success),
            ("frail", Status::Success),
        ],
    },
    Story {
        name: "chain",
        definition: "
jobs:
  p: { run: 'true', retries: 9 }
  q: { run: 'true', needs: p, retries: 9 }
  r: { run: 'true', needs: q, retries: 9 }
",
        ends: Status::Success,
        jobs: &[("p", Status::Success), ("q", Status::Success), ("r", Status::Success)],
    },
    Story {
        name: "cut",
        definition: "
jobs:
  x: { run: 'true', retries: 9 }
  y: { run: 'true', needs: x, retries: 9 }
  z: { run: 'true', needs: y, retries: 9 }
",
        ends: Status::Cancelled,
        jobs: &[("x", Status::Success), ("y", Status::Cancelled), ("z", Status::Cancelled)],
    },
];

/// The job that needs a worker with this label.
pub const FRAIL: &str = "frail";

pub fn needs(job: &str) -> &'static [&'static str] {
    match job {
        "b" | "c" => &["a"],
        "d" => &["b", "c"],
        "q" => &["p"],
        "r" => &["q"],
        "y" => &["x"],
        "z" => &["y"],
        _ => &[],
    }
}

/// What a worker reports: which lease it had, and for some jobs more, so that it doesn't fit where less would.
pub fn outputs(job: &str, lease: &str) -> BTreeMap<String, String> {
    let mut outputs = BTreeMap::from([("by".to_owned(), lease.to_owned())]);
    let more = match job {
        "a" => 70_000,
        "p" => 1_000,
        _ => 0,
    };
    if more > 0 {
        outputs.insert("more".to_owned(), "é".repeat(more / 2));
    }
    outputs
}
