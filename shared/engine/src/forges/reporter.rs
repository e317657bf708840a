//! Tells a forge the states of a report.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use protocol::access::{AuditAction, AuditEntry};
use protocol::{Millis, WorkflowId};

use super::WRITES;
use super::files::submission_key;
use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::change::state_of_run;
use crate::forge::event::ExternalId;
use crate::forge::link::{Access, Link};
use crate::forge::names::ReportKey;
use crate::forge::ports::{ForgeError, StateAnswer, StateUpdate};
use crate::forge::records::{Pause, ReportRecord, ReportSource};
use crate::forge::reporting::{GIVE_UP, NO_COMMIT, Taken};
use crate::forge::state::TargetState;
use crate::forge::store::ForgeStore;
use crate::forge::wanted::{WantedState, of_run};
use crate::planted::Bug;
use crate::ports::{ArtifactStore, AuditStore, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// Requests to a forge at once.
const AT_ONCE: usize = 4;

/// How a round of requests ended.
enum Round {
    /// All were answered.
    Answered,
    /// One had no answer: the lease is kept, so that nothing is told before it may have landed.
    NoAnswer,
    /// One was refused for now, or the forge's limit is reached.
    Wait {
        /// `Retry-After`.
        after: Option<Duration>,
        /// How long it is tried.
        longest: Duration,
        /// What the forge said.
        text: String,
    },
    /// Nothing is sent before this time.
    Until(Millis),
    /// Nothing will ever be told.
    GaveUp(String),
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// Tells the states of a report, unless somebody else does. Reads the run, sends what differs from what was sent, and looks again.
    ///
    /// A request without an answer is never followed by another one under the same lease, so that it can't land after a newer one for good.
    ///
    /// # Errors
    /// A store failed. The lease ends, and the report is due then.
    pub async fn report_states(self, key: &ReportKey) -> Result<()> {
        let holder = hex::encode(self.engine.random());
        let Some((link, record)) = self.take_report(key, &holder).await? else { return Ok(()) };
        self.tell(&link, record, &holder).await
    }

    /// False if the forge was told everything and nobody is about to tell more. Then a change needs no lease.
    pub(super) async fn has_news(self, key: &ReportKey) -> Result<bool> {
        let Some(record) = self.engine.ports.report(key).await? else { return Ok(false) };
        if record.given_up.is_some() {
            return Ok(false);
        }
        let is_quiet = record.lease.is_none() && record.due.is_none();
        Ok(!is_quiet || !record.differing(&self.wanted(&record).await?).is_empty())
    }

    /// Takes the lease of a report, and makes up for what its last holder or the submitter left undone. `None`: somebody else has the lease,
    /// or there is nothing to tell.
    async fn take_report(self, key: &ReportKey, holder: &str) -> Result<Option<(Link, ReportRecord)>> {
        let now = self.engine.now();
        let mut took_over = false;
        let take = |stored: Option<&ReportRecord>| {
            let mut stored = stored.filter(|stored| stored.given_up.is_none())?.clone();
            took_over = stored.lease.as_ref().is_some_and(|lease| lease.until <= now);
            if self.engine.has(Bug::NoReporterLease) || (took_over && self.engine.has(Bug::GoneReporterTrusted)) {
                stored.lease = None;
            }
            match stored.take(holder, now) {
                Taken::Mine(record) | Taken::Busy(record) => Some(record),
            }
        };
        let Some(mut record) = self.change_report(key, take).await?.filter(|record| record.is_held_by(holder)) else {
            return Ok(None);
        };
        let Some(link) = self.link(&key.repository).await? else {
            self.give_up(holder, record, "the link was removed").await?;
            return Ok(None);
        };
        if took_over && matches!(link.access, Access::App { .. }) {
            let Some(adopted) = self.adopt(&link, &record, holder).await? else { return Ok(None) };
            record = adopted;
        }
        let Some(id) = self.unnamed_workflow(&link, &record).await? else { return Ok(Some((link, record))) };
        let (source, change) = (ReportSource::Workflow { id: Some(id) }, record.change);
        let name = |record: &mut ReportRecord| {
            // A later change may have taken the report over.
            if record.change == change {
                record.source = source.clone();
            }
        };
        Ok(self.change_held(key, holder, name).await?.map(|record| (link, record)))
    }

    /// Sends what differs, notes the answers, and looks again, until nothing differs or the lease is over.
    async fn tell(self, link: &Link, mut record: ReportRecord, holder: &str) -> Result<()> {
        loop {
            let wanted = self.wanted(&record).await?;
            let todo: Vec<WantedState> = record.differing(&wanted).into_iter().take(AT_ONCE).cloned().collect();
            let (answers, round) = if todo.is_empty() {
                (Vec::new(), Round::Answered)
            } else if record.has_time(self.engine.now()) {
                self.send(link, &record, todo).await?
            } else {
                return Ok(());
            };
            let is_answered = matches!(round, Round::Answered);
            let Some(stored) = self.note(&record, holder, &wanted, (answers, round)).await? else { return Ok(()) };
            if let Some(why) = &stored.given_up {
                self.audit_give_up(link, &stored, why.clone()).await;
                return Ok(());
            }
            if !is_answered || !stored.is_held_by(holder) {
                return Ok(());
            }
            record = stored;
        }
    }

    /// Notes what a round of requests has brought. If all is told and nobody has asked for another look, the lease is returned in the
    /// same write.
    async fn note(
        self,
        before: &ReportRecord,
        holder: &str,
        wanted: &[WantedState],
        (answers, round): (Vec<(WantedState, StateAnswer)>, Round),
    ) -> Result<Option<ReportRecord>> {
        let now = self.engine.now();
        self.change_held(&before.key, holder, |record| {
            for (wanted, told) in &answers {
                record.answered(wanted, told.id.clone());
            }
            match &round {
                Round::NoAnswer if self.engine.has(Bug::LeaseReturnedAfterTimeout) => record.returned(Some(now)),
                Round::Answered if record.asked == before.asked && record.differing(wanted).is_empty() => {
                    record.returned(None);
                }
                Round::Answered | Round::NoAnswer => {}
                Round::Wait { after, longest, text } => match record.failed(now, *after, *longest) {
                    Some(at) => record.returned(Some(at)),
                    None => give_up(record, &format!("refused for too long, the last time: {text}")),
                },
                Round::Until(at) => record.returned(Some(*at)),
                Round::GaveUp(why) => give_up(record, why),
            }
        })
        .await
    }

    /// Looks which check runs the forge has that nobody noted: the last reporter stopped between the request that created them and its
    /// answer. Without that there would be a second one of the same name. Returns `None` if the lease is gone, or is kept until its end
    /// because the forge can't be asked.
    async fn adopt(self, link: &Link, record: &ReportRecord, holder: &str) -> Result<Option<ReportRecord>> {
        let wanted = self.wanted(record).await?;
        let has_id = |wanted: &WantedState| record.sent.get(&wanted.name).is_some_and(|sent| sent.id.is_some());
        if wanted.iter().all(has_id) {
            return Ok(Some(record.clone()));
        }
        let shown = match self.port()?.shown(link, &record.key.commit).await {
            Ok(shown) => shown,
            Err(ForgeError::NoCommit | ForgeError::Gone(_)) => Vec::new(),
            Err(error) => {
                tracing::warn!(report = record.key.text(), %error, "the check runs of a commit could not be read; trying again");
                return Ok(None);
            }
        };
        if !record.clone().adopt(&shown) {
            return Ok(Some(record.clone()));
        }
        let adopt = |record: &mut ReportRecord| {
            record.adopt(&shown);
        };
        self.change_held(&record.key, holder, adopt).await
    }

    /// Records that a forge is told nothing more of a commit.
    async fn audit_give_up(self, link: &Link, record: &ReportRecord, why: String) {
        tracing::warn!(report = record.key.text(), why, "the forge is told no more states of this commit");
        let workflow = match &record.source {
            ReportSource::Workflow { id } => id.clone(),
            ReportSource::Fixed { .. } => None,
        };
        let (name, commit) = (state_of_run(&record.key.file, record.key.event), &record.key.commit);
        let about = format!("{name} of {} at {commit}", link.repository);
        let entry = AuditEntry::new(self.engine.now(), None, AuditAction::GiveUp, about.clone());
        self.engine.audit().record(AuditEntry { workflow, about: Some(about), reason: Some(why), ..entry }).await;
    }

    /// The workflow that was submitted for a report which doesn't name it: whoever submitted it stopped before that.
    async fn unnamed_workflow(self, link: &Link, record: &ReportRecord) -> Result<Option<WorkflowId>> {
        if record.source != (ReportSource::Workflow { id: None }) {
            return Ok(None);
        }
        let key = submission_key(link, &record.change, &record.key);
        let earlier = self.engine.submissions().earlier(Some(&key), self.engine.now()).await?;
        Ok(earlier.map(|submitted| submitted.workflow))
    }

    /// The states that the forge should show.
    async fn wanted(self, record: &ReportRecord) -> Result<Vec<WantedState>> {
        let fixed = |state, text: &str, annotations: &[_]| WantedState {
            name: state_of_run(&record.key.file, record.key.event),
            job: None,
            state,
            description: text.to_owned(),
            summary: String::new(),
            annotations: annotations.to_vec(),
            started_at: None,
            ended_at: None,
        };
        match &record.source {
            ReportSource::Fixed { state, text, annotations } => Ok(vec![fixed(*state, text, annotations)]),
            ReportSource::Workflow { id: None } => Ok(Vec::new()),
            ReportSource::Workflow { id: Some(id) } => match self.engine.queries().states_of(id).await {
                Ok(workflow) => {
                    let mut wanted = of_run(&record.key, &record.choice, &workflow);
                    if let (Some(why), Some(run)) = (&record.refused, wanted.first_mut()) {
                        (run.state, run.description) = (TargetState::Invalid, why.clone());
                    }
                    Ok(wanted)
                }
                // It was deleted: what was told stays.
                Err(EngineError::WorkflowNotFound(_)) => Ok(Vec::new()),
                Err(error) => Err(error),
            },
        }
    }

    /// Sends some states at once. Returns those that were answered, and how the worst of the requests ended.
    async fn send(
        self,
        link: &Link,
        record: &ReportRecord,
        todo: Vec<WantedState>,
    ) -> Result<(Vec<(WantedState, StateAnswer)>, Round)> {
        let forge = self.port()?;
        let (allowed, until) = self.take_writes(link, &todo).await?;
        let mut round = until.map_or(Round::Answered, Round::Until);
        if !record.has_time(self.engine.now()) {
            // Taking the writes took long. What is sent now could land after another reporter has sent something newer.
            return Ok((Vec::new(), Round::NoAnswer));
        }
        let requests = todo.into_iter().take(allowed).map(|wanted| {
            let update = self.update_of(record, &wanted);
            let forge = forge.clone();
            async move { (wanted, forge.send_state(link, &update).await) }
        });
        let results: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
        let mut answers = Vec::new();
        for (wanted, result) in results {
            match result {
                Ok(told) => {
                    self.note_left(link, &told).await?;
                    answers.push((wanted, told));
                }
                Err(ForgeError::NoAnswer(_)) => round = Round::NoAnswer,
                Err(_) if matches!(round, Round::NoAnswer) => {}
                Err(ForgeError::Gone(why)) => round = Round::GaveUp(why),
                Err(error @ ForgeError::NoCommit) => {
                    round = Round::Wait { after: None, longest: NO_COMMIT, text: error.to_string() };
                }
                Err(ForgeError::Busy { retry_after, text }) => {
                    self.pause_until(link, retry_after.map(|after| self.engine.now() + after)).await?;
                    round = Round::Wait { after: retry_after, longest: GIVE_UP, text };
                }
                Err(error @ (ForgeError::Refused(_) | ForgeError::BadAnswer(_) | ForgeError::NoCredentials(_))) => {
                    round = Round::Wait { after: None, longest: GIVE_UP, text: error.to_string() };
                }
            }
        }
        Ok((answers, round))
    }

    fn update_of(self, record: &ReportRecord, wanted: &WantedState) -> StateUpdate {
        let page = self.engine.public_url().map(|base| match &record.source {
            ReportSource::Workflow { id: Some(id) } => format!("{base}/#/runs/{id}"),
            ReportSource::Workflow { id: None } => base.to_owned(),
            // Where the commit can be approved, and what became of its delivery.
            ReportSource::Fixed { .. } => format!("{base}/#/forges/{}", record.key.repository.link),
        });
        StateUpdate {
            commit: record.key.commit.clone(),
            name: wanted.name.clone(),
            state: wanted.state,
            description: wanted.description.clone(),
            summary: wanted.summary.clone(),
            annotations: wanted.annotations.clone(),
            url: page,
            external_id: ExternalId::of(&record.key),
            name_of_ref: record.change.name.clone(),
            id: record.sent.get(&wanted.name).and_then(|sent| sent.id.clone()),
            started_at: wanted.started_at,
            ended_at: wanted.ended_at,
        }
    }
}

fn give_up(record: &mut ReportRecord, why: &str) {
    record.returned(None);
    record.given_up = Some(why.to_owned());
}

impl<P: ForgeStore> Forges<'_, P> {
    /// Changes a report while this holder has its lease. Returns `None` if somebody else has it.
    async fn change_held(
        self,
        key: &ReportKey,
        holder: &str,
        mut change: impl FnMut(&mut ReportRecord),
    ) -> Result<Option<ReportRecord>> {
        self.change_report(key, |stored| {
            let mut record = stored.filter(|stored| stored.is_held_by(holder))?.clone();
            change(&mut record);
            Some(record)
        })
        .await
    }

    async fn give_up(self, holder: &str, record: ReportRecord, why: &str) -> Result<()> {
        self.change_held(&record.key, holder, |record| give_up(record, why)).await.map(drop)
    }

    /// Changes the limits of a link's forge.
    async fn change_pause<T>(self, link: &Link, mut change: impl FnMut(&mut Pause) -> T) -> Result<T> {
        let (name, installation) = (link.name(), link.installation());
        let mut tries = 0;
        loop {
            let mut pause = self.engine.ports.pause(name, installation).await?.unwrap_or_default();
            let answer = change(&mut pause);
            pause.version += 1;
            tries += 1;
            // The limits are ours to keep, not to prove: after some races the request is sent all the same.
            if self.engine.ports.put_pause(name, installation, pause).await? || tries >= WRITES {
                return Ok(answer);
            }
        }
    }

    /// How many of these states may be sent now, and from when on the next one may.
    async fn take_writes(self, link: &Link, todo: &[WantedState]) -> Result<(usize, Option<Millis>)> {
        let now = self.engine.now();
        let take = |pause: &mut Pause| {
            for (allowed, wanted) in todo.iter().enumerate() {
                if let Err(until) = pause.take(wanted.state, now) {
                    return (allowed, Some(until));
                }
            }
            (todo.len(), None)
        };
        self.change_pause(link, take).await
    }

    async fn pause_until(self, link: &Link, until: Option<Millis>) -> Result<()> {
        let Some(until) = until else { return Ok(()) };
        self.change_pause(link, |pause| pause.until = pause.until.max(Some(until))).await
    }

    async fn note_left(self, link: &Link, told: &StateAnswer) -> Result<()> {
        // Only a limit that is running out is worth a write.
        let Some(left) = told.left.filter(|left| left.requests < left.of / 4) else { return Ok(()) };
        self.change_pause(link, |pause| pause.left = Some(left)).await
    }
}
