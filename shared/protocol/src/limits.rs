//! Every limit of the protocol, once. Sizes are bytes unless the name says otherwise.

use std::time::Duration;

/// Longest workflow, job, worker or step id.
pub const ID: usize = 100;
/// Longest name of a workflow, and longest `on`: they are shown in lists.
pub const NAME: usize = 1000;
/// Longest label.
pub const LABEL: usize = 64;
/// Labels a job may require.
pub const LABELS_PER_JOB: usize = 32;
/// Labels a worker may carry.
pub const LABELS_PER_WORKER: usize = 64;
/// Longest output name.
pub const OUTPUT_NAME: usize = 128;
/// All output values of one job together.
pub const OUTPUTS_PER_JOB: usize = 1024 * 1024;
/// A definition, in either format.
pub const DEFINITION: usize = 1024 * 1024;
/// Jobs in a workflow.
pub const JOBS: usize = 10_000;
/// Needs in a workflow, all jobs together.
pub const NEEDS: usize = 100_000;
/// A request's body: what API Gateway and Lambda let through, less what base64 and headers take.
pub const REQUEST_BODY: usize = 4_500_000;
/// `upstream_outputs` that a claim carries in its answer; more goes by `upstream_outputs_url`.
pub const UPSTREAM_INLINE: usize = 4_000_000;
/// All outputs that one job receives, together.
pub const UPSTREAM: usize = 32_000_000;
/// An answer's body; lists and logs end early with `Link: rel="next"`.
pub const ANSWER: usize = 5_000_000;
/// An answer's body as a function gives it to its gateway, as text within JSON.
pub const ANSWER_ESCAPED: usize = 6_000_000;
/// Outputs that a status shows for one job; more is `outputs_truncated`.
pub const OUTPUTS_IN_STATUS: usize = 4 * 1024;
/// The error text a worker reports; the rest is cut.
pub const ERROR_TEXT: usize = 4 * 1024;
/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY: usize = 255;
/// Longest name of a token.
pub const TOKEN_NAME: usize = 64;
/// Labels, and secrets, that one token may name.
pub const NAMED_PER_TOKEN: usize = 256;
/// How long a token is good for, in seconds: from a minute to ten years.
pub const TOKEN_SECS: std::ops::RangeInclusive<u64> = 60..=10 * 366 * 24 * 60 * 60;
/// Longest name of a secret.
pub const SECRET_NAME: usize = 100;
/// Secrets a job may name.
pub const SECRETS_PER_JOB: usize = 20;
/// A secret's value: what the Parameter Store keeps at its usual price.
pub const SECRET: usize = 4 * 1024;
/// Tries a job may have on top of its first.
pub const RETRIES: u32 = 100;

/// The longest timeout or delay of a job, in seconds: 14 days.
pub const TIMEOUT_SECS: u32 = 14 * 24 * 60 * 60;
/// Workflows in one page of a list.
pub const LIST: usize = 1000;
/// Shortest and longest lease, in seconds.
pub const LEASE_TTL_SECS: std::ops::RangeInclusive<u32> = 1..=43_200;
/// Longest a claim may wait for a job, in seconds.
pub const WAIT_SECS: u32 = 20;

/// How often a registered worker is asked to send a heartbeat when it runs nothing.
pub const WORKER_HEARTBEAT: Duration = Duration::from_secs(30);
/// A worker not heard of for this long is offline.
pub const WORKER_SILENCE: Duration = Duration::from_secs(90);
