//! The key `defaults`: settings of every job that doesn't have its own.

use protocol::LabelSet;
use protocol::wire::OutputsFrom;

use super::advice::check_keys;
use super::bounds::{Retry, TimeLimits};
use super::checker::Checker;
use super::checkout::Checkout;
use super::env::Written;
use super::keys::{self, Level};
use super::leg::Leg;
use super::node::{Node, Path};
use super::shell::Shell;
use super::workdir::Workdir;

/// Settings of every job. A job's own key replaces one whole.
#[derive(Default)]
pub(super) struct Defaults {
    pub shell: Option<Shell>,
    pub workdir: Option<Workdir>,
    pub checkout: Option<Checkout>,
    /// Lines before each `run`, in the same shell.
    pub before: Option<String>,
    pub labels: LabelSet,
    pub limits: TimeLimits,
    pub retry: Retry,
    pub outputs_from: OutputsFrom,
    /// The exit code that ends a job as skipped.
    pub skip_exit: Option<u8>,
}

/// What the workflow gives to every job.
#[derive(Default)]
pub(super) struct Shared {
    pub defaults: Defaults,
    pub env: Vec<(String, Written)>,
}

impl Checker<'_> {
    pub(super) fn defaults(&mut self, node: &Node, path: Path<'_>) -> Defaults {
        let Some(entries) = self.mapping(node, path, "a mapping, such as `{timeout: 30m}`") else {
            return Defaults::default();
        };
        check_keys(&mut self.report, entries, path, Level::Defaults);
        let get = |key| keys::find(entries, key).map(|entry| &entry.value);
        let outputs_from = get("outputs_from").map(|node| self.outputs_from(node, path.key("outputs_from")));
        let labels = get("labels").map(|node| self.labels(node, path.key("labels"), &[Leg::default()]));
        Defaults {
            shell: get("shell").and_then(|node| self.shell(node, path.key("shell"))),
            workdir: get("workdir").and_then(|node| self.workdir(node, path.key("workdir"))),
            checkout: get("checkout").and_then(|node| self.checkout(node, path.key("checkout"))),
            before: get("before").and_then(|node| self.run(node, path.key("before")).map(str::to_owned)),
            labels: labels.and_then(|mut labels| labels.pop()).unwrap_or_default(),
            limits: self.time_limits(entries, path),
            retry: self.retry(entries, path).unwrap_or_default(),
            outputs_from: outputs_from.unwrap_or_default(),
            skip_exit: get("skip_exit").and_then(|node| self.exit_code(node, path.key("skip_exit"))),
        }
    }
}
