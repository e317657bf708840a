//! What can go wrong, in words, and the exit code it makes.

use std::fmt;
use std::io;
use std::process::ExitCode;

use worker::ClientError;

use crate::screen::say;

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The workflow or the definition isn't good, which was said already.
    #[error("it was said already")]
    AlreadyReported,
    /// A signal ended it, which was answered already; this is the exit code.
    #[error("ended by a signal")]
    Signalled(u8),
    /// Something the person gave can't be used.
    #[error("{0}")]
    Usage(String),
    /// The server can't be asked, or refuses.
    #[error("{}", words(.0))]
    Client(#[from] ClientError),
    /// Whoever reads the output has closed it.
    #[error("nobody reads the output any more")]
    Closed,
    /// The output can't be written.
    #[error("can't write to standard output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// Something that was given can't be used, for a reason that has no full stop.
    pub fn usage(reason: &dyn fmt::Display) -> Self {
        Self::Usage(format!("{reason}."))
    }

    /// This program can't do it.
    #[cfg(not(feature = "aws"))]
    pub fn without_aws(what: &str) -> Self {
        Self::Usage(format!(
            "this `wfg` can't reach {what}: it was built without AWS's client library. Build it with `cargo build \
             --release -p wfg --features aws`."
        ))
    }

    /// Says it on standard error, unless it was said or nobody is there to hear.
    pub fn report(self) -> ExitCode {
        match self {
            Self::AlreadyReported => ExitCode::from(1),
            Self::Signalled(code) => ExitCode::from(code),
            // As a program that dies of SIGPIPE: what was asked for wasn't carried out, and nobody wants to know.
            Self::Closed => ExitCode::from(2),
            failure => {
                say(&format!("error: {failure}"));
                ExitCode::from(2)
            }
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

/// What went wrong and what to do about it.
pub fn words(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { .. } => {
            format!("{error}. Is the server running? Say where it is with --server or SERVER_URL.")
        }
        ClientError::BadServer { .. } => format!("{error}. It comes from --server or SERVER_URL."),
        ClientError::Unreadable { .. } => format!("{error}. Check --server or SERVER_URL."),
        ClientError::Refused { status, code, message, .. } => refused(*status, code, message),
        _ => error.to_string(),
    }
}

fn refused(status: u16, code: &str, message: &str) -> String {
    let message = message.trim_end_matches('.');
    match (status, code) {
        (_, "no_such_workflow") => format!("{message}; `wfg list` shows those there are."),
        (_, "no_such_job") => format!("{message}; `wfg status` shows its jobs."),
        (401 | 403, _) => format!("{message} ({status}). Give a token that may do this with --token or WFG_TOKEN."),
        (404, "http_404") => {
            format!("{message} (404). Is this a workflow-graph server? Check --server or SERVER_URL.")
        }
        _ => format!("{message} ({status} {code})."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_with(status: u16, code: &str, message: &str) -> String {
        let (code, message) = (code.to_owned(), message.to_owned());
        words(&ClientError::Refused { status, code, message, details: None, retry_after: None })
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert_eq!(
            refused_with(404, "no_such_workflow", "there is no workflow `x`"),
            "there is no workflow `x`; `wfg list` shows those there are."
        );
        assert_eq!(
            refused_with(401, "unauthorized", "this needs a token"),
            "this needs a token (401). Give a token that may do this with --token or WFG_TOKEN."
        );
        assert_eq!(
            refused_with(409, "workflow_running", "workflow `x` is running; cancel it first"),
            "workflow `x` is running; cancel it first (409 workflow_running)."
        );
    }

    #[test]
    fn a_reader_that_went_away_is_not_an_error_to_report() {
        assert!(matches!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)), Failure::Closed));
    }
}
