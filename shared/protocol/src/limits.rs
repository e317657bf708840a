//! Every limit. Sizes are in bytes unless the text says otherwise. `docs/limits.md` is generated from this file.

use std::time::Duration;

/// Longest workflow, job, worker or step id.
pub const ID: usize = 100;
/// Longest name of a workflow or a job: they are shown in lists.
pub const NAME: usize = 1000;
/// Longest label.
pub const LABEL: usize = 64;
/// Labels a job may require.
pub const LABELS_PER_JOB: usize = 32;
/// Labels a worker may carry.
pub const LABELS_PER_WORKER: usize = 64;
/// Features a worker may name when it registers.
pub const FEATURES: usize = 64;
/// Longest name of a feature.
pub const FEATURE: usize = 64;
/// Pieces of a log in one request.
pub const LOG_PIECES: usize = 50_000;
/// One piece of a log.
pub const LOG_PIECE: usize = 1024 * 1024;
/// The log of one attempt. The rest is dropped, and the log says where it was cut.
pub const LOG_PER_ATTEMPT: usize = 64 * 1024 * 1024;
/// Longest output name.
pub const OUTPUT_NAME: usize = 128;
/// All output values of one job together.
pub const OUTPUTS_PER_JOB: usize = 1024 * 1024;
/// Outputs of one job.
pub const OUTPUTS: usize = 10_000;
/// A definition, in either format.
pub const DEFINITION: usize = 1024 * 1024;
/// Jobs in a workflow.
pub const JOBS: usize = 10_000;
/// Needs in a workflow, all jobs together.
pub const NEEDS: usize = 100_000;
/// Distinct sets of labels and secrets in a workflow. Each is a pool, which every claim that covers it reads.
pub const POOLS_PER_WORKFLOW: usize = 1000;
/// A job's command, with its `env`, or its steps as one script.
pub const COMMAND: usize = 1024 * 1024;
/// Steps of a job.
pub const STEPS: usize = 1000;
/// Words of a `shell` that is a program and its arguments.
pub const SHELL_WORDS: usize = 32;
/// One word of a `shell`.
pub const SHELL_WORD: usize = 1000;
/// Longest `workdir`.
pub const WORKDIR: usize = 1000;
/// Folders in the `paths` of a checkout. Each is as long as a `workdir` at most.
pub const CHECKOUT_PATHS: usize = 100;
/// Commits of the history that a checkout fetches, unless it fetches all.
pub const CHECKOUT_DEPTH: u32 = 1_000_000;
/// Axes of a matrix.
pub const MATRIX_AXES: usize = 8;
/// Jobs that one matrix is written out to.
pub const MATRIX_LEGS: usize = 256;
/// A value of an axis.
pub const MATRIX_VALUE: usize = 64;
/// The name of an axis or an input.
pub const AXIS_NAME: usize = 64;
/// Inputs of a workflow.
pub const INPUTS: usize = 100;
/// Patterns in one list of filters.
pub const PATTERNS: usize = 100;
/// A pattern of names or paths.
pub const PATTERN: usize = 256;
/// The payload of a delivery of a forge.
pub const FORGE_DELIVERY: usize = 4 * 1024 * 1024;
/// Files in the folder `.wfg` of a repository.
pub const FORGE_FILES: usize = 20;
/// All files in the folder `.wfg` of a repository together.
pub const FORGE_FILES_SIZE: u64 = 1024 * 1024;
/// Jobs of a run whose states a forge is told one by one.
pub const STATES: usize = 50;
/// Choices of an input.
pub const CHOICES: usize = 1000;
/// The names and values of a run's inputs together.
pub const INPUTS_SIZE: usize = 16 * 1024;
/// Variables in one `env`.
pub const ENV: usize = 1000;
/// Variables of all jobs together, when the workflow's `env` is given to each.
pub const ENV_IN_ALL: usize = 500_000;
/// The value of a variable: Linux gives a program no longer one.
pub const ENV_VALUE: usize = 128 * 1024;
/// What is kept of a job as given (`metadata`, `ports`, `children`, `collapsed`), each, written as JSON.
pub const KEPT: usize = 256 * 1024;
/// A request's path and query, as sent.
pub const URL: usize = 8 * 1024;
/// A header that is read.
pub const HEADER: usize = 8 * 1024;
/// An error's message; the rest of a longer one, which quotes what it is about, is cut.
pub const MESSAGE: usize = 4 * 1024;
/// A request's body: what API Gateway and Lambda let through, less what base64 and headers take.
pub const REQUEST_BODY: usize = 4_500_000;
/// `upstream_outputs` that a claim carries in its answer; more goes by `upstream_outputs_url`.
pub const UPSTREAM_INLINE: usize = 4_000_000;
/// Needed jobs whose status a job with `if` has as `NEEDS_<JOB>`; a job that needs more has none. A matrix counts as one.
pub const NEEDS_VARIABLES: usize = 100;
/// Failed jobs that the workflow's `on_failure` is told.
pub const FAILED_TOLD: usize = 100;
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
/// The reason for which a worker pauses; the rest is cut.
pub const PAUSED: usize = 1024;
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
/// Exit codes, or ranges of them, that a job's `retry` may name.
pub const EXIT_BUDGETS: usize = 32;
/// Times in a row that a job may be given back without using a try. After that many it fails.
pub const RETURNS: u32 = 20;
/// A worker that gave a job back isn't given the same job again for this long, unless four other workers gave it back
/// since.
pub const RETURN_PAUSE: Duration = Duration::from_mins(1);
/// Workers, each under an id of its own, that one token may have in a day.
pub const WORKERS_PER_TOKEN: usize = 10_000;
/// Longest ticket in a claim.
pub const TICKET: usize = 200;
/// Unexpired tokens.
pub const TOKENS: usize = 1000;

