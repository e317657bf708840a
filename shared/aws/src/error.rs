//! Maps AWS errors to store errors.

use std::error::Error;
use std::fmt::Write;

use engine::ports::StoreError;

/// Whatever failed after the client library's own tries: the same call may go through later.
pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> StoreError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    StoreError::Unavailable(text)
}

/// A record that isn't what the engine wrote.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}
