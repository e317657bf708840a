//! Submission: stores a workflow from its definition.

use futures::stream::{self, StreamExt, TryStreamExt};
use protocol::requests::GivenInputs;
use protocol::wire::{InputValues, RunSource, Workflow};
use protocol::{Millis, TokenName, WorkflowId, limits};

use crate::Submissions;
use crate::error::{EngineError, Result};
use crate::ids::forge::ReportKey;
use crate::ids::{ReportHash, RunKey};
use crate::plan::{self, Planned};
use crate::ports::{
    Commit, Committed, Consistency, Dispatcher, Idempotency, JobStore, NewItem, RunStore, Source, StoreError,
    WorkerRegistry,
};
use crate::run::{Control, GroupOfRun, MAX_TIMER_DELAY, RunState, Timer, WorkflowRecord};
use workflow::Definition;

/// Records written in one call, and concurrent calls.
const BATCH: usize = 25;
const BATCHES_AT_ONCE: usize = 8;
/// Attempts to write a run's records, each under a fresh run key.
const STAGINGS: usize = 3;

/// The name of a workflow whose definition has no name.
const UNNAMED: &str = "workflow";

/// A client's submission.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The validated definition.
    pub definition: Definition,
    /// The definition's source, as sent.
    pub source: Source,
    /// The values given for inputs.
    pub inputs: GivenInputs,
    /// True if the workflow is also started.
    pub run: bool,
    /// The `Idempotency-Key`, and the hash of everything that distinguishes the request.
    pub key: Option<(String, ReportHash)>,
    /// The report that tells a forge the states, if a forge started it.
    pub report: Option<ReportKey>,
    /// The time of the run's place in its group, if that isn't now.
    pub place_at: Option<Millis>,
    /// What started it, if a forge did.
    pub started_by: Option<Box<RunSource>>,
}

/// The response to a submission.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    /// The workflow's id.
    pub workflow: WorkflowId,
    /// The workflow as this request created it. `None` if an earlier request with the same key created it.
    pub created: Option<Box<Workflow>>,
}

