//! Receiving and handling deliveries.

use std::time::Duration;

use protocol::LinkName;

use super::outcome::{DeliveryOutcome, Start};
use crate::Forges;
use crate::error::{EngineError, Result};
use crate::forge::change::{Change, asks_to_skip};
use crate::forge::event::{Incoming, PullAction, Push, Signal};
use crate::forge::link::{ForgeKind, Link};
use crate::forge::names::{CommitId, EventName, GitRef, RepositoryKey, Subject};
use crate::forge::ports::PullRequest;
use crate::forge::records::{Delivery, DeliveryKey, DeliveryState, RefRecord};
use crate::forge::ref_rule::{Acceptance, Observed, RefDecision, next_look};
use crate::forge::store::ForgeStore;
use crate::planted::Bug;
use crate::ports::{ArtifactStore, AuditStore, Dispatcher, JobStore, RunStore, WorkerRegistry};

/// The delay after a failure that may pass.
const LATER: Duration = Duration::from_secs(30);
/// A delivery that can't be handled for this long has failed.
const TRIED: Duration = Duration::from_hours(24);

/// The answer to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is stored, and handled later.
    Stored(DeliveryKey),
    /// It starts nothing, and nothing was stored.
    Ignored(String),
}

impl<P: ForgeStore> Forges<'_, P> {
    /// Stores a delivery whose signature was checked. One write.
    ///
    /// # Errors
    /// The store failed. Then the forge must be answered that its delivery failed.
    pub async fn receive(self, name: &LinkName, incoming: Incoming) -> Result<Received> {
        let links = self.engine.ports.links(name).await?;
        if !links.iter().any(|link| link.key.repository == incoming.repository) {
            return Ok(Received::Ignored(format!("the repository {} is not linked", incoming.name)));
        }
        self.store_new(name, incoming).await.map(Received::Stored)
    }

    pub(super) async fn store_new(self, name: &LinkName, incoming: Incoming) -> Result<DeliveryKey> {
        let now = self.engine.now();
        let key = DeliveryKey::new(name.clone(), now, self.engine.random());
        self.engine.ports.put_delivery(Delivery::new(key.clone(), incoming)).await?;
        Ok(key)
    }

    /// Starts what a push to this branch or tag would start. Returns the delivery that stands for it.
    ///
    /// # Errors
    /// [`EngineError::NoLink`].
    pub async fn start(
        self,
        name: &LinkName,
        repository: Option<&str>,
        at: GitRef,
        commit: Option<CommitId>,
    ) -> Result<DeliveryKey> {
        let link = self.linked(name, repository).await?;
        let actor = self.engine.caller.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let incoming = Incoming {
            id: hex::encode(self.engine.random()),
            repository: link.key.repository,
            name: link.repository,
            signal: Signal::Start { name: at, commit, actor },
        };
        self.store_new(name, incoming).await
    }

    /// The deliveries of a link, newest first.
    pub async fn deliveries(self, name: &LinkName, after: Option<&DeliveryKey>, limit: usize) -> Result<Vec<Delivery>> {
        Ok(self.engine.ports.deliveries(name, after, limit).await?)
    }

    /// Puts a delivery off after an error, unless somebody else has handled it meanwhile.
    pub(super) async fn handle_later(self, key: &DeliveryKey, error: &EngineError) -> Result<()> {
        let Some(mut delivery) = self.engine.ports.delivery(key).await? else { return Ok(()) };
        if delivery.state != DeliveryState::New {
            return Ok(());
        }
        let now = self.engine.now();
        let passes = match error {
            EngineError::Forge(error) => error.may_pass(),
            EngineError::Store(_) | EngineError::Moved(_) | EngineError::Contended(_) => true,
            _ => false,
        };
        delivery.reason = Some(error.to_string());
        if passes && now.since(key.at) < TRIED {
            delivery.due = Some(now + LATER);
        } else {
            (delivery.state, delivery.due) = (DeliveryState::Failed, None);
        }
        Ok(self.engine.ports.put_delivery(delivery).await?)
    }
}

