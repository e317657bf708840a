//! Formats times and durations for people.

use std::time::{Duration, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use protocol::Millis;

/// `432 ms`, `7.5 s`, `12 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(time: Duration) -> String {
    let (secs, tenths) = (time.as_secs(), time.subsec_millis() / 100);
    let two = |large: u64, unit: &str, small: u64, of: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {of}"),
    };
    match secs {
        0 => format!("{} ms", time.subsec_millis()),
        1..10 => format!("{secs}.{tenths} s"),
        10..60 => format!("{secs} s"),
        60..3600 => two(secs / 60, "min", secs % 60, "s"),
        3600..86_400 => two(secs / 3600, "h", secs / 60 % 60, "min"),
        _ => two(secs / 86_400, "d", secs / 3600 % 24, "h"),
    }
}

/// A duration between times of two clocks, which is not exact: in whole seconds.
pub fn about(time: Duration) -> String {
    if time.as_secs() < 10 { format!("{} s", time.as_secs()) } else { duration(time) }
}

/// `just now`, `12 s ago`, `3 d ago`: the largest unit says enough.
pub fn ago(then: Millis, now: Millis) -> String {
    let secs = now.since(then).as_secs();
    match secs {
        0..2 => "just now".to_owned(),
        2..60 => format!("{secs} s ago"),
        60..3600 => format!("{} min ago", secs / 60),
        3600..86_400 => format!("{} h ago", secs / 3600),
        _ => format!("{} d ago", secs / 86_400),
    }
}

/// `2026-01-31 23:59:59 UTC`.
pub fn utc(time: Millis) -> String {
    let time = format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.secs())).to_string();
    time.replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_two_units_at_most() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!(shown(432), "432 ms");
        assert_eq!(shown(7590), "7.5 s");
        assert_eq!(shown(12_900), "12 s");
        assert_eq!(shown(185_000), "3 min 5 s");
        assert_eq!(shown(180_000), "3 min");
        assert_eq!(shown(7_500_000), "2 h 5 min");
        assert_eq!(shown(273_600_000), "3 d 4 h");
        assert_eq!(about(Duration::from_millis(1900)), "1 s");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(Millis(0)), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(Millis(951_782_400_000)), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(Millis(1_767_225_599_999)), "2025-12-31 23:59:59 UTC");
        assert_eq!(utc(Millis(4_107_542_400_000)), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        assert_eq!(ago(Millis(5000), Millis(1000)), "just now");
        assert_eq!(ago(Millis(0), Millis(59_000)), "59 s ago");
        assert_eq!(ago(Millis(0), Millis(200_000_000)), "2 d ago");
    }
}
