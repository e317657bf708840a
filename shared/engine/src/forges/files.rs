//! Reads the workflow files of a commit, and starts a run of each that wants the change.

use std::sync::Arc;
use std::time::Duration;

use protocol::limits;
use workflow::{Definition, Problem, ReportStates};

use super::outcome::{DeliveryOutcome, Start};
use crate::access::Grant;
use crate::cache::Cache;
use crate::error::{EngineError, Result};
use crate::forge::change::{Change, Changed, Wanted, state_of_run, stem};
use crate::forge::link::{Link, Rule};
use crate::forge::names::{GitRef, ReportKey, RepositoryKey};
use crate::forge::ports::RepositoryFile;
use crate::forge::records::{Delivery, DeliveryState, RefRecord, ReportChoice, ReportSource};
use crate::forge::rights;
use crate::forge::state::{Annotation, TargetState};
use crate::forge::store::ForgeStore;
use crate::ids::{Principal, ReportHash};
use crate::ports::{ArtifactStore, AuditStore, Dispatcher, JobStore, RunStore, Source, WorkerRegistry};
use crate::submit::Submission;
use crate::{Engine, Forges};

/// Annotations of a file that isn't valid.
const ANNOTATIONS: usize = 50;

/// The texts of files by their repositories and blobs' ids. A blob never changes.
pub(crate) type BlobsCache = Cache<(RepositoryKey, String), Arc<str>>;

pub(crate) fn blobs_cache() -> BlobsCache {
    Cache::new(Duration::from_hours(24), 500)
}