impl<P: RunStore + JobStore + WorkerRegistry + Dispatcher> Submissions<'_, P> {
    /// Stores a workflow.
    ///
    /// All records are written under a fresh, unknown run key, and one transaction commits the run. After a crash in
    /// between, the records are unreachable and expire. Pools are added first, so that every ready job is in a pool
    /// that claims know.
    ///
    /// # Errors
    /// [`EngineError::KeyReused`] for a known key with another body, [`EngineError::LabelsNotAllowed`],
    /// [`EngineError::SecretNotAllowed`], [`EngineError::Inputs`].
    pub async fn submit(self, submission: Submission) -> Result<Submitted> {
        self.engine.authorization().may_ask_for(&submission.definition)?;
        let inputs = workflow::resolve_inputs(&submission.definition.inputs, &submission.inputs);
        let inputs = &inputs.map_err(EngineError::Inputs)?;
        let now = self.engine.now();
        if let Some(earlier) = self.earlier(submission.key.as_ref(), now).await? {
            return Ok(earlier);
        }
        let jobs = plan::planned(&submission.definition);
        let (jobs_of, source, report) = (jobs.as_slice(), &submission.source, submission.report.as_ref());
        let stage =
            |run: RunKey| async move { self.stage(&run, jobs_of, Some(source.clone()), inputs, (report, now)).await };
        let (run, ()) = self.under_a_fresh_key(stage).await?;
        let workflow = WorkflowRecord {
            id: new_workflow_id(&self.engine.random()),
            name: submission.definition.name.clone().unwrap_or_else(|| UNNAMED.to_owned()),
            trigger: submission.definition.trigger.clone(),
            created_at: now,
            run: run.clone(),
            number: 1,
            ended: None,
            source: submission.started_by.clone(),
        };
        let group = submission.definition.concurrency.as_ref().map(|group| GroupOfRun::new(group, inputs));
        let mut control = new_control(&workflow, &jobs, submission.run.then_some(now), group);
        control.report = submission.report.clone();
        if let (Some(blocked_at), Some(place_at)) = (&mut control.blocked_at, submission.place_at) {
            *blocked_at = place_at;
        }
        let id = workflow.id.clone();
        let record = workflow.clone();
        let idempotency = submission.key.clone().map(|(key, body)| Idempotency {
            key: self.scoped(&key),
            body,
            workflow: id.clone(),
            expires: now + limits::IDEMPOTENCY_TIME,
        });
        let commit = Commit { workflow, replaces: None, control: control.clone(), idempotency };
        match self.engine.ports.commit(commit).await? {
            Committed::Yes => {}
            _ if self.is_current(&id, &run).await? => {}
            Committed::KeyTaken => {
                return self.earlier(submission.key.as_ref(), now).await?.ok_or(EngineError::Moved(id));
            }
            Committed::Superseded => return Err(EngineError::Moved(id)),
        }
        self.engine.timers().first_timer(&control).await;
        self.engine.scheduling().place_started_run(&control).await;
        let created = Workflow { inputs: inputs.clone(), ..self.engine.queries().committed(record, &control, &jobs) };
        Ok(Submitted { workflow: id, created: Some(Box::new(created)) })
    }

    /// Returns true if a refused commit was already applied by this request: its response was lost, and the client
    /// library repeated it.
    pub(crate) async fn is_current(self, id: &WorkflowId, run: &RunKey) -> Result<bool> {
        let workflow = self.engine.ports.workflow(id, Consistency::Strong).await?;
        Ok(workflow.is_some_and(|workflow| workflow.run == *run))
    }

    /// Prefixes an idempotency key with the caller's token, because another token may use the same key.
    fn scoped(self, key: &str) -> String {
        format!("{}#{key}", self.engine.caller.name.as_ref().map_or("", TokenName::as_str))
    }

    /// Returns the workflow that was submitted under a key, if there is one.
    pub(crate) async fn earlier(self, key: Option<&(String, ReportHash)>, now: Millis) -> Result<Option<Submitted>> {
        let Some((key, body)) = key else { return Ok(None) };
        match self.engine.ports.idempotency(&self.scoped(key), now).await? {
            None => Ok(None),
            Some(kept) if kept.body == *body => Ok(Some(Submitted { workflow: kept.workflow, created: None })),
            Some(_) => Err(EngineError::KeyReused { key: key.clone() }),
        }
    }

    /// Calls `stage` with a fresh run key. Retries some times, each with another key, if the store is unavailable.
    ///
    /// The writes of `stage` are unconditional. A write whose response was lost may be applied late and would
    /// overwrite later changes. So a run isn't committed under a key with a write in doubt.
    pub(crate) async fn under_a_fresh_key<T, F>(self, stage: impl Fn(RunKey) -> F + Send) -> Result<(RunKey, T)>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let mut tries = 1;
        loop {
            let run = RunKey::new(self.engine.random());
            match stage(run.clone()).await {
                Err(EngineError::Store(StoreError::Unavailable(text))) if tries < STAGINGS => {
                    tracing::warn!(%run, text, tries, "writing the records of a run again, under another key");
                    tries += 1;
                }
                done => return Ok((run, done?)),
            }
        }
    }

    /// Writes a run's records, and the pools of its jobs, before the commit.
    pub(crate) async fn stage(
        self,
        run: &RunKey,
        jobs: &[Planned],
        source: Option<Source>,
        inputs: &InputValues,
        (report, now): (Option<&ReportKey>, Millis),
    ) -> Result<()> {
        self.engine.workers().add_pools(plan::pools(jobs)).await?;
        let mut items = plan::records(run, jobs, self.engine.tuning.shard, now);
        for item in &mut items {
            if let NewItem::Job(job) = item {
                job.report = report.cloned();
            }
        }
        items.extend(source.map(|source| NewItem::Definition(run.clone(), source)));
        if !inputs.is_empty() {
            items.push(NewItem::Inputs(run.clone(), inputs.clone()));
        }
        let batches: Vec<Vec<NewItem>> = items.chunks(BATCH).map(<[NewItem]>::to_vec).collect();
        stream::iter(batches.into_iter().map(|batch| self.engine.ports.put_new(batch)))
            .buffer_unordered(BATCHES_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(())
    }
}

/// Builds a run's control record: new, or started at this time. A started run of a group waits for its turn.
pub(crate) fn new_control(
    workflow: &WorkflowRecord,
    jobs: &[Planned],
    started_at: Option<Millis>,
    group: Option<GroupOfRun>,
) -> Control {
    let (state, opened_at, blocked_at) = match (started_at, &group) {
        (None, _) => (RunState::New, None, None),
        (at, None) => (RunState::Open, at, None),
        (at, Some(_)) => (RunState::Blocked, None, at),
    };
    Control {
        run: workflow.run.clone(),
        workflow: workflow.id.clone(),
        number: workflow.number,
        jobs: u32::try_from(jobs.len()).expect("a definition has at most 10,000 jobs"),
        state,
        done_below: 0,
        failed: false,
        cancelled: false,
        opened_at,
        group,
        blocked_at,
        opener: None,
        report: None,
        superseded: false,
        timer: started_at.map_or(Timer::Off, |at| Timer::Due(at + MAX_TIMER_DELAY)),
    }
}

fn new_workflow_id(random: &[u8]) -> WorkflowId {
    WorkflowId::new(format!("wf-{}", hex::encode(&random[..10]))).expect("hexadecimal digits are an id")
}
