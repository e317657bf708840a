//! Tries `wfg stack` on an emulator: an update that changes nothing, one that fails and is rolled back, and the deletion.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};

use crate::binaries::Binaries;
use crate::cloud::Cloud;
use crate::deploy::{said, status, wfg_stack};
use crate::emulator::{Emulator, Kind};
use crate::package::FUNCTIONS;

/// The function whose zip is missing in the update that fails, and its resource.
const BROKEN: (&str, &str) = ("claim", "ClaimFunction");

/// Starts an emulator, deploys the project, and tries the rest.
pub fn run(kind: Kind) -> Result<()> {
    let binaries = Binaries::build()?;
    let cloud = Cloud::start(kind, &binaries)?;
    let result = try_it(&cloud, &binaries);
    if result.is_err() {
        eprintln!("{}", cloud.emulator.log_tail());
    }
    cloud.emulator.stop();
    result
}

/// Tries `wfg stack` on the cloud's stack. On `MiniStack` the stack is deleted at the end.
pub fn try_it(cloud: &Cloud, binaries: &Binaries) -> Result<()> {
    let zips = binaries.packages()?;
    let tried = Tried { emulator: &cloud.emulator, wfg: binaries.path("wfg")?, stack: &cloud.deployed.stack };
    tried.repeats_a_deployment(&zips)?;
    tried.refuses_what_is_wrong(&zips)?;
    if cloud.emulator.kind() == Kind::LocalStack {
        println!("LocalStack takes a missing zip for a good update, and can't delete a stack with this template.");
        return Ok(());
    }
    tried.shows_why_an_update_failed(&zips)?;
    tried.deletes(&cloud.deployed.logs_table)
}

struct Tried<'a> {
    emulator: &'a Emulator,
    wfg: &'a Path,
    stack: &'a str,
}

impl Tried<'_> {
    fn wfg(&self, arguments: &[&str]) -> Result<Output> {
        wfg_stack(self.emulator, self.wfg, arguments)
    }

    fn deploy(&self, folder: &Path, more: &[&str]) -> Result<Output> {
        let folder = folder.to_str().context("the folder of the packages must have a name in UTF-8")?;
        self.wfg(&[&["deploy", self.stack, "--package", folder], more].concat())
    }

    /// The packages are there and the parameters stay, so nothing is uploaded, and nothing changes.
    fn repeats_a_deployment(&self, zips: &Path) -> Result<()> {
        let output = self.deploy(zips, &[])?;
        let text = said(&output);
        ensure!(output.status.success() && !text.contains("uploaded"), "{text}");
        ensure!(String::from_utf8_lossy(&output.stdout).starts_with("export SERVER_URL="), "{text}");
        ensure!(!text.contains("WFG_TOKEN"), "a token was there: {text}");
        // LocalStack updates a template with a transform in any case.
        ensure!(self.emulator.kind() == Kind::LocalStack || text.contains("nothing to change"), "{text}");
        let parameters = status(self.emulator, self.wfg, self.stack)?.stack.parameters;
        ensure!(parameters.get("RequireTls").map(String::as_str) == Some("false"), "earlier values: {parameters:?}");
        Ok(())
    }

    fn refuses_what_is_wrong(&self, zips: &Path) -> Result<()> {
        let unknown = self.deploy(zips, &["--parameter", "Stagee=x"])?;
        ensure!(said(&unknown).contains("no parameter Stagee; it has AlarmEmail"), "{}", said(&unknown));
        let elsewhere = self.wfg(&["deploy", self.stack])?;
        ensure!(said(&elsewhere).contains("--package target/package"), "{}", said(&elsewhere));
        let unconfirmed = self.wfg(&["delete", self.stack])?;
        ensure!(said(&unconfirmed).contains("add --yes"), "{}", said(&unconfirmed));
        for refused in [unknown, elsewhere, unconfirmed] {
            ensure!(refused.status.code() == Some(2), "{}", said(&refused));
        }
        Ok(())
    }

    /// An update in which a function's zip is missing fails with the reason, and the stack is as before.
    fn shows_why_an_update_failed(&self, zips: &Path) -> Result<()> {
        let (function, resource) = BROKEN;
        let before = status(self.emulator, self.wfg, self.stack)?.stack;
        let broken = tempfile::tempdir_in(zips)?;
        for name in FUNCTIONS {
            let zip = format!("{name}.zip");
            fs::hard_link(zips.join(&zip), broken.path().join(&zip))?;
        }
        let template = fs::read_to_string(zips.join("template.yaml"))?;
        let missing = format!("CodeUri: s3://{}/none.zip", before.outputs["ArtifactsBucket"]);
        let template = template.replace(&format!("CodeUri: {function}.zip"), &missing);
        fs::write(broken.path().join("template.yaml"), template)?;

        let output = self.deploy(broken.path(), &["--parameter", "ReadyShards=2"])?;
        let text = said(&output);
        ensure!(output.status.code() == Some(2), "{}: {text}", output.status);
        ensure!(text.contains(&format!("its update: {resource} (AWS::Lambda::Function): ")), "{text}");
        ensure!(text.contains("UPDATE_FAILED"), "the events: {text}");
        println!("{}", text.lines().last().unwrap_or_default());
        let after = status(self.emulator, self.wfg, self.stack)?.stack;
        ensure!(after.status == "UPDATE_ROLLBACK_COMPLETE", "{after:?}");
        ensure!(after.parameters == before.parameters, "{after:?}");
        let output = self.deploy(zips, &["--parameter", "ReadyShards=2"])?;
        ensure!(output.status.success(), "{}", said(&output));
        let mended = status(self.emulator, self.wfg, self.stack)?.stack;
        ensure!(mended.status == "UPDATE_COMPLETE" && mended.parameters["ReadyShards"] == "2", "{mended:?}");
        Ok(())
    }

    /// Tables and buckets are kept and named, and queues of pools are gone.
    fn deletes(&self, table: &str) -> Result<()> {
        let queue = format!("{}-pool-{}", self.stack, "0".repeat(32));
        self.emulator.aws(&["sqs", "create-queue", "--queue-name", &queue])?;
        let output = self.wfg(&["delete", self.stack, "--yes"])?;
        let text = said(&output);
        ensure!(output.status.success(), "{text}");
        print!("{}", String::from_utf8_lossy(&output.stdout));
        ensure!(text.contains(&format!("deleted the queue {queue}")), "{text}");
        ensure!(text.contains(table) && text.contains("AWS::S3::Bucket"), "kept: {text}");
        self.emulator.aws(&["dynamodb", "describe-table", "--table-name", table])?;
        let queues = self.emulator.aws(&["sqs", "list-queues", "--queue-name-prefix", self.stack])?;
        ensure!(!queues.contains(&queue), "{queues}");
        let gone = self.wfg(&["status", self.stack])?;
        ensure!(gone.status.code() == Some(2) && said(&gone).contains("there is no stack"), "{}", said(&gone));
        Ok(())
    }
}