impl<P: ForgeStore + AuditStore + RunStore + JobStore + ArtifactStore + WorkerRegistry + Dispatcher> Forges<'_, P> {
    /// Handles a delivery: asks the forge, decides, and submits what the files at the commit say. A repeated call has no further
    /// effect.
    ///
    /// # Errors
    /// A store or the forge failed. The delivery is as it was.
    pub async fn handle(self, key: &DeliveryKey) -> Result<()> {
        let Some(mut delivery) = self.engine.ports.delivery(key).await? else { return Ok(()) };
        if delivery.state != DeliveryState::New {
            return Ok(());
        }
        let repository = RepositoryKey { link: key.link.clone(), repository: delivery.incoming.repository };
        let outcome = match self.link(&repository).await? {
            None => Some(DeliveryOutcome::ignored("the link was removed")),
            Some(link) => {
                if let Some(link) = self.renamed(link, &delivery.incoming.name).await? {
                    self.decide(&link, &mut delivery).await?
                } else {
                    let name = &delivery.incoming.name;
                    Some(DeliveryOutcome::ignored(format!("the forge says that {name} is another repository")))
                }
            }
        };
        let Some(outcome) = outcome else {
            let delay = next_look(delivery.looks).unwrap_or(LATER);
            delivery.looks += 1;
            delivery.due = Some(self.engine.now() + delay);
            return Ok(self.engine.ports.put_delivery(delivery).await?);
        };
        delivery.commit = outcome.change.map(|change| change.commit).or(delivery.commit);
        (delivery.state, delivery.reason, delivery.due) = (outcome.state, outcome.reason, None);
        Ok(self.engine.ports.put_delivery(delivery).await?)
    }

    /// The link with the repository's present name, if the forge says that this name has the link's number. A payload's name is only a
    /// hint: who has the webhook's secret could name any repository that the link's token can read.
    async fn renamed(self, link: Link, name: &str) -> Result<Option<Link>> {
        if link.repository == name || name.is_empty() {
            return Ok(Some(link));
        }
        let renamed = Link { repository: name.to_owned(), ..link };
        let found = self.port()?.repository(&renamed).await?;
        if found.number != renamed.key.repository {
            return Ok(None);
        }
        let renamed = Link { repository: found.name, ..renamed };
        self.engine.ports.put_link(renamed.clone()).await?;
        Ok(Some(renamed))
    }

    /// What becomes of a delivery. `None`: the forge is asked again later.
    async fn decide(self, link: &Link, delivery: &mut Delivery) -> Result<Option<DeliveryOutcome>> {
        let incoming = delivery.incoming.clone();
        match incoming.signal {
            Signal::Push(push) => self.decide_push(link, delivery, &push).await,
            Signal::PullRequest { number, action: PullAction::Closed, .. } => {
                let drop_held = |record: &mut RefRecord| (record.held.take().is_some(), record.version > 0);
                let dropped = self.change_ref(link, &Subject::Pull(number), drop_held).await?;
                Ok(Some(DeliveryOutcome::ignored(if dropped {
                    "it was closed; what was held is dropped"
                } else {
                    "it was closed"
                })))
            }
            Signal::PullRequest { number, head, .. } => self.decide_pull(link, delivery, number, head.as_ref()).await,
            // The rule is that of the base, and the name alone ties it to the branch whose head the forge is asked for.
            Signal::MergeGroup { name, base_ref, .. } if !name.is_of_queue_for(&base_ref) => {
                let reason = format!("{name} is no branch of a merge queue for {base_ref}");
                Ok(Some(DeliveryOutcome::ignored(reason)))
            }
            Signal::MergeGroup { name, head, base, base_ref, actor } => {
                let push = Push {
                    name: name.clone(),
                    before: None,
                    after: Some(head.clone()),
                    actor: actor.clone(),
                    first_line: None,
                };
                let change = Change {
                    event: EventName::MergeGroup,
                    subject: Subject::Ref(name.clone()),
                    seq: 0,
                    name: Some(name),
                    commit: head,
                    before: None,
                    base: Some(base_ref),
                    base_commit: Some(base),
                    pull_request: None,
                    fork: false,
                    actor,
                };
                self.decide_ref(link, delivery, &push, change).await
            }
            Signal::Start { name, commit, actor } => self.decide_start(link, delivery, name, commit, actor).await,
            Signal::Approve { commit, check, actor } => {
                self.decide_approve(link, delivery, &commit, &check, &actor).await
            }
            Signal::Approved { number, commit, actor } => {
                self.run_approved(link, delivery, number, &commit, &actor).await
            }
            Signal::Rerequested { commit, check, .. } => self.rerun(link, &commit, check.as_ref()).await.map(Some),
        }
    }

    async fn decide_push(self, link: &Link, delivery: &mut Delivery, push: &Push) -> Result<Option<DeliveryOutcome>> {
        let Some(after) = &push.after else { return Ok(Some(DeliveryOutcome::ignored("the ref was deleted"))) };
        if push.name.is_of_queue() {
            return Ok(Some(DeliveryOutcome::ignored("a merge queue's branch has its own event")));
        }
        if push.name.branch().is_some() && push.first_line.as_deref().is_some_and(asks_to_skip) {
            delivery.commit = Some(after.clone());
            return Ok(Some(DeliveryOutcome::ignored("the commit's first line asks to start nothing")));
        }
        self.decide_ref(link, delivery, push, change_of_push(push, after)).await
    }

    /// Decides about a delivery that says where a ref is.
    async fn decide_ref(
        self,
        link: &Link,
        delivery: &mut Delivery,
        push: &Push,
        change: Change,
    ) -> Result<Option<DeliveryOutcome>> {
        let Some(after) = &push.after else { return Ok(None) };
        delivery.commit = Some(after.clone());
        let subject = change.subject.clone();
        let record = self.engine.ports.ref_record(&link.key, &subject).await?;
        let now = self.engine.now();
        let known = record.and_then(|record| record.known(&delivery.incoming.id, after, now));
        let answer = match known {
            Some(_) => None,
            None => self.port()?.ref_head(link, &push.name).await?,
        };
        let (id, receipt, looks) = (delivery.incoming.id.clone(), delivery.key.id.clone(), delivery.looks);
        let (before, answer) = (push.before.as_ref(), answer.as_ref());
        let observed = Observed { id: &id, receipt: &receipt, before, after, answer, looks };
        let decide = |record: &mut RefRecord| {
            let before = record.clone();
            let by_id = self.engine.has(Bug::IdsAlone) && record.known(&id, after, now).is_none();
            let mut decision = if by_id { record.accept(observed, now) } else { record.decide_push(observed, now) };
            let overtaken = matches!(decision, RefDecision::Continues(accepted) if accepted.seq < record.seq);
            if overtaken && self.engine.has(Bug::OvertakenForgotten) {
                decision = RefDecision::Repeat;
            }
            (decision, *record != before)
        };
        let decision = self.change_ref(link, &subject, decide).await?;
        self.follow(link, delivery, decision, change, false).await
    }

    async fn decide_pull(
        self,
        link: &Link,
        delivery: &mut Delivery,
        number: u64,
        hint: Option<&CommitId>,
    ) -> Result<Option<DeliveryOutcome>> {
        let Some(pull) = self.port()?.pull_request(link, number).await? else {
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Late, "there is no such pull request")));
        };
        if !pull.open {
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Late, "it is closed")));
        }
        if pull.fork && link.forge == ForgeKind::Gitlab {
            return Ok(Some(DeliveryOutcome::ignored(
                "GitLab shows only what the fork reports; a merge request from a fork isn't started",
            )));
        }
        delivery.commit = Some(pull.head.clone());
        let (id, receipt, looks) = (delivery.incoming.id.clone(), delivery.key.id.clone(), delivery.looks);
        let (after, now) = (hint.unwrap_or(&pull.head), self.engine.now());
        let observed = Observed { id: &id, receipt: &receipt, before: None, after, answer: Some(&pull.head), looks };
        let decide = |record: &mut RefRecord| {
            let before = record.clone();
            let decision = record.decide_pull(observed, &pull.base_ref, now);
            // Approved before this delivery was handled. If only the base is another, whose rule may give more, somebody approves again.
            let is_new = before.head.as_ref() != Some(&pull.head);
            let approved = pull.fork && is_new && record.approved.contains(&pull.head);
            ((decision, approved), *record != before)
        };
        let (decision, approved) = self.change_ref(link, &Subject::Pull(number), decide).await?;
        let actor = match &delivery.incoming.signal {
            Signal::PullRequest { actor, .. } => actor.clone(),
            _ => pull.author.clone(),
        };
        self.follow(link, delivery, decision, change_of_pull(pull, actor), approved).await
    }

    async fn decide_start(
        self,
        link: &Link,
        delivery: &mut Delivery,
        name: GitRef,
        commit: Option<CommitId>,
        actor: String,
    ) -> Result<Option<DeliveryOutcome>> {
        let Some(head) = self.port()?.ref_head(link, &name).await? else {
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Failed, format!("there is no {name}"))));
        };
        if let Some(commit) = commit.filter(|commit| *commit != head) {
            let reason = format!("{name} is at {head}, not at {commit}");
            return Ok(Some(DeliveryOutcome::of(DeliveryState::Failed, reason)));
        }
        let push = Push { name, before: None, after: Some(head.clone()), actor, first_line: None };
        let change = change_of_push(&push, &head);
        let (id, receipt, now) = (delivery.incoming.id.clone(), delivery.key.id.clone(), self.engine.now());
        let answer = Some(&head);
        let observed = Observed { id: &id, receipt: &receipt, before: None, after: &head, answer, looks: 0 };
        let accept = |record: &mut RefRecord| match record.known(&id, &head, now) {
            Some(known) => (known, false),
            None => (record.accept(observed, now), true),
        };
        let decision = self.change_ref(link, &change.subject, accept).await?;
        self.follow(link, delivery, decision, change, false).await
    }

    /// Acts on a decision. `approved` is true if somebody approved the commit of a fork.
    async fn follow(
        self,
        link: &Link,
        delivery: &mut Delivery,
        decision: RefDecision,
        change: Change,
        approved: bool,
    ) -> Result<Option<DeliveryOutcome>> {
        Ok(match decision {
            RefDecision::LookAgain => None,
            RefDecision::Repeat => Some(DeliveryOutcome::of(DeliveryState::Repeat, "this change was handled before")),
            RefDecision::Late => Some(DeliveryOutcome::of(DeliveryState::Late, "the ref had moved on")),
            RefDecision::Accepted(Acceptance { seq, at }) | RefDecision::Continues(Acceptance { seq, at }) => {
                let start = Start { change: Change { seq, ..change }, accepted_at: at, approved };
                Some(Box::pin(self.start_files(link, delivery, start)).await?)
            }
        })
    }
}

fn change_of_push(push: &Push, after: &CommitId) -> Change {
    Change {
        event: if push.name.tag().is_some() { EventName::Tag } else { EventName::Push },
        subject: Subject::Ref(push.name.clone()),
        seq: 0,
        name: Some(push.name.clone()),
        commit: after.clone(),
        before: push.before.clone(),
        base: None,
        base_commit: None,
        pull_request: None,
        fork: false,
        actor: push.actor.clone(),
    }
}

/// The change as the forge says it is. Its number is set when it is accepted.
pub(super) fn change_of_pull(pull: PullRequest, actor: String) -> Change {
    Change {
        event: EventName::PullRequest,
        subject: Subject::Pull(pull.number),
        seq: 0,
        name: pull.head_ref,
        commit: pull.head,
        before: None,
        base: Some(pull.base_ref),
        base_commit: Some(pull.base),
        pull_request: Some(pull.number),
        fork: pull.fork,
        actor,
    }
}
