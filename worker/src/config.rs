//! What a worker is told: by a program, by the environment, or by flags.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use protocol::requests::Transport;
use protocol::{LabelSet, WorkerId, limits};

/// Where the server is when nothing else is said.
pub const DEFAULT_SERVER_URL: &str = "http://localhost:3000";

/// What a worker does and how.
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
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// May hold `user:password`. Default: [`DEFAULT_SERVER_URL`].
    pub server_url: String,
    /// Goes along as `Authorization: Bearer`.
    pub token: Option<Token>,
    /// Unlike any other worker's. Default: the host's name and a random suffix.
    pub worker_id: WorkerId,
    /// A job runs here if *all* its labels are among these. At most [`limits::LABELS_PER_WORKER`].
    pub labels: LabelSet,
    /// Take only jobs that ask for at least one of the labels.
    pub exclusive: bool,
    /// How it learns of jobs. Default: it asks. [`Transport::Sqs`] needs the feature `sqs`, a server on AWS, and
    /// credentials as AWS's own tools find them.
    pub transport: Transport,
    /// Jobs at a time. Default: 1.
    pub concurrency: usize,
    /// A silent worker's job is given to another after this many seconds; a heartbeat goes out three times in each.
    /// Default: 30; within [`limits::LEASE_TTL_SECS`].
    pub lease_ttl_secs: u32,
    /// How long a claim asks the server to wait for a job, at most [`limits::WAIT_SECS`], the default. Not every server
    /// can. A worker that ends when there is nothing to do (`idle_exit`, `drain`) doesn't ask for it.
    pub wait_secs: u32,
    /// Between claims when there was no job, give or take a quarter. Default: 2 s.
    pub poll: Duration,
    /// A worker that polls queues also claims this often without being told to, give or take a quarter, so that a job
    /// whose message was lost waits no longer. Default: 1 minute.
    pub recheck: Duration,
    /// The longest a log line waits to be sent. Default: 500 ms.
    pub log_flush: Duration,
    /// Where jobs run. Default: the current directory.
    pub workdir: PathBuf,
    /// How long a job that is stopped has between SIGTERM and SIGKILL. Default: 10 s.
    pub grace: Duration,
    /// How long running jobs may go on once the worker is shutting down. Default: until they end.
    pub shutdown_grace: Option<Duration>,
    /// End after one job.
    pub once: bool,
    /// End when there was nothing to do for this long.
    pub idle_exit: Option<Duration>,
    /// End when nothing runs and claims found nothing for 10 s.
    pub drain: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            server_url: DEFAULT_SERVER_URL.to_owned(),
            token: None,
            worker_id: default_worker_id(),
            labels: LabelSet::default(),
            exclusive: false,
            transport: Transport::Http,
            concurrency: 1,
            lease_ttl_secs: 30,
            wait_secs: limits::WAIT_SECS,
            poll: Duration::from_secs(2),
            recheck: Duration::from_mins(1),
            log_flush: Duration::from_millis(500),
            workdir: PathBuf::from("."),
            grace: Duration::from_secs(10),
            shutdown_grace: None,
            once: false,
            idle_exit: None,
            drain: false,
        }
    }
}

impl WorkerConfig {
    /// The defaults, with what the environment says: `SERVER_URL`, `WORKER_TOKEN`, `WORKER_ID`, `WORKER_LABELS`
    /// (separated by commas), `WORKER_EXCLUSIVE`, `WORKER_TRANSPORT`, `WORKER_CONCURRENCY`, `WORKER_LEASE_TTL`,
    /// `WORKER_WAIT`, `WORKER_POLL`, `WORKER_RECHECK`, `WORKER_LOG_FLUSH`, `WORKER_WORKDIR`, `WORKER_GRACE`,
    /// `WORKER_SHUTDOWN_GRACE`, `WORKER_ONCE`, `WORKER_IDLE_EXIT`, `WORKER_DRAIN`. Times as [`parse_duration`] reads
    /// them; an empty variable counts as absent. Fails at the first that can't be read.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut config = Self::default();
        let seconds = |text: &str| parse_duration(text).and_then(whole_seconds);
        set(&mut config.server_url, "SERVER_URL", get, |text| Ok::<_, String>(text.to_owned()))?;
        config.token = get("WORKER_TOKEN").map(Token);
        set(&mut config.worker_id, "WORKER_ID", get, WorkerId::from_str)?;
        set(&mut config.labels, "WORKER_LABELS", get, LabelSet::from_comma_separated)?;
        set(&mut config.exclusive, "WORKER_EXCLUSIVE", get, read_switch)?;
        set(&mut config.transport, "WORKER_TRANSPORT", get, read_transport)?;
        set(&mut config.concurrency, "WORKER_CONCURRENCY", get, usize::from_str)?;
        set(&mut config.lease_ttl_secs, "WORKER_LEASE_TTL", get, seconds)?;
        set(&mut config.wait_secs, "WORKER_WAIT", get, seconds)?;
        set(&mut config.poll, "WORKER_POLL", get, parse_duration)?;
        set(&mut config.recheck, "WORKER_RECHECK", get, parse_duration)?;
        set(&mut config.log_flush, "WORKER_LOG_FLUSH", get, parse_duration)?;
        set(&mut config.workdir, "WORKER_WORKDIR", get, |text| Ok::<_, String>(PathBuf::from(text)))?;
        set(&mut config.grace, "WORKER_GRACE", get, parse_duration)?;
        set(&mut config.shutdown_grace, "WORKER_SHUTDOWN_GRACE", get, |text| parse_duration(text).map(Some))?;
        set(&mut config.once, "WORKER_ONCE", get, read_switch)?;
        set(&mut config.idle_exit, "WORKER_IDLE_EXIT", get, |text| parse_duration(text).map(Some))?;
        set(&mut config.drain, "WORKER_DRAIN", get, read_switch)?;
        Ok(config)
    }

    /// Refuses what can't work, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let bad = |name, reason: String| Err(ConfigError { name, reason });
        if let Err(error) = self.labels.at_most(limits::LABELS_PER_WORKER) {
            return bad("labels", error.to_string());
        }
        if self.exclusive && self.labels.is_empty() {
            return bad("exclusive", "a worker without labels would take no job at all".to_owned());
        }
        if self.transport == Transport::Sqs && !cfg!(feature = "sqs") {
            return bad("transport", "sqs is not in this program; build it with the feature `sqs`".to_owned());
        }
        if self.recheck.is_zero() {
            return bad("recheck", "more than 0 s is needed".to_owned());
        }
        if self.concurrency == 0 {
            return bad("concurrency", "at least 1 is needed".to_owned());
        }
        if !limits::LEASE_TTL_SECS.contains(&self.lease_ttl_secs) {
            let (least, most) = limits::LEASE_TTL_SECS.into_inner();
            return bad("lease ttl", format!("{} s is not within {least} to {most} s", self.lease_ttl_secs));
        }
        if self.wait_secs > limits::WAIT_SECS {
            return bad("wait", format!("{} s is more than {} s", self.wait_secs, limits::WAIT_SECS));
        }
        if !self.workdir.is_dir() {
            return bad("workdir", format!("{} is not a directory", self.workdir.display()));
        }
        Ok(())
    }
}

