//! `wfg health`: asks the server whether it is healthy. For health checks of containers, which need no other program then.

use crate::context::Context;
use crate::failure::{Failure, words};
use crate::screen::eprint;
use crate::text::clean_lines;

/// Prints the server's status and version. One request, without retries; any failure ends with exit code 1.
pub async fn run(context: &Context) -> Result<(), Failure> {
    match context.remote()?.client.health().await {
        Ok(health) => context.screen.print(&format!("{}, version {}\n", health.status, health.version)),
        Err(error) => {
            eprint(&clean_lines(&format!("error: {}", words(&error))));
            Err(Failure::AlreadyReported)
        }
    }
}
