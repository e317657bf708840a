//! What the adapters share: a request for a link, what its failure means, and texts in paths.

use std::time::Duration;

use engine::forge::ports::ForgeError;
use engine::forge::records::Left;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::Millis;

use super::http::{Answer, HttpError};

/// All but the characters that stay as they are in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as one segment of a path.
///
/// # Errors
/// [`ForgeError::Refused`] for an empty text and for dots, which would lead to another path.
pub(crate) fn segment(text: &str) -> Result<String, ForgeError> {
    if matches!(text, "" | "." | "..") {
        return Err(ForgeError::Refused(format!("{text:?} can't be part of an address")));
    }
    Ok(utf8_percent_encode(text, SEGMENT).to_string())
}

/// A text with slashes as several segments of a path.
///
/// # Errors
/// As [`segment`].
pub(crate) fn segments(text: &str) -> Result<String, ForgeError> {
    Ok(text.split('/').map(segment).collect::<Result<Vec<_>, _>>()?.join("/"))
}

/// True for the name of a workflow file. Names are taken as git has them, so `CI.YML` is none.
#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "git tells names apart by case")]
pub(crate) fn is_workflow_name(path: &str) -> bool {
    path.ends_with(".yml")
}

/// What the lack of an answer means.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
pub(crate) fn no_answer(error: HttpError) -> ForgeError {
    match error {
        HttpError::NoAnswer { .. } => ForgeError::NoAnswer(error.to_string()),
        HttpError::Unusable { .. } => ForgeError::BadAnswer(error.to_string()),
        HttpError::BadUrl { .. } => ForgeError::Refused(error.to_string()),
    }
}

/// What an answer that isn't success means.
pub(crate) fn failure(answer: &Answer, now: Millis) -> ForgeError {
    let text = format!("{} {}", answer.status, answer.message());
    let nothing_left = answer.number("x-ratelimit-remaining") == Some(0) || answer.header("retry-after").is_some();
    match answer.status {
        502 | 504 => ForgeError::NoAnswer(text),
        429 | 500..=599 => ForgeError::Busy { text, retry_after: retry_after(answer, now) },
        403 if nothing_left => ForgeError::Busy { text, retry_after: retry_after(answer, now) },
        422 if text.contains("No commit found") => ForgeError::NoCommit,
        404 | 410 => ForgeError::Gone(text),
        _ => ForgeError::Refused(text),
    }
}

/// The longest that a forge is left alone: GitHub counts requests by the hour.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How long the forge wants to be left alone: `Retry-After`, or until its hour begins anew. At most [`LONGEST_PAUSE`]: a proxy
/// before the forge may answer anything.
fn retry_after(answer: &Answer, now: Millis) -> Option<Duration> {
    let asked = match answer.number("retry-after") {
        Some(seconds) => Duration::from_secs(seconds),
        None => left(answer).filter(|left| left.requests == 0)?.resets_at.since(now),
    };
    Some(asked.min(LONGEST_PAUSE))
}

/// What the forge says is left of its limit.
pub(crate) fn left(answer: &Answer) -> Option<Left> {
    let either = |name: &str| {
        answer.number(&format!("x-ratelimit-{name}")).or_else(|| answer.number(&format!("ratelimit-{name}")))
    };
    Some(Left {
        requests: either("remaining")?.try_into().ok()?,
        of: either("limit")?.try_into().ok()?,
        resets_at: Millis(either("reset")?.checked_mul(1000)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_part_of_the_path() {
        assert_eq!(segments("heads/x$(id)/é?#").expect("a path"), "heads/x%24%28id%29/%C3%A9%3F%23");
        assert_eq!(segment("a/b").expect("a segment"), "a%2Fb");
        for bad in ["", ".", "..", "heads/../../user", "heads//main"] {
            assert!(segments(bad).is_err(), "{bad}");
        }
    }
}
