//! One course of three workflows, from their submission to the end, with one fault or none.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws::Aws;
use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use engine::EngineError;
use engine::ids::{ReportHash, RunKey};
use engine::job::{JobRecord, Phase};
use engine::ports::{Consistency, JobStore, RunStore, WorkerRegistry};
use engine::run::{RunState, Timer};
use engine::submit::Submission;
use futures::future::try_join_all;
use protocol::{JobId, Outputs, WorkflowId};
use workflow::from_yaml;

use crate::feed::{Feed, Run, stuck};
use crate::layer::{Fault, Kind, Layer, Seen};
use crate::own::Own;
use crate::script::{FRAIL, STORIES, Story, outputs};
use crate::worker::{Book, Workers, repeated};
use crate::{Found, Tally};

/// Longer than any course takes whose lost messages the sweep replaces.
const PATIENCE: Duration = Duration::from_mins(5);

/// Seconds of a lease. Where some are lost, their end is waited for; where none may be, a slow machine must not lose one.
const TTL: u32 = 4;
const CALM_TTL: u32 = 60;

/// What a course came to.
pub struct Report {
    pub seen: Seen,
    pub tally: Tally,
    /// What went against a promise.
    pub finding: Option<String>,
}

/// A story that was submitted.
struct Submitted {
    story: &'static Story,
    workflow: WorkflowId,
    run: RunKey,
}

struct Course {
    feed: Feed,
    workers: Workers,
    tally: Tally,
    submitted: Vec<Submitted>,
    /// Nobody may notice the fault.
    mended: bool,
    /// Nor the sweep: but a look that is announced once more, later, leaves a timer to it.
    may_be_swept: bool,
}

/// Runs a course on tables of its own.
pub async fn run(settings: &SdkConfig, http: &SharedHttpClient, fault: Option<Fault>) -> Report {
    let own = Own::new(settings, "faults").await;
    let layer = Layer::new(http.clone(), fault);
    let disturbed = settings.to_builder().http_client(layer.clone()).build();
    let config = own.config(1);
    let engine = Aws::engine_with(config.clone(), &disturbed);
    let plain = Aws::engine_with(config.clone(), settings);
    let feed = Feed::new(engine.clone(), plain, aws_sdk_sqs::Client::new(settings), config.batches_queue);
    let mended = fault.is_none_or(|fault| fault.kind.is_mended());
    let may_be_swept = fault.is_some_and(|fault| fault.kind == Kind::Echo);
    let workers = Workers { engine, book: Mutex::new(Book::default()), ttl: if mended { CALM_TTL } else { TTL } };
    let mut course = Course { feed, workers, tally: Tally::default(), submitted: Vec::new(), mended, may_be_swept };
    let finding = Box::pin(course.all()).await.err();
    own.remove().await;
    Report { seen: layer.seen(), tally: course.tally, finding }
}

impl Course {
    async fn all(&mut self) -> Found<()> {
        self.submitted = Box::pin(self.submit()).await?;
        let keys: Vec<RunKey> = self.submitted.iter().map(|submitted| submitted.run.clone()).collect();
        Box::pin(self.process(&keys)).await?;
        self.check(&keys).await?;
        let unnoticed = self.tally.is_quiet(self.may_be_swept);
        expect(!self.mended || unnoticed, || format!("somebody had to mend it: {:?}", self.tally))
    }

    async fn submit(&self) -> Found<Vec<Submitted>> {
        let mut submitted = Vec::new();
        for story in &STORIES {
            let submission = Submission {
                definition: from_yaml(story.definition).map_err(|problems| format!("{problems:#?}"))?,
                source: engine::ports::Source {
                    content_type: "application/yaml".to_owned(),
                    text: story.definition.to_owned(),
                },
                inputs: protocol::requests::GivenInputs::new(),
                run: story.name != "chain",
                key: Some((story.name.to_owned(), ReportHash::of([story.definition]))),
                report: None,
                place_at: None,
                started_by: None,
            };
            let submit = || self.feed.engine.submissions().submit(submission.clone());
            let workflow = repeated(&self.tally, submit).await.map_err(|error| format!("submit: {error}"))?.workflow;
            if story.name == "chain" {
                match repeated(&self.tally, || self.feed.engine.runs().start(&workflow, None, None)).await {
                    // The request before was done, and wasn't answered.
                    Ok(()) | Err(EngineError::InvalidState { .. }) => {}
                    Err(error) => return Err(format!("start: {error}")),
                }
            }
            let record = self.feed.plain.ports().workflow(&workflow, Consistency::Strong).await;
            let record = record.map_err(|error| error.to_string())?.ok_or("a submitted workflow isn't there")?;
            submitted.push(Submitted { story, workflow, run: record.run });
        }
        Ok(submitted)
    }

