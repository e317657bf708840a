//! Deploys `infra/template.yaml` to an emulator, as `sam deploy` would to AWS.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::emulator::Kind;
use crate::package::{FUNCTIONS, fingerprint};
use crate::project::root;

/// Runs the AWS command line with these arguments against the emulator and returns its output. The error of a command
/// that failed contains its output too.
pub type Aws<'a> = &'a dyn Fn(&[&str]) -> Result<String>;

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
}

const STAGE: &str = "dev";
const PATIENCE: Duration = Duration::from_mins(2);

/// Creates the stack, or updates it if it is there, from the packages in the folder `zips`.
pub fn deploy(
    aws: Aws,
    (kind, gateway): (Kind, Gateway),
    endpoint: &str,
    zips: &Path,
    stack: &str,
) -> Result<Deployed> {
    let bucket = format!("{stack}-packages");
    let folder = stage(zips, &bucket)?;
    let folder = folder.path().to_str().context("the folder of the packages must have a name in UTF-8")?;
    unless_because("BucketAlready", aws(&["s3api", "create-bucket", "--bucket", &bucket]))?;
    aws(&["s3", "sync", folder, &format!("s3://{bucket}"), "--only-show-errors"])?;
    put_stack(aws, gateway, stack, &format!("{endpoint}/{bucket}/{TEMPLATE}"))?;
    let deployed = describe(kind, endpoint, stack, &wait(aws, stack)?)?;
    for table in [&deployed.jobs_table, &deployed.logs_table] {
        // Neither emulator's CloudFormation sets it.
        let on = "PointInTimeRecoveryEnabled=true";
        let recovery = ["dynamodb", "update-continuous-backups", "--point-in-time-recovery-specification", on];
        aws(&[&recovery[..], &["--table-name", table]].concat())?;
        if kind == Kind::MiniStack {
            let on = "Enabled=true,AttributeName=expires_on";
            aws(&["dynamodb", "update-time-to-live", "--table-name", table, "--time-to-live-specification", on])?;
        }
    }
    Ok(deployed)
}

const TEMPLATE: &str = "template.yaml";

/// Makes a folder with the files for the bucket: the packages, under names that change with their content (or an update
/// would not notice a change), and the template, which names them.
fn stage(zips: &Path, bucket: &str) -> Result<TempDir> {
    let path = root().join("infra").join(TEMPLATE);
    let mut template = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    // The packages are linked, so the folder must be on their file system.
    let folder = tempfile::tempdir_in(zips)?;
    for name in FUNCTIONS {
        let zip = zips.join(format!("{name}.zip"));
        let key = format!("{name}-{}.zip", fingerprint(&zip)?);
        let local = format!("CodeUri: ../target/package/{name}.zip");
        ensure!(template.contains(&local), "{} lacks `{local}`", path.display());
        template = template.replace(&local, &format!("CodeUri: s3://{bucket}/{key}"));
        fs::hard_link(&zip, folder.path().join(key))?;
    }
    fs::write(folder.path().join(TEMPLATE), template)?;
    Ok(folder)
}

fn put_stack(aws: Aws, gateway: Gateway, stack: &str, template: &str) -> Result<()> {
    let parameters = [
        ("Stage", STAGE),
        ("Gateway", gateway.name()),
        ("Architecture", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }),
        ("RequireTls", "false"),
    ]
    .map(|(key, value)| format!("ParameterKey={key},ParameterValue={value}"));
    let put = |command| {
        let mut arguments = vec!["cloudformation", command, "--stack-name", stack, "--template-url", template];
        arguments.extend(["--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]);
        arguments.push("--parameters");
        arguments.extend(parameters.iter().map(String::as_str));
        aws(&arguments)
    };
    if unless_because("AlreadyExistsException", put("create-stack"))? {
        return Ok(());
    }
    unless_because("No updates are to be performed", put("update-stack"))?;
    Ok(())
}

/// Whether a command succeeded. Its failure is an error, unless it says `reason`.
fn unless_because(reason: &str, result: Result<String>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if format!("{error:#}").contains(reason) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until the stack is ready and returns its outputs.
fn wait(aws: Aws, stack: &str) -> Result<BTreeMap<String, String>> {
    let about = |query| {
        aws(&["cloudformation", "describe-stacks", "--stack-name", stack, "--query", query, "--output", "text"])
    };
    let since = Instant::now();
    loop {
        let status = about("Stacks[0].StackStatus")?;
        match status.trim() {
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" => break,
            going if going.ends_with("_IN_PROGRESS") && since.elapsed() < PATIENCE => sleep(Duration::from_millis(200)),
            other => bail!("stack {stack} is {other} after {:?}\n{}", since.elapsed(), failures(aws, stack)),
        }
    }
    let outputs = about("Stacks[0].Outputs[].[OutputKey,OutputValue]")?;
    let pairs = outputs.lines().filter_map(|line| line.split_once('\t'));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect())
}

fn failures(aws: Aws, stack: &str) -> String {
    let query = "StackEvents[?contains(ResourceStatus,`FAILED`)].[LogicalResourceId,ResourceType,ResourceStatusReason]";
    let events =
        ["cloudformation", "describe-stack-events", "--stack-name", stack, "--query", query, "--output", "text"];
    aws(&events).unwrap_or_else(|error| format!("and its events can't be read: {error:#}"))
}

fn describe(kind: Kind, endpoint: &str, stack: &str, outputs: &BTreeMap<String, String>) -> Result<Deployed> {
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
    })
}
