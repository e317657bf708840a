//! Collects problems.

use std::fmt::Display;

use protocol::limits;

use super::problem::{Position, Problem};

/// Problems that are listed; enough to work on, few enough to send.
pub(super) const LISTED: usize = 1000;

/// Bytes of a path that are shown; the beginning and the end of a longer one.
const PATH: usize = 300;

/// The problems found so far, in any order.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    /// The number of problems that are not stored: a hundred thousand would take the memory of a function.
    dropped: usize,
    /// Report paths without positions, for a body that a program wrote.
    paths_only: bool,
}

impl Report {
    pub fn add(&mut self, code: &'static str, at: Position, path: impl Display, message: impl Into<String>) {
        let at = (!self.paths_only).then_some(at);
        self.problems.push(Problem { code, message: message.into(), path: shortened(path.to_string()), at });
        if self.problems.len() > 4 * LISTED {
            self.keep_listed();
        }
    }

    pub fn hide_positions(&mut self) {
        self.paths_only = true;
        self.problems.iter_mut().for_each(|problem| problem.at = None);
    }

    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether more was found than is listed, so that what follows is hardly worth a search for advice.
    pub fn is_full(&self) -> bool {
        self.dropped > 0
    }

    /// In the order of the file, each once, the last of too many saying how many there are.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.keep_listed();
        if self.dropped > 0 {
            let message = format!("{} more problems are not listed; fix some of these first", self.dropped);
            self.problems.push(Problem { code: "more_problems", message, path: String::new(), at: None });
        }
        self.problems
    }

    fn keep_listed(&mut self) {
        let place = |problem: &Problem| problem.at.map(|at| at.offset);
        self.problems.sort_by_key(place);
        self.problems.dedup_by(|a, b| a.code == b.code && a.at.is_some() && a.at == b.at && a.message == b.message);
        self.dropped += self.problems.len().saturating_sub(LISTED);
        self.problems.truncate(LISTED);
    }
}

fn shortened(path: String) -> String {
    if path.len() <= PATH {
        return path;
    }
    let (begin, end) = (path.floor_char_boundary(PATH / 2), path.ceil_char_boundary(path.len() - PATH / 2));
    format!("{}…{}", &path[..begin], &path[end..])
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
/// Of equally near ones the first. `work` bounds what it costs over a whole definition, in pairs of letters compared.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    work: &mut usize,
) -> Option<&'a str> {
    if text.len() > limits::ID {
        return None;
    }
    let text = text.to_lowercase();
    let most = 1 + text.chars().count() / 4;
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        *work = work.checked_sub(1)?;
        if candidate.len().abs_diff(text.len()) > 4 * most {
            continue;
        }
        *work = work.checked_sub(candidate.len() * text.len())?;
        let distance = strsim::osa_distance(&text, &candidate.to_lowercase());
        if distance <= most && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}
