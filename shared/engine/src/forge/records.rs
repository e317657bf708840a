//! The stored records: deliveries, refs, reports, pauses and failed deliveries.
//!
//! Refs and reports have a version. A write names the version that it replaces, and is refused if there is another.

use std::collections::BTreeMap;

use protocol::{LinkName, Millis, WorkflowId};
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::event::Incoming;
use super::names::{CommitId, GitRef, ReportKey, RepositoryKey, Subject};
use super::state::{Annotation, TargetState};
use crate::ids::Random;

/// The key of a delivery: its link, and a place in the list of the link's deliveries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryKey {
    /// The link.
    pub link: LinkName,
    /// When it came in.
    pub at: Millis,
    /// 32 hexadecimal digits.
    pub id: String,
}

impl DeliveryKey {
    /// Creates the key of a delivery that came in now.
    #[must_use]
    pub fn new(link: LinkName, at: Millis, random: Random) -> Self {
        Self { link, at, id: hex::encode(random) }
    }

    /// The delivery's place in its link's list, which is its id for people: `<milliseconds, 13 digits>-<id>`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{:013}-{}", self.at.0, self.id)
    }

    /// Parses what [`Self::place`] wrote.
    #[must_use]
    pub fn parse(link: &LinkName, place: &str) -> Option<Self> {
        let (at, id) = place.split_once('-')?;
        let key = Self { link: link.clone(), at: Millis(at.parse().ok()?), id: id.to_owned() };
        (key.place() == place && id.len() == 32).then_some(key)
    }
}

/// A delivery. It is kept for 30 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its key.
    pub key: DeliveryKey,
    /// What it says.
    pub incoming: Incoming,
    /// What became of it.
    pub state: DeliveryState,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The commit that it is about, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// The workflows that it started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<WorkflowId>,
    /// How often it was looked at without a result.
    #[serde(default)]
    pub looks: u32,
    /// When it is looked at again, while it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Millis>,
}

impl Delivery {
    /// A delivery that has just come in, and is due.
    #[must_use]
    pub fn new(key: DeliveryKey, incoming: Incoming) -> Self {
        let due = Some(key.at);
        let (state, reason, commit, workflows) = (DeliveryState::New, None, None, Vec::new());
        Self { key, incoming, state, reason, commit, workflows, looks: 0, due }
    }
}

/// What became of a delivery.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumString, strum::AsRefStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DeliveryState {
    /// It isn't handled yet.
    New,
    /// It was accepted. Workflows may have been started.
    Accepted,
    /// Another delivery of the same change was handled before.
    Repeat,
    /// The ref had moved on. It started nothing.
    Late,
    /// It starts nothing by the rules: a deleted ref, `[skip ci]`, no file with such an event.
    Ignored,
    /// A commit of a fork waits for an approval.
    Held,
    /// It couldn't be handled. The reason says why.
    Failed,
}

/// A push that was seen: where the ref was and where it is since.
pub type Pair = (Option<CommitId>, CommitId);

/// A delivery that was accepted, or that repeats an accepted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownId {
    /// The forge's id of the delivery. It isn't signed, so it counts only with the commit.
    pub id: String,
    /// The commit that was accepted.
    pub commit: CommitId,
    /// The number that the change was accepted under.
    pub seq: u64,
    /// When it was accepted.
    pub at: Millis,
    /// True if another delivery had the change accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeats: bool,
}

/// What is known of a branch, a tag or a pull request. It is kept for 90 days after the last acceptance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    /// The repository.
    pub repository: RepositoryKey,
    /// The ref.
    pub subject: Subject,
    /// The last commit that was accepted.
    pub head: Option<CommitId>,
    /// For a pull request: the base branch as of the last acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<GitRef>,
    /// How many were accepted.
    pub seq: u64,
    /// When the last was accepted.
    pub at: Millis,
    /// The last 16 pushes, latest last.
    pub pairs: Vec<Pair>,
    /// The last 16 deliveries that were accepted, or repeat an accepted one, latest last.
    pub ids: Vec<KnownId>,
    /// The last 16 deliveries that were late, by their ids here: nobody who handles one at the same time may accept it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<String>,
    /// The commit of a fork that waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<CommitId>,
    /// The commits of a fork that were approved last, latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<CommitId>,
    /// Counts the writes. 0: it isn't stored.
    pub version: u64,
}

/// The states of one file at one commit. Kept for 90 days after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// Its key.
    pub key: ReportKey,
    /// The change whose run reports.
    pub change: Change,
    /// What is told.
    pub source: ReportSource,
    /// When the change was accepted whose run reports. A later one takes the report over.
    pub accepted_at: Millis,
    /// Which states are told.
    #[serde(default)]
    pub choice: ReportChoice,
    /// When somebody has to look at it. `None`: there is nothing to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Millis>,
    /// Counts the changes that were noticed. The holder of the lease looks again if it has grown.
    pub asked: u64,
    /// The lease of whoever tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<ReporterLease>,
    /// What the forge was told last, by the name of the state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sent: BTreeMap<String, Sent>,
    /// Why the run wasn't run again when somebody asked for that. The run's own state is then told as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Failures in a row.
    #[serde(default)]
    pub tries: u32,
    /// Since when sending fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Millis>,
    /// Why nothing more is told, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<String>,
    /// Counts the writes. 0: it isn't stored.
    pub version: u64,
}

/// What a report tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportSource {
    /// The states of a workflow's current run. `None` until it is submitted.
    Workflow {
        /// The workflow.
        id: Option<WorkflowId>,
    },
    /// A state without a run.
    Fixed {
        /// Held, not valid or left out.
        state: TargetState,
        /// Why, for people.
        text: String,
        /// Problems at their lines.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<Annotation>,
    },
}

/// Which states are told: `report` of the workflow file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportChoice {
    /// The run, and each job if there are at most 50.
    #[default]
    All,
    /// The run alone.
    Run,
    /// The run and these jobs.
    Jobs(Vec<String>),
}

/// The lease of whoever tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReporterLease {
    /// 32 random hexadecimal digits.
    pub holder: String,
    /// When it ends. What an ended lease has sent is unsure.
    pub until: Millis,
}

/// A state that the forge was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The state. `None`: unsure, so it is sent again.
    pub state: Option<TargetState>,
    /// A hash of the texts that were sent with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub texts: String,
    /// The id that the forge gave the state, such as a check run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The limits of a forge for one link: until when nothing is sent, and what is left of the hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Nothing is sent before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Millis>,
    /// The beginning of the minute that `writes` counts.
    pub minute: u64,
    /// The states sent in that minute.
    pub writes: u32,
    /// What the forge said is left of the hour, and of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// Counts the writes of this record. 0: it isn't stored.
    pub version: u64,
}

/// An App's deliveries that failed: since when the forge is asked for them, and how often each was asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    /// Failures before this time were handled.
    pub since: Millis,
    /// When the forge was asked last. 0: never.
    pub asked_at: Millis,
    /// When it is asked again. `None`: no link has the App.
    pub due: Option<Millis>,
    /// The deliveries that were asked for again and may fail again, by the id that stays the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub again: BTreeMap<String, Again>,
    /// Counts the writes of this record. 0: it isn't stored.
    pub version: u64,
}

/// How often a delivery was asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// How often.
    pub times: u32,
    /// When last.
    pub at: Millis,
}

/// What is left of a forge's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Requests left.
    pub requests: u32,
    /// Requests in all.
    pub of: u32,
    /// When the count begins anew.
    pub resets_at: Millis,
}
