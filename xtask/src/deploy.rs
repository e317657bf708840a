//! Deploys the project to an emulator by `wfg stack deploy`, as people do to AWS.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::emulator::{Emulator, Kind};
use crate::package::{Arch, write_template};

/// The template's parameter of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// An HTTP API.
    Http,
    /// A REST API.
    Rest,
    /// An HTTP API, and function URLs for workers.
    Url,
}

impl Gateway {
    /// What the emulator serves.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::LocalStack => Self::Rest,
            Kind::MiniStack => Self::Http,
        }
    }

    /// The value of the parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Rest => "rest",
            Self::Url => "url",
        }
    }
}

/// The names and addresses of a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// For `SERVER_URL`.
    pub api_url: String,
    /// Name of the function that reads the stream.
    pub schedule_function: String,
    /// Name of the function that timers, batch tasks and the sweep call.
    pub expire_function: String,
    /// Name of the table of workflows, runs, jobs, pools and workers.
    pub jobs_table: String,
    /// Name of the table of logs.
    pub logs_table: String,
    /// Name of the bucket.
    pub stream_dead_bucket: String,
    /// The stack's name.
    pub stack: String,
    /// The first token, if this deployment created it.
    pub token: Option<String>,
}

const STAGE: &str = "dev";
/// The stack for the tests of links to forges on LocalStack. There each reader of a stream slows all other work down, so no other stack has
/// forges.
pub const FORGES: &str = "forges";

/// Creates the stack, or updates it if it is there, from the packages in the folder `zips`.
pub fn deploy(emulator: &Emulator, wfg: &Path, gateway: Gateway, zips: &Path, stack: &str) -> Result<Deployed> {
    write_template(zips, Arch::of_this_machine())?;
    let folder = zips.to_str().context("the folder of the packages must have a name in UTF-8")?;
    let gateway = format!("Gateway={}", gateway.name());
    let stage = format!("Stage={STAGE}");
    let forges = format!("Forges={}", emulator.kind() == Kind::MiniStack || stack == FORGES);
    let given = [stage.as_str(), &gateway, "RequireTls=false", &forges, "PublicUrl=https://wfg.example.com"];
    let parameters: Vec<&str> = given.into_iter().flat_map(|parameter| ["--parameter", parameter]).collect();
    let deployed = wfg_stack(emulator, wfg, &[&["deploy", stack, "--package", folder][..], &parameters].concat())?;
    ensure!(deployed.status.success(), "wfg stack deploy: {}", said(&deployed));
    let exports = String::from_utf8(deployed.stdout)?;
    let token = exports.lines().find_map(|line| line.strip_prefix("export WFG_TOKEN=")).map(str::to_owned);
    let deployed = Deployed { token, ..describe(emulator, stack, &status(emulator, wfg, stack)?.stack.outputs)? };
    for table in [&deployed.jobs_table, &deployed.logs_table] {
        // Neither emulator's CloudFormation sets it.
        let on = "PointInTimeRecoveryEnabled=true";
        let recovery = ["dynamodb", "update-continuous-backups", "--point-in-time-recovery-specification", on];
        emulator.aws(&[&recovery[..], &["--table-name", table]].concat())?;
        if emulator.kind() == Kind::MiniStack {
            let on = "Enabled=true,AttributeName=expires_on";
            let expiry = ["dynamodb", "update-time-to-live", "--time-to-live-specification", on];
            emulator.aws(&[&expiry[..], &["--table-name", table]].concat())?;
        }
    }
    Ok(deployed)
}

/// Runs `wfg stack` against an emulator.
pub fn wfg_stack(emulator: &Emulator, wfg: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(wfg);
    emulator.credentials(command.arg("stack").args(arguments)).output().context("running wfg")
}

/// What a program printed.
pub fn said(output: &Output) -> String {
    [output.stderr.as_slice(), &output.stdout].map(String::from_utf8_lossy).concat()
}

/// What `wfg stack status --json` prints.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// The stack.
    pub stack: StackStatus,
}

/// A stack in [`Status`].
#[derive(Debug, Deserialize)]
pub struct StackStatus {
    /// Such as `CREATE_COMPLETE`.
    pub status: String,
    /// The template's outputs.
    pub outputs: BTreeMap<String, String>,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
}

/// Asks for a stack's state.
pub fn status(emulator: &Emulator, wfg: &Path, stack: &str) -> Result<Status> {
    let output = wfg_stack(emulator, wfg, &["status", stack, "--json"])?;
    ensure!(output.status.success(), "wfg stack status: {}", said(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn describe(emulator: &Emulator, stack: &str, outputs: &BTreeMap<String, String>) -> Result<Deployed> {
    let (kind, endpoint) = (emulator.kind(), emulator.endpoint());
    let output = |name: &str| outputs.get(name).cloned().with_context(|| format!("the stack has no output {name}"));
    let id = output("ApiId")?;
    // LocalStack reports an HTTP API as created without creating one.
    ensure!(id != "unknown", "the emulator did not make the API");
    let stage = match kind {
        Kind::LocalStack => STAGE,
        Kind::MiniStack => "$default",
    };
    Ok(Deployed {
        api_url: format!("{endpoint}/_aws/execute-api/{id}/{stage}"),
        schedule_function: output("ScheduleFunction")?,
        expire_function: output("ExpireFunction")?,
        jobs_table: output("JobsTable")?,
        logs_table: output("LogsTable")?,
        stream_dead_bucket: output("StreamDeadBucket")?,
        stack: stack.to_owned(),
        token: None,
    })
}
