//! The pace of a log's pushes: fast while somebody reads the log, and slower otherwise.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two pushes of a log that nobody reads.
const SLOWEST: Duration = Duration::from_secs(10);

/// When the next push of a log is due.
///
/// A line is sent at the latest `flush` after it was written, unless the last push was shortly before. The pause between two pushes is
/// `flush` at first and while somebody reads the log. While nobody does, each push doubles it, up to [`SLOWEST`]. So a job that
/// writes a line now and then sends it soon, and a job that writes all the time sends six pushes a minute.
#[derive(Debug)]
pub(crate) struct PushPace {
    flush: Duration,
    pause: Duration,
    pushed: Option<Instant>,
}

impl PushPace {
    pub fn new(flush: Duration) -> Self {
        Self { flush, pause: flush, pushed: None }
    }

    /// When to send a line that was written at `written`, if no other line waits.
    pub fn due(&self, written: Instant) -> Instant {
        let earliest = self.pushed.map(|pushed| pushed + self.pause);
        (written + self.flush).max(earliest.unwrap_or(written))
    }

    /// A push was answered. `followed` is the answer: `None` if the server doesn't say whether somebody reads the log.
    pub fn pushed(&mut self, at: Instant, followed: Option<bool>) {
        self.pushed = Some(at);
        self.pause = match followed {
            Some(false) => (self.pause * 2).min(SLOWEST).max(self.flush),
            Some(true) | None => self.flush,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUSH: Duration = Duration::from_millis(500);

    /// The pauses between pushes of a job that writes all the time.
    fn pauses(pace: &mut PushPace, at: &mut Instant, answers: &[Option<bool>]) -> Vec<u128> {
        let pause = |followed: &Option<bool>| {
            pace.pushed(*at, *followed);
            let due = pace.due(*at);
            (due - std::mem::replace(at, due)).as_millis()
        };
        answers.iter().map(pause).collect()
    }

    #[test]
    fn pushes_slow_down_to_ten_seconds_while_nobody_reads_and_are_fast_again_when_somebody_does() {
        let (mut pace, mut at) = (PushPace::new(FLUSH), Instant::now());
        assert_eq!(pace.due(at) - at, FLUSH);
        let slower = pauses(&mut pace, &mut at, &[Some(false); 7]);
        assert_eq!(slower, [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
        assert_eq!(pauses(&mut pace, &mut at, &[Some(true), Some(true), Some(false)]), [500, 500, 1000]);
    }

    #[test]
    fn server_that_does_not_say_who_reads_gets_every_line_soon() {
        let (mut pace, mut at) = (PushPace::new(FLUSH), Instant::now());
        assert_eq!(pauses(&mut pace, &mut at, &[None; 3]), [500; 3]);
    }

    #[test]
    fn line_after_a_silence_is_sent_soon() {
        let (mut pace, mut at) = (PushPace::new(FLUSH), Instant::now());
        pauses(&mut pace, &mut at, &[Some(false); 7]);
        let later = at + Duration::from_mins(1);
        assert_eq!(pace.due(later) - later, FLUSH);
    }

    #[test]
    fn own_pause_that_is_longer_stays() {
        let flush = Duration::from_secs(30);
        let (mut pace, mut at) = (PushPace::new(flush), Instant::now());
        assert_eq!(pauses(&mut pace, &mut at, &[Some(false), Some(true)]), [30_000; 2]);
    }
}
