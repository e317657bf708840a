//! Collects problems, and words what they have in common.

use std::fmt::Display;

use protocol::limits;

use super::{Position, Problem};

/// Problems that are listed; enough to work on, few enough to send.
pub(super) const LISTED: usize = 1000;

/// The problems found so far, in any order.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    /// Say only the path, for a body that no person wrote.
    paths_only: bool,
}

impl Report {
    pub fn add(&mut self, code: &'static str, at: Position, path: impl Display, message: impl Into<String>) {
        let at = (!self.paths_only).then_some(at);
        self.problems.push(Problem { code, message: message.into(), path: path.to_string(), at });
    }

    pub fn hide_positions(&mut self) {
        self.paths_only = true;
        self.problems.iter_mut().for_each(|problem| problem.at = None);
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// In the order of the file, each once, the last of too many saying how many there are.
    pub fn into_problems(mut self) -> Vec<Problem> {
        let place = |problem: &Problem| problem.at.map(|at| at.offset);
        self.problems.sort_by_key(place);
        self.problems.dedup_by(|a, b| a.code == b.code && a.at.is_some() && a.at == b.at && a.message == b.message);
        if self.problems.len() > LISTED {
            let more = self.problems.len() - LISTED;
            self.problems.truncate(LISTED);
            let message = format!("{more} more problems are not listed; fix some of these first");
            self.problems.push(Problem { code: "more_problems", message, path: String::new(), at: None });
        }
        self.problems
    }
}

/// A text of the file in a message: on one line, cut, in backticks.
pub(super) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).flat_map(escape).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn escape(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// The candidate that `text` is most likely a slip of, by edit distance without case.
///
/// Of equally near ones the first. `comparisons` bounds the work over a whole definition.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    comparisons: &mut usize,
) -> Option<&'a str> {
    if text.len() > limits::ID {
        return None;
    }
    let text = text.to_lowercase();
    let most = 1 + text.chars().count() / 4;
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        *comparisons = comparisons.checked_sub(1)?;
        if candidate.len().abs_diff(text.len()) > 4 * most {
            continue;
        }
        let distance = strsim::osa_distance(&text, &candidate.to_lowercase());
        if distance <= most && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
