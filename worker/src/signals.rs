//! Signals that end a program.

use nix::sys::signal::Signal as Number;
use tokio::signal::unix::SignalKind;

/// Signals whose default action ends a process. Not among them: SIGKILL, which can't be caught; faults of the program itself
/// (SIGSEGV and the like); SIGPIPE, which Rust programs ignore. [`ending`] adds those that some systems lack.
const ENDING: [Number; 12] = [
    Number::SIGINT,
    Number::SIGTERM,
    Number::SIGHUP,
    Number::SIGQUIT,
    Number::SIGUSR1,
    Number::SIGUSR2,
    Number::SIGALRM,
    Number::SIGVTALRM,
    Number::SIGPROF,
    Number::SIGXCPU,
    Number::SIGXFSZ,
    Number::SIGABRT,
];

/// The kinds of all signals that end this program, unless they are caught. SIGHUP is not among them if it is ignored, as
/// it is below `nohup`.
#[must_use]
pub fn ending() -> Vec<SignalKind> {
    let mut kinds: Vec<Number> = ENDING.to_vec();
    #[cfg(target_os = "linux")]
    kinds.extend([Number::SIGIO, Number::SIGPWR, Number::SIGSTKFLT]);
    kinds.retain(|kind| *kind != Number::SIGHUP || !hangup_is_ignored());
    let numbers = kinds.into_iter().map(|kind| kind as i32);
    // Linux has 31 more without names.
    let nameless = if cfg!(target_os = "linux") { 34..65 } else { 0..0 };
    numbers.chain(nameless).map(SignalKind::from_raw).collect()
}

/// Whether SIGHUP is ignored. Known only on Linux.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
