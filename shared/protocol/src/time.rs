//! Times as the protocol writes them, and durations as people write them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The machine's current time. The engine uses the `Clock` port instead.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The time since `earlier`, or zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, the unit of `DynamoDB`'s time to live.
    #[must_use]
    pub fn secs(self) -> u64 {
        self.0 / 1000
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Millis {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Millis {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDuration {
    /// The text has another form.
    #[error("{0:?} is not a time such as 90s, 500ms, 30m, 1h30m or 2d")]
    Syntax(String),
    /// The duration is too long to count.
    #[error("{0:?} is too long")]
    TooLong(String),
}

/// Parses a duration: whole seconds, or numbers with the units `ms`, `s`, `m`, `h` and `d`, such as `90s` or `1h30m`.
///
/// # Errors
/// The text has another form, or the duration is too long.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let syntax = || BadDuration::Syntax(text.to_owned());
    // humantime accepts other units too: `1M` is a month.
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit() || "mshd".contains(c)) {
        return Err(syntax());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| BadDuration::TooLong(text.to_owned()));
    }
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => BadDuration::TooLong(text.to_owned()),
        _ => syntax(),
    })
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_neither_wrap_nor_go_below_zero() {
        let second = Duration::from_secs(1);
        assert_eq!(
            [Millis(1) + second, Millis(1001) - second, Millis(5) - second],
            [Millis(1001), Millis(1), Millis(0)]
        );
        assert_eq!([Millis(u64::MAX) + second, Millis(0) + Duration::MAX], [Millis(u64::MAX); 2]);
        assert_eq!((Millis(1500).since(Millis(500)), Millis(1).since(Millis(2))), (second, Duration::ZERO));
        assert_eq!([Millis(1999).secs(), Millis(2000).secs()], [1, 2]);
    }

    #[test]
    fn duration_is_seconds_or_has_units() {
        let millis = |text| parse_duration(text).map(|time| time.as_millis());
        for (text, expected) in
            [("90", 90_000), ("0", 0), ("500ms", 500), ("6h", 21_600_000), ("1h30m", 5_400_000), ("2d", 172_800_000)]
        {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5s", "1 h", "1M", "2weeks", "1h30", "ms", "soon"] {
            assert_eq!(millis(bad), Err(BadDuration::Syntax(bad.to_owned())), "{bad}");
        }
        for long in ["99999999999999999999", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(millis(long), Err(BadDuration::TooLong(long.to_owned())), "{long}");
        }
    }
}