    async fn process(&self, keys: &[RunKey]) -> Found<()> {
        let began = Instant::now();
        loop {
            let runs = self.feed.runs(keys).await?;
            if runs.iter().all(|run| run.control.state == RunState::Final) && self.feed.all_told(&runs) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let all: Vec<String> = runs.iter().map(stuck).collect();
                return Err(format!("not done after {PATIENCE:?}: {all:#?}"));
            }
            let (general, frail) = (is_ready(&runs, |job| job != FRAIL), is_ready(&runs, |job| job == FRAIL));
            let turn = async |label, ready| {
                if ready { Box::pin(self.workers.turn(label, &self.tally)).await } else { Ok(false) }
            };
            let (told, pumped, one, other) = tokio::join!(
                self.feed.tell(&runs, &self.tally),
                self.feed.pump(&self.tally),
                turn("", general),
                turn(FRAIL, frail),
            );
            if !(told? | pumped? | one? | other?) {
                self.feed.wait(&runs, &self.tally).await?;
            }
        }
    }

    async fn check(&self, keys: &[RunKey]) -> Found<()> {
        let plain = &self.feed.plain;
        let ports = plain.ports();
        let text = |error: engine::ports::StoreError| error.to_string();
        let listed = ports.workflows(None, 100).await.map_err(text)?;
        expect(listed.len() == STORIES.len(), || format!("{} workflows instead of {}", listed.len(), STORIES.len()))?;
        for run in self.feed.runs(keys).await? {
            expect(run.control.timer == Timer::Off, || "a closed run has a timer".to_owned())?;
            let open: Vec<&JobRecord> = run.jobs.iter().filter(|job| !job.is_ended()).collect();
            expect(open.is_empty(), || format!("a closed run has jobs that go on: {open:?}"))?;
        }
        let open = ports.timers_due(plain.now() + Duration::from_hours(1)).await.map_err(text)?;
        expect(open.is_empty(), || "a run is still listed as open".to_owned())?;
        for pool in ports.pools(protocol::Millis::now()).await.map_err(text)? {
            let heads = ports.ready_heads(&pool.id, plain.now() + Duration::from_hours(1)).await.map_err(text)?;
            expect(heads.is_empty(), || format!("jobs are still listed as ready: {heads:?}"))?;
        }
        try_join_all(self.submitted.iter().map(|submitted| self.check_story(submitted))).await?;
        Ok(())
    }

    async fn check_story(&self, submitted: &Submitted) -> Found<()> {
        let plain = &self.feed.plain;
        let text = |error: EngineError| error.to_string();
        let workflow = plain.queries().workflow(&submitted.workflow).await.map_err(text)?;
        let name = submitted.story.name;
        expect(workflow.status == submitted.story.ends, || format!("{name} ended as {}", workflow.status))?;
        for &(id, status) in submitted.story.jobs {
            let job = workflow.jobs.iter().find(|job| job.id.as_str() == id).ok_or("a job is missing")?;
            expect(job.status == status, || format!("job {id} ended as {}", job.status))?;
            let accepted = self.workers.book.lock().expect("nobody panicked").accepted.get(id).cloned();
            let accepted = accepted.unwrap_or_default();
            if status != protocol::Status::Success {
                expect(accepted.is_empty(), || format!("a completion of {id} was accepted"))?;
                continue;
            }
            let attempt = u32::from(matches!(id, "b" | FRAIL));
            expect(!self.mended || job.attempt == attempt, || format!("job {id} was tried {} times", job.attempt + 1))?;
            expect(accepted.len() == 1, || format!("{} completions of {id} were accepted", accepted.len()))?;
            let job_id = JobId::new(id).map_err(|error| error.to_string())?;
            let kept = plain.queries().outputs(&submitted.workflow, &job_id, None).await.map_err(text)?;
            let lease = accepted.first().map_or("", String::as_str);
            expect(plainly(&kept) == outputs(id, lease), || format!("job {id} has other outputs than were accepted"))?;
            if id == "c" {
                let log = plain.queries().logs(&submitted.workflow, &job_id, None, None).await.map_err(text)?;
                let lines: Vec<u64> = log.chunks.iter().map(|chunk| chunk.sequence).collect();
                expect(lines == [0, 1], || format!("the log of {id} shows {lines:?}"))?;
            }
        }
        Ok(())
    }
}

fn is_ready(runs: &[Run], which: impl Fn(&str) -> bool) -> bool {
    let now = protocol::Millis::now();
    let ready = |job: &JobRecord| matches!(job.phase, Phase::Ready { at, .. } if at <= now);
    runs.iter().flat_map(|run| &run.jobs).any(|job| ready(job) && which(job.id.as_str()))
}

fn plainly(outputs: &Outputs) -> BTreeMap<String, String> {
    outputs.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone())).collect()
}

pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Found<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
