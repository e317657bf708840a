//! Maps AWS errors to store errors.

use std::error::Error;
use std::fmt::Write;

use engine::ports::StoreError;

/// An error's text, with the texts of its causes.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}

/// A call that still failed after the client library's own tries. It may succeed later.
pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> StoreError {
    StoreError::Unavailable(with_causes(error))
}

/// A record in a form that the engine doesn't write.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}
