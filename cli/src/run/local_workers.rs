//! The workers of `wfg run`: starts them and checks that they cover the labels of all jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use engine::eligibility::{Eligible, admits};
use protocol::{JobId, LabelSet, WorkerId, limits};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use worker::{Shutdown, Token, Worker, WorkerConfig, WorkerError};
use workflow::{Definition, JobDefinition};

use crate::text::{all_of, count};

/// Long enough that a machine may sleep: a worker in this process isn't lost without the engine.
const LEASE_TTL_SECS: u32 = *limits::LEASE_TTL_SECS.end();

/// The workers of a run, before they are started.
#[derive(Debug, PartialEq)]
pub struct LocalWorkers {
    members: Vec<Member>,
    /// Whether the user chose their labels.
    named: bool,
}

#[derive(Debug, PartialEq)]
struct Member {
    id: WorkerId,
    labels: LabelSet,
}

impl LocalWorkers {
    /// One worker for each set of labels that a job requires, the empty one included.
    pub fn required_by(definition: &Definition) -> Self {
        let sets: BTreeSet<&LabelSet> = definition.jobs.iter().map(|job| &job.settings.labels).collect();
        Self { members: members(sets.into_iter().cloned()), named: false }
    }

    /// One worker for each of these sets of labels.
    pub fn named(sets: Vec<LabelSet>) -> Self {
        Self { members: members(sets), named: true }
    }

    /// Explains which jobs none of them may take.
    pub fn lacks(&self, definition: &Definition) -> Option<String> {
        let mut stuck: BTreeMap<&LabelSet, Vec<&JobId>> = BTreeMap::new();
        for job in definition.jobs.iter().filter(|job| !self.may_take(job)) {
            stuck.entry(&job.settings.labels).or_default().push(&job.id);
        }
        if stuck.is_empty() {
            return None;
        }
        let mut text = String::new();
        for (labels, jobs) in &stuck {
            let verb = if jobs.len() == 1 { "requires" } else { "require" };
            let _ = writeln!(text, "no worker of this run may take {}, which {verb} {labels}:", all_of(jobs));
            for member in &self.members {
                let has = if member.labels.is_empty() { "no labels".to_owned() } else { member.labels.to_string() };
                let _ = writeln!(text, "  {} ({has}) lacks {}", member.id, labels.missing_from(&member.labels));
            }
        }
        let add: Vec<String> = stuck.keys().map(|labels| format!("--worker {}", comma_separated(labels))).collect();
        let _ = write!(
            text,
            "nothing was started; add {}, or leave --worker out to have one for each set of labels",
            add.join(" ")
        );
        Some(text)
    }

    fn may_take(&self, job: &JobDefinition) -> bool {
        let settings = &job.settings;
        self.members.iter().any(|member| {
            let worker = Eligible { labels: &member.labels, exclusive: self.is_exclusive(member), grant: None };
            admits(&settings.labels, &settings.secrets, worker).is_ok()
        })
    }

    /// Workers that were made for the file take only jobs with labels, if they have any.
    fn is_exclusive(&self, member: &Member) -> bool {
        !self.named && !member.labels.is_empty()
    }

    /// For programs.
    pub fn describe(&self, concurrency: usize) -> Value {
        let members = self.members.iter();
        members.map(|member| json!({ "id": member.id, "labels": member.labels, "concurrency": concurrency })).collect()
    }

    /// Starts all of them.
    pub fn start(&self, server_url: &str, secret: &str, concurrency: usize) -> WorkerHandles {
        let mut handles = WorkerHandles { tasks: JoinSet::new(), ends: Vec::new(), killed: false };
        for member in &self.members {
            let worker = Worker::new(WorkerConfig {
                server_url: server_url.to_owned(),
                token: Some(Token::from(secret)),
                worker_id: member.id.clone(),
                labels: member.labels.clone(),
                exclusive: self.is_exclusive(member),
                concurrency,
                lease_ttl_secs: Some(LEASE_TTL_SECS),
                poll: std::time::Duration::from_millis(50),
                log_flush: std::time::Duration::from_millis(50),
                ..WorkerConfig::default()
            });
            handles.ends.push(worker.shutdown());
            handles.tasks.spawn(worker.run());
        }
        handles
    }
}

