//! The environment of a test's process can't be changed. So a test runs itself again in a child process with another one.

use std::env;
use std::process::Stdio;

use aws::{Aws, Config};
use aws_config::SdkConfig;
use engine::ports::TokenStore;
use protocol::Millis;
use tokio::process::Command;

/// Set in the child process.
const CHILD: &str = "WFG_TEST_CHILD";

/// In the child process, makes a call that must fail, and returns true.
pub async fn has_called(settings: impl AsyncFnOnce() -> SdkConfig) -> bool {
    if env::var_os(CHILD).is_none() {
        return false;
    }
    let config = Config { jobs_table: "jobs".to_owned(), ..Config::default() };
    let ports = Aws::with_settings(config, &settings().await);
    ports.tokens(Millis::now()).await.expect_err("the call is refused");
    true
}

/// The command that runs this test again, without the settings of this machine that say how AWS is reached.
pub fn child(test: &str) -> Command {
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args(["--exact", test]).env(CHILD, "1");
    for name in ["NO_PROXY", "no_proxy", "AWS_ENDPOINT_URL", "SSL_CERT_DIR"] {
        child.env_remove(name);
    }
    child.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    child.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    child
}