fn set<T, E: fmt::Display>(
    field: &mut T,
    name: &'static str,
    get: impl Fn(&str) -> Option<String>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<(), ConfigError> {
    if let Some(text) = get(name) {
        *field = read(text.trim()).map_err(|error| ConfigError { name, reason: error.to_string() })?;
    }
    Ok(())
}

/// As the flag's environment variable is read: on, unless it says no.
#[expect(clippy::unnecessary_wraps, reason = "the shape of the other readers")]
fn read_switch(text: &str) -> Result<bool, String> {
    Ok(!matches!(text.to_lowercase().as_str(), "n" | "no" | "f" | "false" | "off" | "0"))
}

/// A setting that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ConfigError {
    /// The setting or its environment variable.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A secret that `Debug` hides.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<T: Into<String>> From<T> for Token {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// Reads `http` or `sqs`.
pub fn read_transport(text: &str) -> Result<Transport, String> {
    match text {
        "http" => Ok(Transport::Http),
        "sqs" => Ok(Transport::Sqs),
        _ => Err(format!("{text:?} is not a transport; there are http and sqs")),
    }
}

/// Reads a length of time as [`protocol::time::parse_duration`] does.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    protocol::time::parse_duration(text).map_err(|error| error.to_string())
}

pub(crate) fn whole_seconds(time: Duration) -> Result<u32, String> {
    u32::try_from(time.as_secs())
        .ok()
        .filter(|_| time.subsec_millis() == 0)
        .ok_or_else(|| format!("{time:?} is not a number of whole seconds"))
}

/// The host's name, as far as an id may hold it, and eight random digits.
pub(crate) fn default_worker_id() -> WorkerId {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let mut host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).take(60).collect();
    if host.is_empty() {
        host.push_str("worker");
    }
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    WorkerId::new(format!("{host}-{random:08x}")).expect("letters, digits and dashes, well under the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<WorkerConfig, ConfigError> {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        WorkerConfig::from_variables(find)
    }

    #[test]
    fn the_environment_is_read_and_an_empty_variable_counts_as_absent() {
        let config = from(&[
            ("SERVER_URL", "http://example:1"),
            ("WORKER_LABELS", "staging, Docker"),
            ("WORKER_CONCURRENCY", "3"),
            ("WORKER_LEASE_TTL", "2m"),
            ("WORKER_TOKEN", "secret"),
            ("WORKER_ID", ""),
        ])
        .expect("good");
        assert_eq!(config.server_url, "http://example:1");
        assert_eq!(config.labels, LabelSet::parse(["docker", "staging"]).expect("good"));
        assert_eq!((config.concurrency, config.lease_ttl_secs), (3, 120));
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(from(&[]).expect("defaults").server_url, DEFAULT_SERVER_URL);
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_named() {
        let error = from(&[("WORKER_CONCURRENCY", "many")]).expect_err("bad").to_string();
        assert!(error.starts_with("WORKER_CONCURRENCY: "), "{error}");
        let error = from(&[("WORKER_LABELS", "a b")]).expect_err("bad").to_string();
        assert!(error.starts_with("WORKER_LABELS: "), "{error}");
    }

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        let millis = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(millis("90"), Ok(90_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("6h"), Ok(21_600_000));
        for bad in ["", "s", "-1s", "1.5s", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_workers_on_a_host_have_different_ids() {
        assert_ne!(default_worker_id(), default_worker_id());
    }
}
