//! Times and durations for people.

use std::time::Duration;

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

/// A duration that is measured by two clocks: in whole seconds.
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
    let secs = time.secs();
    let (year, month, day) = date(secs / 86_400);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a number of days since 1970.
///
/// Counted in years that begin in March, so that the leap day is a year's last (Hinnant, "`chrono`-Compatible Low-Level
/// Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let calendar_month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(calendar_month <= 2), calendar_month, day_of_month)
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
    fn a_time_that_another_clock_puts_in_the_future_is_now() {
        assert_eq!(ago(Millis(5000), Millis(1000)), "just now");
        assert_eq!(ago(Millis(0), Millis(59_000)), "59 s ago");
        assert_eq!(ago(Millis(0), Millis(200_000_000)), "2 d ago");
    }
}
