//! Where output goes, and whether in colour.

use std::io::{self, IsTerminal, Write};

use protocol::Status;

use crate::failure::Failure;

/// Standard output and standard error.
pub struct Screen {
    /// How standard output looks.
    pub out: Paint,
    /// How standard error looks.
    pub err: Paint,
}

impl Screen {
    /// Colours where a terminal shows them, unless `NO_COLOR` is set.
    pub fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let paint = |terminal| Paint { terminal, colour: terminal && wanted };
        Self { out: paint(io::stdout().is_terminal()), err: paint(io::stderr().is_terminal()) }
    }

    /// Writes to standard output, now.
    #[expect(clippy::unused_self, reason = "whoever prints has asked how it looks")]
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Says something aside, on standard error, so that standard output stays what was asked for.
    #[expect(clippy::unused_self, reason = "whoever prints has asked how it looks")]
    pub fn eprint(&self, text: &str) {
        say(text);
    }
}

/// A line on standard error. If nobody can hear it, nobody can be told that either.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// How text looks.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether a person looks at it now.
    pub terminal: bool,
    /// Whether colours are shown.
    pub colour: bool,
}

impl Paint {
    /// For pipes, files and tests.
    #[cfg(test)]
    pub const PLAIN: Self = Self { terminal: false, colour: false };

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// What matters most.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Text in the colour of a status.
    pub fn status(self, status: Status, text: &str) -> String {
        let code = match status {
            Status::Success => "32",
            Status::Failure => "31",
            Status::Running => "36",
            Status::Cancelled => "33",
            Status::Queued | Status::Skipped => "2",
        };
        self.with(code, text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
