//! The worker's settings. One definition of each serves the library, the flags, the environment, `--help` and the docs.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, PossibleValuesParser, Resettable, TypedValueParser};
use clap::error::ContextKind;
use clap::{Args, Command, FromArgMatches};
use client::{DEFAULT_SERVER_URL, Token};
use protocol::requests::Transport;
use protocol::{LabelSet, WorkerId, limit, limits};

use crate::options;

/// The settings of a worker.
///
/// Each field defines its flag, environment variable, default and help text. The table in `docs/workers.md` and the
/// comments in `infra/wfg-worker@.service` are generated from them: `BLESS=1 cargo test -p workflow-graph-worker-sdk settings`.
///
/// ```
/// use workflow_graph_worker_sdk::WorkerConfig;
///
/// let config = WorkerConfig {
///     server_url: "https://workflows.example.com".into(),
///     labels: workflow_graph_worker_sdk::protocol::LabelSet::parse(["staging", "docker"])?,
///     concurrency: 4,
///     ..WorkerConfig::default()
/// };
/// # Ok::<(), workflow_graph_worker_sdk::protocol::BadLabel>(())
/// ```
#[derive(Clone, Debug, Args)]
#[command(about = None, long_about = None)]
pub struct WorkerConfig {
    /// URL of the server; may contain user:password, sent as `Basic`
    #[arg(id = "server", long, env = "SERVER_URL", value_name = "URL", default_value = DEFAULT_SERVER_URL, hide_env_values = true)]
    pub server_url: String,
    /// Token, sent as `Authorization: Bearer`; prefer the environment variable, which other users can't read. Jobs don't inherit it
    #[arg(long, env = "WORKER_TOKEN", hide_env_values = true)]
    pub token: Option<Token>,
    /// Id of this worker, unique among all workers [default: host name and a random suffix]
    #[arg(long = "id", env = "WORKER_ID", value_name = "ID", default_value = "", hide_default_value = true, value_parser = parse_worker_id)]
    pub worker_id: WorkerId,
    /// Labels of this worker, separated by commas, at most 64; it claims jobs whose labels are all among these [default: none]
    #[arg(long, env = "WORKER_LABELS", default_value = "", hide_default_value = true, value_parser = LabelSet::from_comma_separated)]
    pub labels: LabelSet,
    /// Claim only jobs that require at least one label
    #[arg(long, env = "WORKER_EXCLUSIVE", value_parser = BoolishValueParser::new())]
    pub exclusive: bool,
    /// How the worker learns of jobs: `http` polls the server; `sqs` polls the queues of its pools and needs AWS credentials
    #[arg(long, env = "WORKER_TRANSPORT", default_value = "http", value_parser = transports())]
    pub transport: Transport,
    /// Number of jobs to run at a time; each has its own `WORKER_SLOT`
    #[arg(long, env = "WORKER_CONCURRENCY", value_name = "N", default_value_t = 1)]
    pub concurrency: usize,
    /// Time to live of a job's lease: after this time without a heartbeat the job goes to another worker; heartbeats are sent every third of it [default: what the server recommends: 90s on AWS, 30s from `wfg serve`]
    #[arg(long = "lease-ttl", env = "WORKER_LEASE_TTL", value_name = "TIME", value_parser = parse_seconds)]
    pub lease_ttl_secs: Option<u32>,
    /// How long a claim waits at the server for a job, at most 20s; only `wfg serve` supports this. Ignored with --idle-exit and --drain
    #[arg(long = "wait", env = "WORKER_WAIT", value_name = "TIME", default_value = "20s", value_parser = parse_seconds)]
    pub wait_secs: u32,
    /// Pause between claims that found no job, varied by up to a quarter; up to 30s after errors
    #[arg(long, env = "WORKER_POLL", value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub poll: Duration,
    /// With `sqs`: interval of claims without a queue message, varied by up to a quarter, in case a message was lost
    #[arg(long, env = "WORKER_RECHECK", value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub recheck: Duration,
    /// Longest time before a log line is sent while somebody reads the log; while nobody does, pushes slow down to one in 10s
    #[arg(long, env = "WORKER_LOG_FLUSH", value_name = "TIME", default_value = "500ms", value_parser = parse_duration)]
    pub log_flush: Duration,
    /// Directory in which jobs run
    #[arg(long, env = "WORKER_WORKDIR", value_name = "DIR", default_value = ".")]
    pub workdir: PathBuf,
    /// Time between SIGTERM and SIGKILL for a job that is stopped
    #[arg(long, env = "WORKER_GRACE", value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub grace: Duration,
    /// How long running jobs may continue after the worker's first SIGTERM or SIGINT [default: until they end]
    #[arg(long = "grace-on-shutdown", env = "WORKER_SHUTDOWN_GRACE", value_name = "TIME", value_parser = parse_duration)]
    pub shutdown_grace: Option<Duration>,
    /// Exit after one job
    #[arg(long, env = "WORKER_ONCE", value_parser = BoolishValueParser::new())]
    pub once: bool,
    /// Exit after this time without a job [default: never]
    #[arg(long, env = "WORKER_IDLE_EXIT", value_name = "TIME", value_parser = parse_duration)]
    pub idle_exit: Option<Duration>,
    /// Exit when no job runs and claims have found none for 10 s
    #[arg(long, env = "WORKER_DRAIN", value_parser = BoolishValueParser::new())]
    pub drain: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let command = Self::augment_args(Command::new("worker")).mut_args(|arg| arg.env(Resettable::Reset));
        let matches = command.get_matches_from(["worker"]);
        Self::from_arg_matches(&matches).expect("every default can be parsed")
    }
}

