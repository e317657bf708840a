//! Approvals of forks' commits, and re-runs that a forge asks for.

use protocol::requests::Only;
use protocol::{LabelSet, LinkName, Status};

use super::deliveries::change_of_pull;
use super::outcome::{DeliveryOutcome, Start};
use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::change::Change;
use crate::forge::event::{ExternalId, Incoming, Signal};
use crate::forge::link::{Link, Origin};
use crate::forge::names::{CommitId, Subject};
use crate::forge::records::{Delivery, DeliveryKey, DeliveryState, RefRecord, ReportRecord, ReportSource};
use crate::forge::ref_rule::KEPT;
use crate::forge::rights;
use crate::forge::store::ForgeStore;
use crate::ports::{ArtifactStore, AuditStore, Consistency, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// What became of a request to run a workflow again.
enum Rerun {
    Started,
    /// It runs, or is gone.
    Nothing,
    /// The link's rights don't allow it any more, and why.
    Refused(String),
}

impl<P: ForgeStore> Forges<'_, P> {
    /// Approves one commit of a pull request from a fork. Returns the delivery that stands for it, or `None` if it was approved before
    /// and isn't held again.
    ///
    /// # Errors
    /// [`EngineError::HeadMoved`] if the pull request is at another commit; [`EngineError::LabelsNotAllowed`] if the caller's token
    /// doesn't allow the labels of the fork's rule.
    pub async fn approve(
        self,
        name: &LinkName,
        repository: Option<&str>,
        number: u64,
        commit: &CommitId,
    ) -> Result<Option<DeliveryKey>> {
        let link = self.linked(name, repository).await?;
        let Some(pull) = self.port()?.pull_request(&link, number).await? else {
            return Err(EngineError::NotAtForge(format!("{} has no pull request #{number}", link.repository)));
        };
        if pull.head != *commit {
            return Err(EngineError::HeadMoved { head: pull.head });
        }
        if let Some(rule) = rights::rule_for(&link.rights, Origin::Fork, pull.base_ref.short()) {
            let labels: LabelSet = rule.labels.iter().chain(&rule.add_labels).cloned().collect();
            self.engine.caller.check_labels(&labels)?;
        }
        if !self.note_approval(&link, number, commit).await? {
            return Ok(None);
        }
        let actor = self.engine.caller.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let incoming = Incoming {
            id: format!("approve {commit}"),
            repository: link.key.repository,
            name: link.repository,
            signal: Signal::Approved { number, commit: commit.clone(), actor },
        };
        self.store_new(name, incoming).await.map(Some)
    }

    /// Notes that a commit was approved. Returns false if it was before, and isn't held again, as after a change of the base.
    async fn note_approval(self, link: &Link, number: u64, commit: &CommitId) -> Result<bool> {
        let note = |record: &mut RefRecord| {
            let is_held = record.held.take_if(|held| held == commit).is_some();
            let is_new = !record.approved.contains(commit);
            if is_new {
                record.approved.push(commit.clone());
                let over = record.approved.len().saturating_sub(KEPT);
                record.approved.drain(..over);
            }
            (is_new || is_held, is_new || is_held)
        };
        self.change_ref(link, &Subject::Pull(number), note).await
    }
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// The forge's button was pressed. It counts if the forge says that the person may write, and approves that commit alone.
    pub(super) async fn decide_approve(
        self,
        link: &Link,
        delivery: &mut Delivery,
        commit: &CommitId,
        check: &ExternalId,
        actor: &str,
    ) -> Result<Option<DeliveryOutcome>> {
        let report = check.report().filter(|key| key.repository == link.key && key.commit == *commit);
        let report = match report {
            Some(key) => self.engine.ports.report(&key).await?,
            None => None,
        };
        let Some(number) = report.and_then(|report| report.change.pull_request) else {
            return Ok(Some(DeliveryOutcome::of(
                DeliveryState::Ignored,
                "no state of this commit waits for an approval",
            )));
        };
        if !self.port()?.may_write(link, actor).await? {
            let reason = format!("{actor} may not write to {}, so the button does nothing", link.repository);
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Failed, reason)));
        }
        self.note_approval(link, number, commit).await?;
        self.run_approved(link, delivery, number, commit, actor).await
    }

    /// Starts the runs of a commit that was approved.
    pub(super) async fn run_approved(
        self,
        link: &Link,
        delivery: &mut Delivery,
        number: u64,
        commit: &CommitId,
        actor: &str,
    ) -> Result<Option<DeliveryOutcome>> {
        let pull = self.port()?.pull_request(link, number).await?.filter(|pull| pull.open && pull.head == *commit);
        let Some(pull) = pull else {
            return Ok(Some(DeliveryOutcome::of(
                DeliveryState::Late,
                "the pull request has another head now, or is closed",
            )));
        };
        let record = self.engine.ports.ref_record(&link.key, &Subject::Pull(number)).await?;
        let Some(record) = record.filter(|record| record.approved.contains(commit)) else {
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Failed, "the commit is not approved any more")));
        };
        if record.head.as_ref() != Some(commit) {
            // Its own delivery hasn't come in yet, and finds it approved.
            return Ok(Some(DeliveryOutcome::of(
                DeliveryState::Ignored,
                "approved; the pull request's own delivery starts it",
            )));
        }
        let change = Change { seq: record.seq, ..change_of_pull(pull, actor.to_owned()) };
        let start = Start { change, accepted_at: delivery.key.at, approved: true };
        Box::pin(self.start_files(link, delivery, start)).await.map(Some)
    }

    /// Runs again what a commit's states show: the failed jobs if there are any, else all. A run that runs is left alone.
    pub(super) async fn rerun(
        self,
        link: &Link,
        commit: &CommitId,
        check: Option<&ExternalId>,
    ) -> Result<DeliveryOutcome> {
        let only = check.and_then(ExternalId::report);
        let reports = self.engine.ports.reports_of(&link.key, commit).await?;
        let mut again = 0;
        let mut refused = None;
        for report in reports.iter().filter(|report| only.as_ref().is_none_or(|key| *key == report.key)) {
            match self.rerun_one(link, report).await? {
                Rerun::Started => {
                    self.report_or_leave(&report.key).await;
                    again += 1;
                }
                Rerun::Refused(reason) => {
                    let reason = format!("not run again: the link's rights don't allow it any more: {reason}");
                    self.note_rerun(&report.key, Some(&reason)).await?;
                    self.report_or_leave(&report.key).await;
                    refused = Some(reason);
                }
                Rerun::Nothing => {}
            }
        }
        Ok(match refused {
            Some(reason) => DeliveryOutcome::of(DeliveryState::Failed, reason),
            None if again == 0 => {
                DeliveryOutcome::of(DeliveryState::Ignored, "nothing that has ended shows its states there")
            }
            None => DeliveryOutcome {
                state: DeliveryState::Accepted,
                reason: Some(format!("{again} started again")),
                change: None,
            },
        })
    }

    async fn rerun_one(self, link: &Link, report: &ReportRecord) -> Result<Rerun> {
        let ReportSource::Workflow { id: Some(id) } = &report.source else { return Ok(Rerun::Nothing) };
        let workflow = self.engine.ports.workflow(id, Consistency::Strong).await?;
        let Some((workflow, end)) = workflow.and_then(|workflow| workflow.ended.map(|end| (workflow, end))) else {
            return Ok(Rerun::Nothing);
        };
        let change = &report.change;
        let Some(rule) = rights::rule_for(&link.rights, change.origin(), change.ruled_ref()) else {
            return Ok(Rerun::Refused("no rule fits".to_owned()));
        };
        let source = self.engine.ports.definition(&workflow.run).await?;
        let Some(definition) = source.and_then(|source| source.read().ok()) else { return Ok(Rerun::Nothing) };
        let only = (end.status == Status::Failure).then_some(Only::Failed);
        match self.acting_for(link, &definition, rule).runs().start(id, only, None).await {
            Ok(()) => {
                self.note_rerun(&report.key, None).await?;
                Ok(Rerun::Started)
            }
            Err(EngineError::InvalidState { .. } | EngineError::Moved(_)) => Ok(Rerun::Nothing),
            Err(
                error @ (EngineError::LabelsNotAllowed { .. }
                | EngineError::SecretNotAllowed(_)
                | EngineError::GroupsNotAllowed { .. }),
            ) => Ok(Rerun::Refused(error.to_string())),
            Err(EngineError::LinkRights { reason, .. }) => Ok(Rerun::Refused(reason)),
            Err(error) => Err(error),
        }
    }
}
