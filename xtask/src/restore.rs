//! Restores the jobs table of a stack to an earlier time: the steps of `infra/README.md`, tried on `MiniStack`.
//!
//! DynamoDB restores to a new table. The stack is deleted, which keeps its tables and its bucket; then a stack of the same name is made
//! from the restored table and the kept ones, by an import; then it is deployed as usual.

use std::fs;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::binaries::Binaries;
use crate::cloud::{Cloud, with_token};
use crate::deploy::{self, Gateway};
use crate::project::root;

const PATIENCE: Duration = Duration::from_mins(2);
/// Two jobs, of which the first has run when the table is restored.
const WORKFLOW: &str = "\
name: restored
jobs:
  before: {labels: restore, run: echo before}
  after: {labels: restore, needs: before, run: echo after}
";

/// The template of an import: the resources that a deleted stack leaves behind.
///
/// It has the parameters and conditions of `infra/template.yaml`, and needs no transform. The bucket's policy
/// is left out: the deployment makes it.
pub fn import_template() -> Result<String> {
    let path = root().join("infra/template.yaml");
    let template = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let part = |from: &str, to: &str| {
        let (_, rest) = template.split_once(from)?;
        Some(rest.split_once(to)?.0)
    };
    let (settings, resources) = part("\nParameters:\n", "\nGlobals:\n")
        .zip(part("\nResources:\n", "\nOutputs:\n"))
        .context("the template's parts have another order")?;
    let kept: String = blocks(resources).into_iter().filter(|block| is_kept(block)).collect();
    Ok(format!("AWSTemplateFormatVersion: \"2010-09-09\"\nParameters:\n{settings}\nResources:\n{kept}"))
}

/// Whether a resource stays when its stack is deleted, and can be imported.
fn is_kept(block: &str) -> bool {
    block.contains("DeletionPolicy: RetainExceptOnCreate") && !block.contains("Type: AWS::S3::BucketPolicy")
}

/// The text of each resource: from its name to the next name.
fn blocks(resources: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in resources.lines() {
        let begins = line.starts_with("  ") && !line.starts_with("   ") && !line.trim_start().starts_with('#');
        if begins {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    blocks
}

/// Restores the table of the cloud's stack, and shows that a workflow that was half done goes on.
pub fn try_it(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("restored.yml"), WORKFLOW)?;
    let caller = Caller { cloud, binaries, folder: folder.path() };
    let submitted = caller.wfg(&["submit", "restored.yml"])?;
    let id = submitted.split_whitespace().find(|word| word.starts_with("wf-")).context("wfg showed no workflow id")?;
    caller.works_once()?;

    caller.restore()?;
    caller.works_once()?;
    let watched = caller.wfg(&["watch", id])?;
    ensure!(watched.contains("success"), "{watched}");
    println!("a workflow that ran before the table was restored has ended after it");
    Ok(())
}

struct Caller<'a> {
    cloud: &'a Cloud,
    binaries: &'a Binaries,
    folder: &'a std::path::Path,
}