/// What is the same for all files of a change.
struct Started<'a> {
    link: &'a Link,
    rule: &'a Rule,
    start: &'a Start,
    changed: Option<Changed>,
    /// Reports to be told once all files were looked at. A run that waits for a worker, or that there is none of, causes no change by
    /// which they would be told.
    reports: Vec<ReportKey>,
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// Starts a run of each file that wants the change. A file that can't run is reported as failed; the others run.
    pub(super) async fn start_files(
        self,
        link: &Link,
        delivery: &mut Delivery,
        start: Start,
    ) -> Result<DeliveryOutcome> {
        let (state, reason) = self.started_files(link, delivery, &start).await?;
        Ok(DeliveryOutcome { state, reason, change: Some(start.change) })
    }

    async fn started_files(
        self,
        link: &Link,
        delivery: &mut Delivery,
        start: &Start,
    ) -> Result<(DeliveryState, Option<String>)> {
        let change = &start.change;
        let Some(rule) = rights::rule_for(&link.rights, change.origin(), change.ruled_ref()) else {
            let reason = format!("no rule of the link is for a {} of `{}`", change.origin(), change.ruled_ref());
            return Ok((DeliveryState::Ignored, Some(reason)));
        };
        let files = match self.read_files(link, change).await? {
            Ok(files) => files,
            Err(reason) => return Ok((DeliveryState::Failed, Some(reason))),
        };
        let mut started = Started { link, rule, start, changed: None, reports: Vec::new() };
        let (mut any, mut waits) = (false, false);
        for (file, text) in &files {
            match self.start_file(&mut started, delivery, file, text).await? {
                TargetState::WaitsForApproval => (any, waits) = (true, true),
                TargetState::Skipped => {}
                _ => any = true,
            }
        }
        for key in &started.reports {
            self.report_or_leave(key).await;
        }
        if waits {
            return Ok((DeliveryState::Held, Some(self.hold(link, change).await?)));
        }
        let reason = (!any).then(|| "no file in `.wfg` is for this change".to_owned());
        Ok((if any { DeliveryState::Accepted } else { DeliveryState::Ignored }, reason))
    }

    /// The files at the commit, or why they aren't read.
    async fn read_files(self, link: &Link, change: &Change) -> Result<Result<Vec<(RepositoryFile, Arc<str>)>, String>> {
        let files = self.port()?.files(link, &change.commit).await?;
        let size: u64 = files.iter().filter_map(|file| file.size).sum();
        let (most, most_size) = (limits::FORGE_FILES, limits::FORGE_FILES_SIZE);
        if files.len() > most || size > most_size {
            let files = files.len();
            return Ok(Err(format!(
                "`.wfg` has {files} files of {size} bytes; at most {most} and {most_size} are read"
            )));
        }
        // Not every forge says how large a file is.
        let (mut texts, mut read) = (Vec::new(), 0);
        for file in files {
            let text = self.text(link, change, &file).await?;
            read += text.len() as u64;
            if read > most_size {
                return Ok(Err(format!("the files in `.wfg` have over {most_size} bytes in all")));
            }
            texts.push((file, text));
        }
        Ok(Ok(texts))
    }

    /// Notes that a fork's commit waits for an approval. Returns what a person has to do.
    async fn hold(self, link: &Link, change: &Change) -> Result<String> {
        let commit = &change.commit;
        let note = |record: &mut RefRecord| {
            let is_new = record.head.as_ref() == Some(commit) && record.held.as_ref() != Some(commit);
            if is_new {
                record.held = Some(commit.clone());
            }
            ((), is_new)
        };
        self.change_ref(link, &change.subject, note).await?;
        let number = change.pull_request.unwrap_or_default();
        Ok(format!("a fork's commit waits for `wfg forge approve {}#{number} {commit}`", link.repository))
    }

    /// Starts a run of a file, or reports why there is none. Returns `Skipped` if the file doesn't want the change.
    async fn start_file(
        self,
        started: &mut Started<'_>,
        delivery: &mut Delivery,
        file: &RepositoryFile,
        text: &str,
    ) -> Result<TargetState> {
        let (rule, change) = (started.rule, &started.start.change);
        let key = ReportKey {
            repository: started.link.key.clone(),
            commit: change.commit.clone(),
            file: stem(&file.path).to_owned(),
            event: change.event,
        };
        let source = Source { content_type: "application/yaml".to_owned(), text: text.to_owned() };
        let mut definition = match source.read() {
            Ok(definition) => definition,
            Err(problems) => return self.invalid(started, key, file, &problems).await,
        };
        match change.wanted(&definition.events) {
            Wanted::Nothing => return Ok(TargetState::Skipped),
            Wanted::IfChanged => {
                if started.changed.is_none() {
                    started.changed = Some(self.changed(started.link, change).await?);
                }
                let touches =
                    started.changed.as_ref().is_none_or(|changed| change.touches(&definition.events, changed));
                if !touches {
                    if change.pull_request.is_some() {
                        let text = "skipped: none of its `paths` changed".to_owned();
                        self.put_fixed(started, key, (TargetState::Skipped, text, Vec::new())).await?;
                    }
                    return Ok(TargetState::Skipped);
                }
            }
            Wanted::Run => {}
        }
        let problems = rights::refused(&definition, rule, change.origin());
        if !problems.is_empty() {
            return self.invalid(started, key, file, &problems).await;
        }
        if change.fork && rule.approve && !started.start.approved {
            let text = "a fork's commit waits for an approval".to_owned();
            return self.put_fixed(started, key, (TargetState::WaitsForApproval, text, Vec::new())).await;
        }
        rights::add_labels(&mut definition, rule);
        let choice = choice_of(&definition);
        let source_of = ReportSource::Workflow { id: None };
        self.put_report(&key, change, source_of, choice, started.start.accepted_at).await?;
        let workflow = match self.submit_file(started, definition, source, &key).await {
            Ok(workflow) => workflow,
            Err(EngineError::Inputs(problems) | EngineError::Definition(problems)) => {
                return self.invalid(started, key, file, &problems).await;
            }
            Err(error) => return Err(error),
        };
        self.name_workflow(&key, change, &workflow).await?;
        started.reports.push(key);
        if !delivery.workflows.contains(&workflow) {
            delivery.workflows.push(workflow);
        }
        Ok(TargetState::Queued)
    }

    async fn submit_file(
        self,
        started: &Started<'_>,
        mut definition: Definition,
        source: Source,
        key: &ReportKey,
    ) -> Result<protocol::WorkflowId> {
        let (link, change) = (started.link, &started.start.change);
        definition.name.get_or_insert_with(|| key.file.clone());
        definition.trigger = state_of_run(&key.file, change.event);
        let engine = self.acting_for(link, &definition, started.rule);
        let submission = Submission {
            inputs: change.inputs(link, &definition),
            definition,
            source,
            run: true,
            key: Some(submission_key(link, change, key)),
            report: Some(key.clone()),
            place_at: Some(started.start.accepted_at),
            started_by: Some(Box::new(change.source(link))),
        };
        Ok(engine.submissions().submit(submission).await?.workflow)
    }

    /// The engine with the rights that a rule of the link gives to the runs of a definition.
    pub(super) fn acting_for(self, link: &Link, definition: &Definition, rule: &Rule) -> Engine<P> {
        self.engine.acting_for(Grant {
            name: None,
            principal: Principal::of(format!("forge:{}", link.name()).as_bytes()),
            permissions: rights::permissions(definition, rule),
            expires_at: None,
        })
    }

    /// Reports a file that can't run as failed, with its problems at their lines.
    async fn invalid(
        self,
        started: &mut Started<'_>,
        key: ReportKey,
        file: &RepositoryFile,
        problems: &[Problem],
    ) -> Result<TargetState> {
        let annotation = |problem: &Problem| Annotation {
            path: file.path.clone(),
            line: problem.at.map_or(1, |at| at.line),
            message: problem.message.clone(),
        };
        let text = match problems {
            [] => "the file can't be used".to_owned(),
            [first, ..] => format!("{}: {first}{}", file.path, more(problems.len())),
        };
        let annotations = problems.iter().take(ANNOTATIONS).map(annotation).collect();
        self.put_fixed(started, key, (TargetState::Invalid, text, annotations)).await
    }

    /// Stores a state without a run, to be told once all files were looked at.
    async fn put_fixed(
        self,
        started: &mut Started<'_>,
        key: ReportKey,
        (state, text, annotations): (TargetState, String, Vec<Annotation>),
    ) -> Result<TargetState> {
        let fixed = ReportSource::Fixed { state, text, annotations };
        self.put_report(&key, &started.start.change, fixed, ReportChoice::Run, started.start.accepted_at).await?;
        started.reports.push(key);
        Ok(state)
    }

    async fn text(self, link: &Link, change: &Change, file: &RepositoryFile) -> Result<Arc<str>> {
        let now = self.engine.now();
        // Each forge says itself what a blob's id is, so none decides about the files of another.
        let blob = (link.key.clone(), file.blob.clone());
        if let Some(text) = self.engine.caches.blobs.get(&blob, now) {
            return Ok(text);
        }
        let text: Arc<str> = self.port()?.file(link, &change.commit, file).await?.into();
        if !file.blob.is_empty() {
            self.engine.caches.blobs.insert(blob, Arc::clone(&text), now);
        }
        Ok(text)
    }

    /// The files that a change touches. A new branch is compared with the default one.
    async fn changed(self, link: &Link, change: &Change) -> Result<Changed> {
        let forge = self.port()?;
        if let Some(number) = change.pull_request {
            return Ok(forge.changed_by(link, number).await?);
        }
        let base = if change.before.is_some() {
            change.before.clone()
        } else {
            let default = GitRef::of_branch(&forge.repository(link).await?.default_branch).ok();
            match default.filter(|default| change.name.as_ref() != Some(default)) {
                Some(default) => forge.ref_head(link, &default).await?,
                None => None,
            }
        };
        match base {
            Some(base) => Ok(forge.changed(link, &base, &change.commit).await?),
            None => Ok(Changed::Unknown),
        }
    }
}

/// The key under which a change's run of a file is submitted: of link, ref, number and file.
pub(super) fn submission_key(link: &Link, change: &Change, key: &ReportKey) -> (String, ReportHash) {
    let request = format!("{}\n{}\n{}\n{}", link.key.repository, change.subject.text(), change.seq, key.text());
    let idempotency = format!("forge {}", crate::ids::hash_of(&format!("{}\n{request}", link.name())));
    (idempotency, ReportHash::of([request.as_str()]))
}

fn more(problems: usize) -> String {
    if problems > 1 { format!(" (and {} more)", problems - 1) } else { String::new() }
}

fn choice_of(definition: &Definition) -> ReportChoice {
    match &definition.states {
        ReportStates::All if definition.jobs.len() > limits::STATES => ReportChoice::Run,
        ReportStates::All => ReportChoice::All,
        ReportStates::Run => ReportChoice::Run,
        ReportStates::Jobs(jobs) => ReportChoice::Jobs(jobs.clone()),
    }
}
