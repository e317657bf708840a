//! Standard output and standard error, and their colours.

use std::io::{self, IsTerminal, Write};

use protocol::Status;

use crate::failure::Failure;

/// Standard output and standard error.
pub struct Screen {
    /// The style of standard output.
    pub out: Paint,
    /// The style of standard error.
    pub err: Paint,
}

impl Screen {
    /// Colours where a terminal shows them, unless `NO_COLOR` is set.
    pub fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let paint = |terminal| Paint { terminal, colour: terminal && wanted };
        Self { out: paint(io::stdout().is_terminal()), err: paint(io::stderr().is_terminal()) }
    }

    /// Writes to standard output and flushes it.
    #[expect(clippy::unused_self, reason = "callers style text by `out` and `err` first")]
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Writes a line to standard error: everything except the command's result.
    #[expect(clippy::unused_self, reason = "callers style text by `out` and `err` first")]
    pub fn eprint(&self, text: &str) {
        eprint(text);
    }
}

/// Writes a line to standard error and ignores failures, which can't be reported anywhere.
pub fn eprint(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Styles text, if the output shows colours.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether the output is a terminal.
    pub terminal: bool,
    /// Whether colours are shown.
    pub colour: bool,
}

impl Paint {
    /// For pipes, files and tests.
    #[cfg(test)]
    pub const PLAIN: Self = Self { terminal: false, colour: false };

    /// Text that matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Text that matters most.
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
