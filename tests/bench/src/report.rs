//! Figures: medians over the rounds of a measurement, as a table and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::load::Times;

/// What one round of a workload showed of one target.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Jobs, or requests, a second.
    pub per_second: f64,
    /// The median time, in milliseconds.
    pub p50_ms: f64,
    /// The time that one of a hundred exceeds, in milliseconds.
    pub p99_ms: f64,
    /// The server's CPU time for each job or request, in microseconds.
    pub cpu_us: Option<f64>,
}

impl Sample {
    /// The figures of these times, and of the CPU time that the server used meanwhile.
    #[must_use]
    pub fn of(mut times: Times, cpu: Option<Duration>) -> Self {
        times.each.sort();
        let count = times.each.len().max(1);
        let at = |share: f64| times.each.get(whole(share * count as f64)).or(times.each.last()).map_or(0.0, ms);
        Self {
            per_second: times.each.len() as f64 / times.all.as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            cpu_us: cpu.map(|cpu| ms(&cpu) * 1000.0 / count as f64),
        }
    }
}

fn ms(time: &Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in a list")]
fn whole(position: f64) -> usize {
    position as usize
}

/// A row of the table: the medians of a target over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub workload: &'static str,
    /// How much of it, or with how many threads.
    pub size: String,
    /// The server or program.
    pub target: String,
    /// Jobs or requests a second.
    pub per_second: f64,
    /// The median time, in milliseconds.
    pub p50_ms: f64,
    /// The time that one of a hundred exceeds, in milliseconds.
    pub p99_ms: f64,
    /// The server's CPU time for each job or request, in microseconds.
    pub cpu_us: Option<f64>,
    /// What else was found.
    pub note: String,
}

impl Row {
    /// The medians of some rounds.
    #[must_use]
    pub fn of(workload: &'static str, size: String, target: String, samples: &[Sample], note: String) -> Self {
        let cpu: Option<Vec<f64>> = samples.iter().map(|sample| sample.cpu_us).collect();
        Self {
            workload,
            size,
            target,
            per_second: median(samples.iter().map(|sample| sample.per_second)),
            p50_ms: median(samples.iter().map(|sample| sample.p50_ms)),
            p99_ms: median(samples.iter().map(|sample| sample.p99_ms)),
            cpu_us: cpu.map(|cpu| median(cpu.into_iter())),
            note,
        }
    }
}

/// The middle one of some values; 0 if there are none.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The heading of the table.
pub const HEADING: &str = "| workload | size | of | per second | p50 | p99 | server's CPU for each | |\n\
                           | --- | --- | --- | --- | --- | --- | --- | --- |";

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { workload, size, target, per_second, p50_ms, p99_ms, cpu_us, note } = self;
        let cpu = cpu_us.map_or_else(String::new, |cpu| format!("{cpu:.0} µs"));
        write!(
            f,
            "| {workload} | {size} | {target} | {per_second:.0} | {p50_ms:.3} ms | {p99_ms:.3} ms | {cpu} | {note} |"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_the_medians_of_its_rounds() {
        let times = |scale: u64| {
            let each: Vec<Duration> = (1..=100).map(|number| Duration::from_millis(number * scale)).collect();
            Times { all: each.iter().sum::<Duration>() / 2, each }
        };
        let samples = [3, 1, 2].map(|scale| Sample::of(times(scale), Some(Duration::from_millis(100 * scale))));
        let row = Row::of("claims", "2 threads".to_owned(), "wfg".to_owned(), &samples, String::new());
        assert_eq!((row.p50_ms, row.p99_ms, row.cpu_us), (102.0, 200.0, Some(2000.0)));
        assert!((row.per_second - 100.0 / 5.05).abs() < 1e-9, "{row:?}");
    }
}
