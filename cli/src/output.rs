//! `wfg output`: inside a job, an output of a job that it needs.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use protocol::text::bytes_without_mark;
use protocol::{JobId, OutputName, Outputs};

use crate::context::Context;
use crate::failure::Failure;
use crate::text::all_of;

/// What a worker names the file of upstream outputs with.
const FILE: &str = "UPSTREAM_OUTPUTS";

#[derive(Args)]
pub struct OutputArgs {
    /// A job that this one needs
    job: JobId,
    /// The output's name
    name: OutputName,
}

impl OutputArgs {
    /// Prints the value as it is; only on a terminal a line end follows.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let Self { job, name } = self;
        let file = std::env::var_os(FILE).filter(|file| !file.is_empty()).ok_or_else(|| {
            Failure::Usage(format!(
                "`wfg output` works inside a job, where {FILE} names the file of what it received. Elsewhere \
                 `wfg outputs ID {job}` asks the server."
            ))
        })?;
        let upstream = read(Path::new(&file))?;
        let value = find(&upstream, &job, &name).map_err(Failure::Usage)?;
        let screen = &context.screen;
        if screen.out.terminal { screen.print(&format!("{value}\n")) } else { screen.print(value) }
    }
}

fn read(file: &Path) -> Result<BTreeMap<JobId, Outputs>, Failure> {
    let unusable = |reason: String| {
        let file = file.display();
        Failure::Usage(format!("{FILE} names {file}, which {reason}. The worker writes this file anew for each job."))
    };
    let text = std::fs::read(file).map_err(|error| unusable(format!("can't be read: {error}")))?;
    serde_json::from_slice(bytes_without_mark(&text))
        .map_err(|error| unusable(format!("isn't JSON of the form {{\"job\": {{\"name\": \"value\"}}}}: {error}")))
}

fn find<'a>(upstream: &'a BTreeMap<JobId, Outputs>, job: &JobId, name: &OutputName) -> Result<&'a str, String> {
    let Some(outputs) = upstream.get(job) else {
        let needed = if upstream.is_empty() { "no job at all".to_owned() } else { all_of(upstream.keys()) };
        return Err(format!(
            "this job doesn't need `{job}`; it needs {needed}. A job receives the outputs of the jobs that its `needs` \
             names."
        ));
    };
    outputs.get(name).map(String::as_str).ok_or_else(|| {
        let given = if outputs.is_empty() { "none".to_owned() } else { all_of(outputs.keys()) };
        format!("`{job}` gave no output `{name}`; it gave {given}.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(json: &str) -> BTreeMap<JobId, Outputs> {
        serde_json::from_str(json).expect("upstream outputs")
    }

    fn found(json: &str, job: &str, name: &str) -> Result<String, String> {
        let (job, name) = (JobId::new(job).expect("an id"), OutputName::new(name).expect("a name"));
        find(&upstream(json), &job, &name).map(str::to_owned)
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_there_is() {
        let json = r#"{"build": {"version": "1.2", "url": "s3://x"}, "test": {}}"#;
        assert_eq!(found(json, "build", "version").as_deref(), Ok("1.2"));
        let error = found(json, "build", "vresion").expect_err("misspelt");
        assert_eq!(error, "`build` gave no output `vresion`; it gave url and version.");
        assert_eq!(found(json, "test", "x").expect_err("none"), "`test` gave no output `x`; it gave none.");
        let error = found(json, "biuld", "version").expect_err("misspelt");
        assert!(error.starts_with("this job doesn't need `biuld`; it needs build and test."), "{error}");
        let error = found("{}", "build", "version").expect_err("a root");
        assert!(error.contains("it needs no job at all."), "{error}");
    }
}
