//! Runs `wfg` against the emulator under test.

use std::process::Stdio;

use tokio::process::Command;

use crate::emulator::Emulator;

const INSTALL: &str = "`cargo xtask test` names `wfg`, built with the feature `aws`, in WFG_TEST_WFG.";

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Emulator {
    /// Runs `wfg` as the emulator's operator.
    ///
    /// # Panics
    /// If it can't be started, or prints something other than text.
    pub async fn wfg(&self, arguments: &[&str]) -> Said {
        let wfg = std::env::var("WFG_TEST_WFG").unwrap_or_else(|_| panic!("{INSTALL}"));
        let mut command = Command::new(wfg);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.envs([("AWS_ENDPOINT_URL", self.endpoint()), ("AWS_REGION", "us-east-1")]);
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = command.output().await.expect(INSTALL);
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}
