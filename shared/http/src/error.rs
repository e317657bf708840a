//! Why a request had no answer.

use std::error::Error;
use std::time::Duration;

use hyper_util::client::legacy;

/// Any error.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a request had no answer. It names no URL, since a path may hold a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no connection: the request certainly didn't arrive.
    #[error("no connection")]
    Connect(#[source] Cause),
    /// No answer came in time. The request may have been carried out.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke. The request may have been carried out.
    #[error("the connection broke")]
    Broken(#[source] Cause),
    /// The answer is larger than this many bytes.
    #[error("the answer has over {0} bytes")]
    TooLarge(usize),
    /// The request can't be sent at all.
    #[error("the request can't be sent")]
    Unsendable(#[source] Cause),
    /// No TLS is possible here.
    #[error("the system's certificates can't be used")]
    NoCertificates(#[source] Cause),
}

/// A connection took too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection in {} s", .0.as_secs())]
pub(crate) struct Slow(pub Duration);

impl FetchError {
    /// Whether the request certainly didn't arrive.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unsendable(_) | Self::NoCertificates(_))
    }

    /// The innermost error: the outer ones only say that sending failed.
    #[must_use]
    pub fn root_cause(&self) -> String {
        let mut inner: &dyn Error = self;
        while let Some(source) = inner.source() {
            inner = source;
        }
        inner.to_string()
    }
}

impl From<legacy::Error> for FetchError {
    fn from(error: legacy::Error) -> Self {
        if error.is_connect() { Self::Connect(error.into()) } else { Self::Broken(error.into()) }
    }
}
