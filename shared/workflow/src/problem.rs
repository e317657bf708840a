//! What is wrong with a definition, and where.

use std::fmt;

use protocol::wire;

/// Where in the source something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes from the beginning of the source.
    pub offset: usize,
    /// In bytes; 0 where only the beginning is known, as of a mapping.
    pub len: usize,
}

/// One thing that is wrong with a definition, or worth noting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A word that stays the same from release to release.
    pub code: &'static str,
    /// What is wrong, with the value, the limit or what to write; one sentence, without its position.
    pub message: String,
    /// `jobs.build.needs[0]`; empty for the whole.
    pub path: String,
    /// `None` for the form with a list of jobs, which no person wrote.
    pub at: Option<Position>,
}

/// `3:5: there is no job ...`, or the path instead of line and column.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}:{}: ", at.line, at.column)?,
            None if self.path.is_empty() => {}
            None => write!(f, "{}: ", self.path)?,
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl From<Problem> for wire::Problem {
    fn from(problem: Problem) -> Self {
        Self {
            code: problem.code.to_owned(),
            message: problem.message,
            path: problem.path,
            line: problem.at.map(|at| at.line),
            column: problem.at.map(|at| at.column),
        }
    }
}