impl WorkerConfig {
    /// The defaults, overridden by the environment variables that each field names. An empty variable counts as absent.
    /// Fails at the first variable that can't be parsed.
    pub fn from_env() -> Result<Self, ConfigError> {
        let matches = options::matches(Self::augment_args(Command::new("worker")), ["worker".into()]);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).map_err(|error| {
            let name = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            ConfigError { name, reason }
        })
    }

    /// Rejects settings that can't work, before any request is sent.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let bad = |name: &str, reason: String| Err(ConfigError { name: name.to_owned(), reason });
        if let Err(error) = self.labels.at_most(limit!(LABELS_PER_WORKER)) {
            return bad("WORKER_LABELS", error.to_string());
        }
        if self.exclusive && self.labels.is_empty() {
            return bad("WORKER_EXCLUSIVE", "a worker without labels would take no job at all".to_owned());
        }
        if self.transport == Transport::Sqs && !cfg!(feature = "sqs") {
            return bad("WORKER_TRANSPORT", "sqs is not in this program; build it with the feature `sqs`".to_owned());
        }
        if self.recheck.is_zero() {
            return bad("WORKER_RECHECK", "more than 0 s is needed".to_owned());
        }
        if self.concurrency == 0 {
            return bad("WORKER_CONCURRENCY", "at least 1 is needed".to_owned());
        }
        if let Some(secs) = self.lease_ttl_secs.filter(|secs| !limits::LEASE_TTL_SECS.contains(secs)) {
            let (least, most) = limits::LEASE_TTL_SECS.into_inner();
            return bad("WORKER_LEASE_TTL", format!("{secs} s is not within {least} to {most} s"));
        }
        if self.wait_secs > limits::WAIT_SECS {
            return bad("WORKER_WAIT", format!("{} s is more than {} s", self.wait_secs, limits::WAIT_SECS));
        }
        if !self.workdir.is_dir() {
            return bad("WORKER_WORKDIR", format!("{} is not a directory", self.workdir.display()));
        }
        Ok(())
    }
}

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ConfigError {
    /// The environment variable of the setting, also if the value came from elsewhere.
    pub name: String,
    /// Why it can't be used.
    pub reason: String,
}

fn transports() -> impl TypedValueParser<Value = Transport> {
    let names = PossibleValuesParser::new(["http", "sqs"]);
    names.map(|name| if name == "sqs" { Transport::Sqs } else { Transport::Http })
}

/// Reads a length of time as [`protocol::time::parse_duration`] does.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    protocol::time::parse_duration(text).map_err(|error| error.to_string())
}

fn parse_seconds(text: &str) -> Result<u32, String> {
    let time = parse_duration(text)?;
    u32::try_from(time.as_secs())
        .ok()
        .filter(|_| time.subsec_nanos() == 0)
        .ok_or_else(|| format!("{time:?} is not a number of whole seconds"))
}

/// An empty text gives a new id for each call: the host name, shortened to what an id may contain, and eight random digits.
fn parse_worker_id(text: &str) -> Result<WorkerId, String> {
    if !text.is_empty() {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let mut host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(60).collect();
    if host.is_empty() {
        host.push_str("worker");
    }
    let random = fastrand::u32(..);
    Ok(WorkerId::new(format!("{host}-{random:08x}")).expect("letters, digits and dashes, well under the limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        let millis = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(millis("90"), Ok(90_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("6h"), Ok(21_600_000));
        assert_eq!(millis("90d"), Ok(7_776_000_000));
        for bad in ["", "s", "-1s", "1.5s", "6 hrz", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_workers_on_a_host_have_different_ids() {
        assert_ne!(WorkerConfig::default().worker_id, WorkerConfig::default().worker_id);
    }
}
