//! Standard output and standard error, and their colours.

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::Status;

use crate::failure::Failure;

/// How text on standard output and on standard error is styled.
pub struct Screen {
    /// The style of standard output.
    pub out: Paint,
    /// The style of standard error.
    pub err: Paint,
    /// Whether the command goes on when standard output can't be written.
    optional: AtomicBool,
    /// The first error of an output that is optional.
    lost: OnceLock<io::Error>,
}

impl Screen {
    /// Finds out what standard output and standard error are.
    pub fn detect() -> Self {
        let (out, err) = (Paint::of(io::stdout().is_terminal()), Paint::of(io::stderr().is_terminal()));
        Self { out, err, optional: AtomicBool::new(false), lost: OnceLock::new() }
    }

    /// Writes to standard output and flushes it.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if self.optional.load(Ordering::Relaxed) => {
                if error.kind() != ErrorKind::BrokenPipe && self.lost.get().is_none() {
                    eprint(&format!("can't write to standard output: {error}; the run goes on"));
                    let _ = self.lost.set(error);
                }
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// From now on [`Screen::print`] never fails: the command does more than to print.
    pub fn make_output_optional(&self) {
        self.optional.store(true, Ordering::Relaxed);
    }

    /// Whether optional output was lost although it had a reader, as on a full disk.
    pub fn lost(&self) -> Option<Failure> {
        self.lost.get().map(|error| Failure::Output(error.kind().into()))
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

    /// Colours on a terminal that is not dumb, as `NO_COLOR`, `CLICOLOR_FORCE` and `CLICOLOR` allow.
    fn of(terminal: bool) -> Self {
        Self::with_variables(terminal, |name| std::env::var_os(name))
    }

    fn with_variables(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).is_some_and(|value| !value.is_empty());
        let is = |name, expected: &str| variable(name).is_some_and(|value| value == expected);
        let forced = set("CLICOLOR_FORCE") && !is("CLICOLOR_FORCE", "0");
        let colour = forced || terminal && !names_dumb(variable("TERM")) && !is("CLICOLOR", "0");
        Self { terminal, colour: colour && !set("NO_COLOR") }
    }

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

/// Whether the terminal can't move its cursor or show colours.
pub fn is_dumb() -> bool {
    names_dumb(std::env::var_os("TERM"))
}

fn names_dumb(term: Option<OsString>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumb_terminal_has_no_colours() {
        let coloured = |terminal, variables: &[(&str, &str)]| {
            let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
            Paint::with_variables(terminal, of).colour
        };
        assert!(coloured(true, &[("TERM", "xterm")]));
        assert!(!coloured(false, &[("TERM", "xterm")]));
        for dumb in [&[("TERM", "dumb")][..], &[("TERM", "")], &[]] {
            assert!(!coloured(true, dumb), "{dumb:?}");
        }
        assert!(coloured(true, &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")]));
        assert!(!coloured(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]));
    }
}
