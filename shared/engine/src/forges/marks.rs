//! Writes of refs and reports under their conditions: what is known of a ref, which run reports, and that there is something to tell.

use protocol::{Millis, WorkflowId};

use super::WRITES;
use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::change::Change;
use crate::forge::link::Link;
use crate::forge::names::{ReportKey, Subject};
use crate::forge::records::{RefRecord, ReportChoice, ReportRecord, ReportSource};
use crate::forge::reporting::COALESCED;
use crate::forge::store::ForgeStore;

impl<P: ForgeStore> Forges<'_, P> {
    /// Changes a ref's record under its condition. `change` returns what to answer, and whether to write.
    pub(super) async fn change_ref<T>(
        self,
        link: &Link,
        subject: &Subject,
        mut change: impl FnMut(&mut RefRecord) -> (T, bool),
    ) -> Result<T> {
        for _ in 0..WRITES {
            let stored = self.engine.ports.ref_record(&link.key, subject).await?;
            let mut record = stored.unwrap_or_else(|| RefRecord::new(link.key.clone(), subject.clone()));
            let (answer, write) = change(&mut record);
            record.version += 1;
            if !write || self.engine.ports.put_ref(record).await? {
                return Ok(answer);
            }
        }
        Err(EngineError::Contended(subject.text()))
    }

    /// Changes a report under its condition. `change` gets the record, if there is one, and returns the one to write.
    pub(super) async fn change_report(
        self,
        key: &ReportKey,
        mut change: impl FnMut(Option<&ReportRecord>) -> Option<ReportRecord>,
    ) -> Result<Option<ReportRecord>> {
        for _ in 0..WRITES {
            let stored = self.engine.ports.report(key).await?;
            let Some(mut new) = change(stored.as_ref()) else { return Ok(None) };
            new.version = stored.map_or(0, |stored| stored.version) + 1;
            if self.engine.ports.put_report(new.clone()).await? {
                return Ok(Some(new));
            }
        }
        Err(EngineError::Contended(format!("the report {}", key.text())))
    }

    /// Stores what a file's states at a commit come from. A change that was accepted later keeps the report.
    pub(super) async fn put_report(
        self,
        key: &ReportKey,
        change: &Change,
        source: ReportSource,
        choice: ReportChoice,
        accepted_at: Millis,
    ) -> Result<()> {
        let now = self.engine.now();
        self.change_report(key, |stored| {
            let same = stored.is_some_and(|stored| stored.change == *change);
            match stored {
                Some(stored) if stored.accepted_at > accepted_at && !same => None,
                // This change has its run already.
                Some(ReportRecord { source: ReportSource::Workflow { id: Some(_) }, .. }) if same => None,
                _ => Some(ReportRecord {
                    key: key.clone(),
                    change: change.clone(),
                    source: source.clone(),
                    accepted_at,
                    choice: choice.clone(),
                    due: Some(now),
                    asked: stored.map_or(0, |stored| stored.asked) + 1,
                    lease: stored.and_then(|stored| stored.lease.clone()),
                    sent: stored.map(|stored| stored.sent.clone()).unwrap_or_default(),
                    refused: None,
                    tries: 0,
                    failing_since: None,
                    given_up: None,
                    version: 0,
                }),
            }
        })
        .await
        .map(drop)
    }

    /// Notes the workflow that was submitted for a change, if the report is still that change's.
    pub(super) async fn name_workflow(self, key: &ReportKey, change: &Change, workflow: &WorkflowId) -> Result<()> {
        let now = self.engine.now();
        self.change_report(key, |stored| {
            let stored = stored.filter(|stored| stored.change == *change)?;
            let source = ReportSource::Workflow { id: Some(workflow.clone()) };
            let due = Some(now);
            (stored.source != source).then(|| ReportRecord { source, due, asked: stored.asked + 1, ..stored.clone() })
        })
        .await
        .map(drop)
    }

    /// Notes that a run was started again, or why it was not.
    pub(super) async fn note_rerun(self, key: &ReportKey, refused: Option<&str>) -> Result<()> {
        let now = self.engine.now();
        self.change_report(key, |stored| {
            let stored = stored.filter(|stored| stored.given_up.is_none())?;
            let refused = refused.map(str::to_owned);
            Some(ReportRecord { refused, due: Some(now), asked: stored.asked + 1, ..stored.clone() })
        })
        .await
        .map(drop)
    }

    /// Notes that a run or a job of a report has changed. The states are told within about two seconds.
    pub async fn mark(self, key: &ReportKey) -> Result<()> {
        let now = self.engine.now();
        self.change_report(key, |stored| stored?.marked(now + COALESCED, now)).await.map(drop)
    }
}
