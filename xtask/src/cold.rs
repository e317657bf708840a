//! `cargo xtask cold-start`: how long a function takes from the start of its process to its first answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bench::cold::{Asked, http_event};

use crate::binaries::Binaries;
use crate::cloud::{deploy_to, without_token};
use crate::deploy::Gateway;
use crate::emulator::{self, Kind};
use crate::package::{PROFILE, RUSTFLAGS};
use crate::project::{cargo, target_folder};

/// The stack of the measurement.
const STACK: &str = "cold";
const ROUNDS: usize = 21;
/// Variables that a function has on Lambda or from the template, and whose values don't matter here.
const ENVIRONMENT: [(&str, &str); 13] = [
    ("AWS_LAMBDA_FUNCTION_NAME", "f"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "f"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "f"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("WFG_BUCKET", "bucket"),
    ("WFG_BATCHES_QUEUE_URL", "http://127.0.0.1/batches"),
    ("WFG_QUEUE_PREFIX", "cold-"),
    ("WFG_REQUIRE_TLS", "false"),
    ("RUST_LOG", "error"),
];

/// Measures functions of these builds, or of a new one with the profile `lambda`, on `MiniStack` in AWS's place.
pub fn run(builds: &[(String, PathBuf)]) -> Result<()> {
    let mut builds = builds.to_vec();
    if builds.is_empty() {
        cargo(
            &["build", "--profile", PROFILE, "--package", "workflow-graph-functions", "--bins"],
            &[("RUSTFLAGS", RUSTFLAGS)],
        )?;
        builds.push((PROFILE.to_owned(), target_folder().join(PROFILE)));
    }
    let binaries = Binaries::build()?;
    let emulator = emulator::start(Kind::MiniStack)?;
    let deployed = deploy_to(&emulator, Gateway::Url, &binaries, STACK)?;
    let (_, token) = without_token(&deployed.api_url)?;
    let mut environment = ENVIRONMENT.to_vec();
    environment.push(("AWS_ENDPOINT_URL", emulator.endpoint()));
    environment.push(("WFG_JOBS_TABLE", &deployed.jobs_table));
    environment.push(("WFG_LOGS_TABLE", &deployed.logs_table));
    let claim = r#"{"worker_id":"cold","labels":["cold"],"lease_ttl_secs":30}"#;
    let asked = [
        ("query", http_event("GET", "/api/workflows", token, "")),
        ("claim", http_event("POST", "/api/jobs/claim", token, claim)),
    ];
    println!("| function | build | bytes | first answer, median of {ROUNDS} |\n| --- | --- | --- | --- |");
    for (function, event) in &asked {
        for (build, folder) in &builds {
            let program = folder.join(function);
            let asked = Asked { program: &program, environment: environment.clone(), event: event.clone() };
            let time = asked.first_answer(ROUNDS).with_context(|| format!("{function} of {build}"))?;
            println!("| {function} | {build} | {} | {:.1} ms |", size(&program)?, time.as_secs_f64() * 1000.0);
        }
    }
    emulator.stop();
    Ok(())
}

fn size(program: &Path) -> Result<u64> {
    Ok(program.metadata().with_context(|| format!("looking at {}", program.display()))?.len())
}
