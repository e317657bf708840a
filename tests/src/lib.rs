//! The harness of the end-to-end tests. The same tests run against any target that speaks the protocol:
//!
//! - by default a server in this process, in memory;
//! - with `WFG_TEST_URL` the API there. If it stands on an emulator of AWS, `WFG_TEST_AWS` (its endpoint),
//!   `WFG_TEST_EXPIRE_FUNCTION`, `WFG_TEST_SCHEDULE_FUNCTION`, `WFG_TEST_JOBS_TABLE`, `WFG_TEST_STREAM_DEAD_BUCKET` and
//!   `WFG_TEST_STACK` say where to invoke functions, read items, and find queues.
//!
//! Tests run concurrently and share the target. So each [`Cloud`] has a label of its own, which replaces `{label}` in every
//! text. Every job requires it, and every worker is exclusive. The few tests of jobs without labels are in one file and
//! run one at a time.

mod chaos;
mod cloud;
mod emulator;
mod fault_proxy;
pub mod forge;
mod program;
mod real_worker;
mod recording_proxy;
mod relay;
mod run;
mod target;
mod wfg;
mod worker;

use std::time::Duration;

pub use chaos::Chaos;
pub use cloud::{Answer, Cloud, Refused};
pub use emulator::{Emulator, stream_event};
pub use fault_proxy::FaultProxy;
pub use program::{Program, gone};
pub use protocol::Status;
pub use protocol::Status::{Cancelled, Failure, Queued, Running, Skipped, Success};
pub use real_worker::{RealWorker, has_its_secret_hidden};
pub use recording_proxy::{Exchange, RecordingProxy};
pub use relay::{Received, header};
pub use run::{Run, done, graph, tries_one_job_again_and_fails};
pub use wfg::Said;
pub use worker::{HeldLease, Worker};

/// The time limit for anything that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Repeats a question until there is an answer.
///
/// # Panics
/// If there is none within a minute.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// A random number from `least` to `most`.
///
/// # Panics
/// If the system has no randomness.
#[must_use]
pub fn between(least: u64, most: u64) -> u64 {
    least + getrandom::u64().expect("randomness") % (most - least + 1)
}
