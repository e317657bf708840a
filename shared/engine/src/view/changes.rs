//! What changed in a run since it was last read.

use std::time::Duration;

use protocol::page::JobState;
use protocol::{Millis, Status, WorkflowId};

use super::status_of;
use crate::Queries;
use crate::error::{EngineError, Result};
use crate::ids::JobIndex;
use crate::job::{JobRecord, Phase};
use crate::ports::{Consistency, JobStore, RunStore};
use crate::run::{RunState, WorkflowRecord};

/// Changes are looked for this long before the last read: an eventual read may lag behind, and clocks differ.
const OVERLAP: Duration = Duration::from_secs(5);

/// How far a reader has seen a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPosition {
    /// The number of the run.
    pub run: u32,
    /// When it was read.
    pub at: Millis,
    /// All jobs with smaller indexes were shown as ended. They never change again.
    pub from: JobIndex,
}

/// A run, and the jobs that changed in it.
#[derive(Clone, Debug)]
pub struct RunChanges {
    /// The workflow.
    pub workflow: WorkflowRecord,
    /// The run's status.
    pub status: Status,
    /// When the run was started.
    pub started_at: Option<Millis>,
    /// True if `jobs` are all jobs of the run.
    pub is_whole: bool,
    /// The jobs that changed, or all. A job may be there although nothing changed.
    pub jobs: Vec<JobState>,
    /// Where the next read begins.
    pub seen: ReadPosition,
    /// The number of jobs that haven't ended.
    pub unfinished: usize,
}

impl<P: RunStore + JobStore> Queries<'_, P> {
    /// Returns the jobs of a workflow's current run that changed after `seen`, or all jobs of another run than it names.
    ///
    /// Reads the jobs from `seen.from` on. A job has changed if one of its times is later than `seen.at` less 5 s.
    ///
    /// # Errors
    /// [`EngineError::WorkflowNotFound`].
    pub async fn changes(self, id: &WorkflowId, seen: Option<ReadPosition>) -> Result<RunChanges> {
        let now = self.engine.now();
        let workflow = self.engine.records().workflow_record(id).await?;
        let control = self.engine.records().control_surely(&workflow.run).await?;
        let control = control.ok_or_else(|| EngineError::WorkflowNotFound(id.clone()))?;
        let seen = seen.filter(|seen| seen.run == workflow.number && seen.from <= control.jobs);
        let from = seen.map_or(0, |seen| seen.from);
        let records = self.records_from(&workflow, from, control.jobs).await?;
        let mut status = status_of(&workflow, Some(&control));
        let begun = |job: &JobRecord| !matches!(job.phase, Phase::Waiting { .. });
        if control.state == RunState::New && workflow.ended.is_none() && records.iter().any(begun) {
            // The control record was read before the run was opened.
            status = Status::Running;
        }
        let since = seen.map(|seen| seen.at - OVERLAP);
        let changed = |job: &&JobRecord| since.is_none_or(|since| changed_at(job, now) > since);
        let unended = |job: &&JobRecord| !job.is_ended();
        Ok(RunChanges {
            status,
            started_at: workflow.ended.and_then(|end| end.started_at).or(control.opened_at),
            is_whole: seen.is_none(),
            jobs: records.iter().filter(changed).map(state).collect(),
            seen: ReadPosition {
                run: workflow.number,
                at: now,
                from: records.iter().find(unended).map_or(control.jobs, |job| job.key.index),
            },
            unfinished: records.iter().filter(unended).count(),
            workflow,
        })
    }

    /// The jobs from an index on. Reads strongly if an eventual read misses jobs, or jobs that an ended run says have ended.
    async fn records_from(self, workflow: &WorkflowRecord, from: JobIndex, jobs: u32) -> Result<Vec<JobRecord>> {
        let read = |how| async move {
            let mut records = Vec::new();
            if from < jobs {
                let mut forward = self.engine.records().forward(&workflow.run, from, how);
                while let Some(job) = forward.next().await? {
                    records.push(job);
                }
            }
            Ok::<_, EngineError>(records)
        };
        let records = read(Consistency::Eventual).await?;
        let missing = records.len() != jobs.saturating_sub(from) as usize;
        if missing || (workflow.ended.is_some() && !records.iter().all(JobRecord::is_ended)) {
            return read(Consistency::Strong).await;
        }
        Ok(records)
    }
}

/// The time of a job's latest change. 0 if it still waits as at the beginning. A job that waits for its next attempt changed when
/// the last one ended, and not again when the delay is over.
fn changed_at(job: &JobRecord, now: Millis) -> Millis {
    let times = [
        job.ready_at.filter(|at| *at <= now),
        job.lease().map(|lease| lease.started_at),
        job.failed.last().map(|attempt| attempt.finished_at_ms),
        ended_at(job),
    ];
    times.into_iter().flatten().max().unwrap_or_default()
}

fn ended_at(job: &JobRecord) -> Option<Millis> {
    match &job.phase {
        Phase::Ended(ending) => Some(ending.at),
        _ => None,
    }
}

fn state(job: &JobRecord) -> JobState {
    let lease = job.lease();
    JobState(
        job.key.index,
        job.status(),
        job.attempt,
        job.ready_at,
        lease.map(|lease| lease.started_at),
        ended_at(job),
        lease.map(|lease| lease.worker.clone()),
    )
}