impl Caller<'_> {
    fn wfg(&self, arguments: &[&str]) -> Result<String> {
        let mut wfg = Command::new(self.binaries.path("wfg")?);
        wfg.args(arguments).env("SERVER_URL", &self.cloud.deployed.api_url).current_dir(self.folder);
        succeeded(&wfg.output().context("running wfg")?)
    }

    /// A worker that takes one job.
    fn works_once(&self) -> Result<()> {
        let mut worker = Command::new(self.binaries.path("workflow-graph-worker")?);
        worker.arg("--once").env("SERVER_URL", &self.cloud.deployed.api_url).env("WORKER_LABELS", "restore");
        succeeded(&worker.env("RUST_LOG", "error").current_dir(self.folder).output()?).map(drop)
    }

    fn aws(&self, arguments: &[&str]) -> Result<String> {
        self.cloud.emulator.aws(arguments)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.aws(&[arguments, &["--output", "json"]].concat())?)?)
    }

    /// Asks until the answer has this text.
    fn until(&self, arguments: &[&str], done: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let answer = self.aws(arguments).unwrap_or_else(|error| format!("{error:#}"));
            if answer.contains(done) {
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "no {done} after {PATIENCE:?}: {answer}");
            sleep(Duration::from_millis(300));
        }
    }

    /// The steps of the runbook, by its numbers.
    fn restore(&self) -> Result<()> {
        let deployed = &self.cloud.deployed;
        let (stack, old) = (deployed.stack.as_str(), deployed.jobs_table.as_str());
        let new = &format!("{old}-restored");
        // 1
        let restore = ["dynamodb", "restore-table-to-point-in-time", "--use-latest-restorable-time"];
        self.aws(&[&restore[..], &["--source-table-name", old, "--target-table-name", new]].concat())?;
        self.until(&["dynamodb", "describe-table", "--table-name", new, "--query", "Table.TableStatus"], "ACTIVE")?;
        // 2
        let stream = "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES";
        self.aws(&["dynamodb", "update-table", "--table-name", new, "--stream-specification", stream])?;
        let expiry = "Enabled=true,AttributeName=expires_on";
        let set_expiry = ["dynamodb", "update-time-to-live", "--time-to-live-specification", expiry];
        self.aws(&[&set_expiry[..], &["--table-name", new]].concat())?;
        let recovery = ["--point-in-time-recovery-specification", "PointInTimeRecoveryEnabled=true"];
        self.aws(&[&["dynamodb", "update-continuous-backups", "--table-name", new], &recovery[..]].concat())?;
        // 3
        let stacks = ["cloudformation", "describe-stacks", "--stack-name", stack];
        let described = self.json(&stacks)?;
        let parameters = described["Stacks"][0]["Parameters"].to_string();
        let resources = self.json(&["cloudformation", "describe-stack-resources", "--stack-name", stack])?;
        self.aws(&["cloudformation", "delete-stack", "--stack-name", stack])?;
        self.until(&stacks, "does not exist")?;
        // 4
        let (imports, buckets) = imports(&resources, &import_template()?, new);
        for bucket in buckets {
            self.aws(&["s3api", "delete-bucket-policy", "--bucket", &bucket])?;
        }
        let template = self.folder.join("import.yaml");
        fs::write(&template, import_template()?)?;
        let template = format!("file://{}", template.display());
        let named = ["--stack-name", stack, "--change-set-name", "restored"];
        let create = ["cloudformation", "create-change-set", "--change-set-type", "IMPORT"];
        let what = ["--template-body", &template, "--parameters", &parameters];
        self.aws(&[&create[..], &named, &what, &["--resources-to-import", &imports.to_string()]].concat())?;
        let change_set = [&["cloudformation", "describe-change-set"], &named[..]].concat();
        self.until(&change_set, "CREATE_COMPLETE")?;
        self.aws(&[&["cloudformation", "execute-change-set"], &named[..]].concat())?;
        self.until(&stacks, "IMPORT_COMPLETE")?;
        // 5
        let emulator = &self.cloud.emulator;
        let zips = self.binaries.packages()?;
        let gateway = Gateway::of(emulator.kind());
        let again = deploy::deploy(emulator, self.binaries.path("wfg")?, gateway, &zips, stack)?;
        ensure!(again.token.is_none(), "the restored table has the tokens of its time");
        ensure!(again.jobs_table == *new, "the stack's table is {}", again.jobs_table);
        // The emulator gives the API its old address. AWS gives it another.
        ensure!(with_token(&again.api_url, "") == with_token(&deployed.api_url, ""), "{}", again.api_url);
        Ok(())
    }
}

/// What the change set imports: each resource of the import's template, the jobs table under its new name. Also the buckets.
fn imports(resources: &Value, template: &str, jobs_table: &str) -> (Value, Vec<String>) {
    let (mut imports, mut buckets) = (Vec::new(), Vec::new());
    for resource in resources["StackResources"].as_array().into_iter().flatten() {
        let text = |name: &str| resource[name].as_str().unwrap_or_default();
        let (name, kind, id) = (text("LogicalResourceId"), text("ResourceType"), text("PhysicalResourceId"));
        if !template.contains(&format!("\n  {name}:\n    Type: {kind}\n")) {
            continue;
        }
        let id = if name == "JobsTable" { jobs_table } else { id };
        let key = if kind == "AWS::S3::Bucket" { "BucketName" } else { "TableName" };
        imports.push(json!({ "ResourceType": kind, "LogicalResourceId": name, "ResourceIdentifier": { key: id } }));
        buckets.extend((kind == "AWS::S3::Bucket").then(|| id.to_owned()));
    }
    (Value::Array(imports), buckets)
}

fn succeeded(output: &Output) -> Result<String> {
    let said = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn import_has_what_a_deleted_stack_leaves_behind() {
        let template = import_template().unwrap();
        for (text, times) in
            [("Type: AWS::DynamoDB::Table", 2), ("BucketPolicy", 0), ("Serverless", 0), ("\nConditions:", 1)]
        {
            assert_eq!(template.matches(text).count(), times, "{text} in\n{template}");
        }
        assert!(template.contains("\n  ArtifactsBucket:\n"), "{template}");
        let resource = |name: &str, kind: &str, id: &str| json!({ "LogicalResourceId": name, "ResourceType": kind, "PhysicalResourceId": id });
        let table = resource("JobsTable", "AWS::DynamoDB::Table", "old");
        let bucket = resource("ArtifactsBucket", "AWS::S3::Bucket", "b");
        let queue = resource("BatchesQueue", "AWS::SQS::Queue", "q");
        let (imports, buckets) = imports(&json!({ "StackResources": [table, bucket, queue] }), &template, "new");
        assert_eq!(imports[0]["ResourceIdentifier"], json!({ "TableName": "new" }));
        assert_eq!(imports[1]["ResourceIdentifier"], json!({ "BucketName": "b" }));
        assert_eq!((imports.as_array().map(Vec::len), buckets), (Some(2), vec!["b".to_owned()]));
    }
}