/// The records of a run, its logs and its outputs are kept for this long after its start. A workflow that was never
/// started is kept for this long after its submission. Audit entries are kept for this long.
pub const RETENTION: Duration = Duration::from_hours(90 * 24);
/// The answer to a request with an `Idempotency-Key` is kept for this long.
pub const IDEMPOTENCY_TIME: Duration = Duration::from_hours(24);
/// A set of labels and secrets is listed, and looked at for claims, for this long after a job with it was submitted or
/// became ready, and while such a job is ready.
pub const POOL_TIME: Duration = Duration::from_hours(1);
/// A run that is still open after this long fails.
pub const RUN_TIME: Duration = Duration::from_hours(30 * 24);

/// The longest timeout or delay of a job, in seconds: 14 days.
pub const TIMEOUT_SECS: u32 = 14 * 24 * 60 * 60;
/// Entries in one page of a list, unless the client asks for another number.
pub const PAGE: usize = 100;
/// Most entries in one page of a list.
pub const LIST: usize = 1000;
/// Workflows with another status that one request for a list passes over. The page then ends early, with a `Link`.
pub const LIST_SCAN: usize = 1000;
/// Records that one request for a list of summaries reads. The page then ends early, with a `Link`.
pub const SUMMARY_RECORDS: usize = 1000;
/// Shortest and longest lease, in seconds.
pub const LEASE_TTL_SECS: std::ops::RangeInclusive<u32> = 1..=43_200;
/// The lease that `wfg serve` recommends to workers, in seconds. Also the lease of a claim that names none.
pub const LEASE_SECS: u32 = 30;
/// The lease that the functions recommend to workers, in seconds. Each heartbeat of a job and each look of a run's timer is paid for
/// there, and a longer lease needs fewer.
pub const LEASE_ON_AWS_SECS: u32 = 90;
/// Longest a claim may wait for a job, in seconds.
pub const WAIT_SECS: u32 = 20;

/// Connections that one process holds; more wait to be taken.
pub const CONNECTIONS: usize = 10_000;
/// Connections that one process holds from one address, or from one /64 of IPv6; more are refused.
pub const CONNECTIONS_PER_ADDRESS: usize = 5_000;
/// Longest a request's head may take to arrive.
pub const HEADER_TIME: Duration = Duration::from_secs(30);
/// Longest a connection may be idle between two requests.
pub const IDLE_TIME: Duration = Duration::from_mins(5);
/// Longest a client may take to receive the next bytes of an answer.
pub const WRITE_TIME: Duration = Duration::from_mins(1);
/// After how much silence a connection is probed (TCP keepalive); without an answer it is closed within a few minutes.
pub const TCP_KEEPALIVE: Duration = Duration::from_mins(1);
/// Requests per second that one token, or one address without a token, may send for long.
pub const REQUESTS_PER_SECOND: u32 = 5_000;
/// Requests that one token, or one address without a token, may send at once after it was quiet.
pub const REQUEST_BURST: u32 = 50_000;
/// Requests that one process answers at once, those that wait for a job among them.
pub const REQUESTS: usize = 8192;
/// Bodies that one process holds at once, together.
pub const BODIES: usize = 128 * 1024 * 1024;
/// Longest a body may take to arrive.
pub const BODY_TIME: Duration = Duration::from_mins(1);

/// How often a registered worker is asked to send a heartbeat when it runs nothing.
pub const WORKER_HEARTBEAT: Duration = Duration::from_secs(30);
/// A worker not heard of for this long is offline.
pub const WORKER_SILENCE: Duration = Duration::from_secs(90);
/// A worker not heard of for this long isn't listed.
pub const WORKER_LISTED: Duration = Duration::from_hours(24);
/// A worker not heard of for this long is removed. Until then its id belongs to its token.
pub const WORKER_KEPT: Duration = Duration::from_hours(90 * 24);
/// Workers that a list of workers, a list of pools and the status of a waiting job look at: those heard of last.
pub const WORKERS_LISTED: usize = 10_000;
/// Running jobs of one worker that its record names. Others don't count in the `running` of their pool.
pub const JOBS_NAMED: usize = 64;
/// Most pools in one page of a list.
pub const POOLS_LISTED: usize = 100;
/// Ready jobs that are counted in one pool. With this many or more, `waiting` is this number, and `waiting_is_capped` is true.
pub const WAITING_COUNTED: usize = 10_000;
