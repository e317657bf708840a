//! Errors of `wfg`: text and exit code.

use std::fmt;
use std::io;

use client::ClientError;

/// Why a command ends without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The workflow failed or the definition has problems; the message was printed.
    #[error("already reported")]
    AlreadyReported,
    /// A signal ended the command; the message was printed. Holds the exit code.
    #[error("ended by a signal")]
    Signalled(u8),
    /// An argument, file or setting can't be used.
    #[error("{0}")]
    Usage(String),
    /// The server is unreachable or refused the request.
    #[error("{}", words(.0))]
    Client(#[from] ClientError),
    /// The reader of standard output has closed it.
    #[error("standard output is closed")]
    Closed,
    /// Writing to standard output failed.
    #[error("can't write to standard output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// A usage failure with a reason that has no full stop.
    pub fn usage(reason: &dyn fmt::Display) -> Self {
        Self::Usage(format!("{reason}."))
    }

    /// The command needs the feature `aws`.
    #[cfg(not(feature = "aws"))]
    pub fn without_aws(what: &str) -> Self {
        Self::Usage(format!(
            "this `wfg` can't reach {what}: it was built without AWS's client library. Build it with `cargo build \
             --release -p wfg --features aws`."
        ))
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::AlreadyReported => 1,
            Self::Signalled(code) => *code,
            Self::Usage(_) | Self::Client(_) | Self::Output(_) => 2,
            // As a shell reports a program that SIGPIPE ended.
            Self::Closed => 141,
        }
    }

    /// Whether the message must still be printed. A closed output is silent, as for a program that dies of SIGPIPE.
    pub fn needs_message(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Client(_) | Self::Output(_))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

/// The error and what the user can do about it.
pub fn words(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { url, source } if speaks_plain_http(url, &source.root_cause()) => {
            format!("{error}. The server seems to speak HTTP without TLS: write http:// in --server or SERVER_URL.")
        }
        ClientError::Unreachable { .. } => {
            format!("{error}. Is the server running? Say where it is with --server or SERVER_URL.")
        }
        ClientError::BadServer { .. } => format!("{error}. It comes from --server or SERVER_URL."),
        ClientError::BadToken => format!("{error}. It comes from --token or WFG_TOKEN."),
        ClientError::Unreadable { .. } => format!("{error}. Check --server or SERVER_URL."),
        ClientError::Refused { status, code, message, .. } => refused(*status, code, message),
        _ => error.to_string(),
    }
}

/// Whether the answer to a TLS handshake was none, as from a server of plain HTTP. `cause` is the text of the TLS library.
fn speaks_plain_http(url: &str, cause: &str) -> bool {
    url.starts_with("https://") && cause.contains("InvalidContentType")
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
    fn a_refusal_advises_what_to_do() {
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
    fn a_closed_output_is_not_reported() {
        let closed = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!closed.needs_message());
        assert_eq!(closed.exit_code(), 141);
    }
}
