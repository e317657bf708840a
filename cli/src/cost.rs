//! Estimates what a run costs on AWS.

use std::fmt::Write;

use ::cost::{Estimate, Figures, JobShape, Prices, RunShape};
use clap::Args;
use protocol::Millis;
use protocol::wire::{Job, Workflow};

use crate::context::{Context, JsonArg, WorkflowArg};
use crate::failure::Failure;
use crate::show::{reused, took};
use crate::text::clean;

#[derive(Args)]
pub struct CostArgs {
    #[command(flatten)]
    workflow: WorkflowArg,
    #[command(flatten)]
    format: JsonArg,
}

impl CostArgs {
    /// Prints the estimate.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (remote, id) = context.workflow(&self.workflow).await?;
        let workflow = remote.client.workflow(&id).await?;
        let mut shape = shape(&workflow, Millis::now());
        for (job, shape) in workflow.jobs.iter().zip(&mut shape.jobs).filter(|(job, _)| job.outputs_truncated) {
            let outputs = remote.client.outputs(&id, &job.id).await?;
            shape.output_bytes = bytes(outputs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let estimate = Estimate::of(&shape, &Figures::measured()).unwrap_or_else(|| unreachable!("a test makes one"));
        context.show(&self.format, &estimate, |estimate| text(&workflow, estimate))
    }
}

/// What the cost of a run depends on, from its status.
fn shape(workflow: &Workflow, now: Millis) -> RunShape {
    let secs = |from: Millis, to: Millis| to.since(from).as_secs_f64();
    let ended = workflow.finished_at_ms.unwrap_or(now);
    RunShape {
        jobs: workflow.jobs.iter().map(job_shape).collect(),
        secs: workflow.started_at_ms.map_or(0.0, |started| secs(started, ended)),
    }
}

fn job_shape(job: &Job) -> JobShape {
    if reused(job) {
        return JobShape::default();
    }
    let last = took(job);
    let earlier = job.attempts.iter().filter_map(|attempt| Some(attempt.finished_at_ms.since(attempt.started_at?)));
    JobShape {
        attempts: job.attempt + u32::from(last.is_some()),
        secs: earlier.chain(last).map(|time| time.as_secs_f64()).sum(),
        output_bytes: bytes(job.outputs.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        secrets: job.secrets.len(),
    }
}

fn bytes<'a>(outputs: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    outputs.map(|(name, value)| name.len() + value.len()).sum()
}

fn text(workflow: &Workflow, estimate: &Estimate) -> String {
    let prices = Prices::us_east_1();
    let (name, region, date) = (clean(&workflow.name), &prices.region, &prices.date);
    let mut text = format!(
        "Run {} of {name} costs about ${:.6} on AWS, at list prices of {region} ({date}). This is an estimate:\n",
        workflow.run, estimate.usd
    );
    for part in &estimate.parts {
        let _ = writeln!(text, "{:>6}  {:26} ${:.6}", part.count, part.what, part.usd);
    }
    text.push_str(
        "Log pushes, reads of statuses and waiting workers aren't part of it. `wfg serve` costs none of this.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use protocol::wire::{Attempt, Cause};
    use serde_json::json;

    use super::*;

    #[test]
    fn attempts_and_their_times_are_counted_and_reused_jobs_are_not() {
        let job = json!({
            "id": "a", "name": "a", "status": "success", "command": "true", "depends_on": [], "required_labels": [],
            "max_retries": 1, "attempt": 1, "started_at": 10_000, "finished_at_ms": 40_000, "worker_id": "w",
            "outputs": { "n": "12345" }, "secrets": ["KEY"]
        });
        let mut job: Job = serde_json::from_value(job).unwrap();
        job.attempts.push(Attempt {
            attempt: 0,
            cause: Cause::Failure,
            error: String::new(),
            worker_id: None,
            exit_code: None,
            started_at: Some(Millis(1_000)),
            finished_at_ms: Millis(6_000),
        });
        assert_eq!(job_shape(&job), JobShape { attempts: 2, secs: 35.0, output_bytes: 6, secrets: 1 });
        job.worker_id = None;
        assert_eq!(job_shape(&job), JobShape::default());
    }
}
