//! How often a job is tried, and how long it may take.

use protocol::time::{BadDuration, parse_duration};
use protocol::wire::Backoff;
use protocol::{limit, limits};

use super::advice::check_keys;
use super::bounds::{Budgets, ExitBudget, Retry, TimeLimits};
use super::checker::Checker;
use super::keys::{self, Level};
use super::node::{Entry, Kind, Node, Path};
use super::report::quote;

/// Seconds before the second try, and at the most, unless the definition says otherwise.
const BASE: u32 = 10;
const MOST: u32 = 5 * 60;

impl Checker<'_> {
    /// `retries`, or its long form `retry`; `None` if there is neither.
    pub(super) fn retry(&mut self, entries: &[Entry], path: Path<'_>) -> Option<Retry> {
        let short = keys::find(entries, "retries");
        let long = keys::find(entries, "retry");
        if let (Some(_), Some(long)) = (short, long) {
            let message = "`retries` and `retry` say the same thing; keep one of them";
            self.report.add("retries_and_retry", long.key_at, path.key("retry"), message);
        }
        // Both are read, so that what else is wrong with them shows too.
        let short = short.map(|entry| self.retry_count(&entry.value, path.key("retries")));
        match long {
            Some(long) => Some(self.long_retry(&long.value, path.key("retry"))),
            None => short.map(|max| Retry { max, ..Retry::default() }),
        }
    }

    fn long_retry(&mut self, node: &Node, path: Path<'_>) -> Retry {
        let Some(entries) = self.mapping(node, path, "a mapping, such as `{max: 2}`") else { return Retry::default() };
        check_keys(&mut self.report, entries, path, Level::Retry);
        let mut count = |key| keys::find(entries, key).map(|entry| self.retry_count(&entry.value, path.key(key)));
        let max = count("max").unwrap_or_default();
        let budgets = Budgets { lost: count("lost"), timeout: count("timeout") };
        let exit = keys::find(entries, "exit").map(|entry| self.exit_budgets(&entry.value, path.key("exit")));
        Retry { max, budgets, exit: exit.unwrap_or_default(), backoff: self.backoff(entries, path) }
    }

    /// Tries by exit code, such as `{75: 3, 130-145: 0}`.
    fn exit_budgets(&mut self, node: &Node, path: Path<'_>) -> Vec<ExitBudget> {
        let Some(entries) = self.mapping(node, path, "a mapping of exit codes to tries, such as `{75: 3}`") else {
            return Vec::new();
        };
        self.at_most(entries.len(), limit!(EXIT_BUDGETS), "exit codes", node.at, path);
        let mut budgets: Vec<ExitBudget> = Vec::new();
        for Entry { key, key_at, value } in entries {
            let path = path.key(key);
            let tries = self.retry_count(value, path);
            let Some((first, last)) = exit_codes(key) else {
                let message =
                    format!("{} is no exit code; write one from 1 to 255, or a range such as `130-145`", quote(key));
                self.report.add("bad_exit_code", *key_at, path, message);
                continue;
            };
            if let Some(other) = budgets.iter().find(|other| other.first <= last && first <= other.last) {
                let message = format!("the exit code {} is in two entries; keep one of them", first.max(other.first));
                self.report.add("duplicate_exit_code", *key_at, path, message);
            }
            budgets.push(ExitBudget { first, last, tries });
        }
        budgets
    }

    /// A delay alone is the same every time.
    fn backoff(&mut self, entries: &[Entry], path: Path<'_>) -> Backoff {
        let mut time = |key| {
            let entry = keys::find(entries, key)?;
            Some((entry.key_at, self.seconds(&entry.value, path.key(key), 0)?))
        };
        let delay = time("delay").map(|(_, secs)| secs);
        let most = time("max_delay");
        let kind = keys::find(entries, "backoff");
        let word = kind.and_then(|entry| self.text(&entry.value, path.key("backoff"), "`fixed` or `exponential`"));
        if let (Some(entry), Some(word)) = (kind, word.filter(|word| !matches!(*word, "fixed" | "exponential"))) {
            let message = format!("the backoff is `fixed` or `exponential`, not {}", quote(word));
            self.report.add("unknown_value", entry.value.at, path.key("backoff"), message);
        }
        if word == Some("exponential") {
            let base = delay.unwrap_or(BASE);
            let most = most.map_or(MOST.max(base), |(_, secs)| secs);
            return Backoff::Exponential { base_secs: base.into(), max_secs: most.into() };
        }
        if let Some((at, _)) = most {
            let message = "`max_delay` is the most that an exponential delay grows to; add `backoff: exponential`";
            self.report.add("max_delay_alone", at, path.key("max_delay"), message);
        }
        match delay.or(word.map(|_| BASE)) {
            None | Some(0) => Backoff::None,
            Some(secs) => Backoff::Fixed { delay_secs: secs.into() },
        }
    }

    /// `timeout` and `queue_timeout`.
    pub(super) fn time_limits(&mut self, entries: &[Entry], path: Path<'_>) -> TimeLimits {
        let mut time = |key| {
            let entry = keys::find(entries, key)?;
            self.seconds(&entry.value, path.key(key), 1)
        };
        TimeLimits { timeout: time("timeout"), queue_timeout: time("queue_timeout") }
    }

    /// A time in whole seconds: a number of them, or `90s`, `30m`, `1h30m`.
    fn seconds(&mut self, node: &Node, path: Path<'_>, least: u32) -> Option<u32> {
        let text = node.text().unwrap_or_default();
        let secs = match parse_duration(text) {
            Ok(time) if !text.contains("ms") => u32::try_from(time.as_secs()).ok(),
            Err(BadDuration::TooLong(_)) => None,
            _ => {
                self.wrong_type(node, path, "a time in whole seconds, or as `90s`, `30m` or `1h30m`");
                return None;
            }
        };
        let secs = secs.filter(|secs| (least..=limits::TIMEOUT_SECS).contains(secs));
        if secs.is_none() {
            let shown: String = text.chars().take(40).collect();
            let message = format!("{shown} is out of range; {least} s to {} s are allowed", limits::TIMEOUT_SECS);
            self.report.add("out_of_range", node.at, path, message);
        }
        secs
    }

    pub(super) fn retry_count(&mut self, node: &Node, path: Path<'_>) -> u32 {
        let digits = match &node.kind {
            Kind::Scalar { text, plain: true } => text.strip_prefix(['-', '+']).unwrap_or(text),
            _ => "",
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.wrong_type(node, path, "a whole number");
            return 0;
        }
        let count = node.text().and_then(|text| text.parse().ok()).filter(|&count| count <= limits::RETRIES);
        count.unwrap_or_else(|| {
            let message = format!("{} retries; 0 to {} are allowed", node.text().unwrap_or_default(), limits::RETRIES);
            self.report.add("out_of_range", node.at, path, message.chars().take(200).collect::<String>());
            0
        })
    }
}

/// The lowest and the highest code of a text such as `75` or `130-145`.
pub(super) fn exit_codes(text: &str) -> Option<(u8, u8)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse().ok().filter(|code: &u8| *code > 0 && code.to_string() == text);
    code(first).zip(code(last)).filter(|(first, last)| first <= last)
}