impl fmt::Display for LocalWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = all_of(self.members.iter().map(|member| &member.id));
        write!(f, "{}: {ids}", count(self.members.len(), "worker"))
    }
}

/// Gives each worker an id made of its labels.
fn members(sets: impl IntoIterator<Item = LabelSet>) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for labels in sets {
        let name = if labels.is_empty() { "general".to_owned() } else { comma_separated(&labels).replace(',', "+") };
        let taken = |id: &WorkerId| members.iter().any(|member| member.id == *id);
        let number = members.len() + 1;
        let names = [name.clone(), format!("{name}-{number}"), format!("worker-{number}")];
        let id = names.into_iter().filter_map(|name| WorkerId::new(name).ok()).find(|id| !taken(id));
        members.extend(id.map(|id| Member { id, labels }));
    }
    members
}

fn comma_separated(labels: &LabelSet) -> String {
    if labels.is_empty() { "''".to_owned() } else { labels.to_string().replace(", ", ",") }
}

/// The running workers.
pub struct WorkerHandles {
    tasks: JoinSet<Result<(), WorkerError>>,
    ends: Vec<Shutdown>,
    killed: bool,
}

impl WorkerHandles {
    /// Resolves with the reason if a worker ends by itself, which is always an error.
    pub async fn failed(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(Err(error))) => return error.to_string(),
                Some(Err(error)) => return error.to_string(),
                // The workers that were asked to shut down.
                Some(Ok(Ok(()))) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Lets them claim no more jobs.
    pub fn drain(&self) {
        self.ends.iter().for_each(Shutdown::drain);
    }

    /// Stops the running jobs: SIGTERM, and SIGKILL after a while.
    pub fn stop(&self) {
        self.ends.iter().for_each(Shutdown::stop);
    }

    /// Kills the running jobs.
    pub async fn kill(&mut self) {
        self.killed = true;
        self.tasks.shutdown().await;
    }

    /// Whether they were killed.
    pub fn is_killed(&self) -> bool {
        self.killed
    }

    /// Resolves once all have ended.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{labels, lines};

    const DEPLOY: &str = "jobs:\n  build: {run: x}\n  test: {run: x}\n  stage: {labels: [staging], run: x}\n  \
                          prod: {labels: [docker, production], run: x}\n  prod2: {labels: [production, docker], run: x}\n";

    fn definition(text: &str) -> Definition {
        workflow::from_yaml(text).expect("good")
    }

    fn named(sets: &[&str]) -> LocalWorkers {
        LocalWorkers::named(sets.iter().map(|set| labels(set)).collect())
    }

    #[test]
    fn without_names_there_is_one_worker_for_each_set_of_labels() {
        let local_workers = LocalWorkers::required_by(&definition(DEPLOY));
        assert_eq!(local_workers.to_string(), "3 workers: general, docker+production and staging");
        assert_eq!(local_workers.lacks(&definition(DEPLOY)), None);
        assert_eq!(
            LocalWorkers::required_by(&definition("jobs: {a: {labels: [gpu], run: x}}")).to_string(),
            "1 worker: gpu"
        );
    }

    #[test]
    fn two_workers_with_the_same_labels_have_different_names() {
        assert_eq!(named(&["gpu", "gpu", "a/b"]).to_string(), "3 workers: gpu, gpu-2 and worker-3");
    }

    #[test]
    fn a_job_that_no_named_worker_may_take_is_explained() {
        let text = named(&["staging", "docker"]).lacks(&definition(DEPLOY)).expect("two jobs are stuck");
        let expected = [
            "no worker of this run may take prod and prod2, which require docker, production:",
            "  staging (staging) lacks docker, production",
            "  docker (docker) lacks production",
            "nothing was started; add --worker docker,production, or leave --worker out to have one for each set of labels",
        ];
        assert_eq!(text + "\n", lines(&expected));
        assert_eq!(named(&["staging", "production,docker"]).lacks(&definition(DEPLOY)), None);
    }
}
