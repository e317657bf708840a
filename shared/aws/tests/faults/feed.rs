//! What runs the engine elsewhere: the change feed, the queue and the clock. They are not what is disturbed.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use aws::{Aws, events};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use engine::ids::{JobIndex, RunKey};
use engine::job::{JobRecord, Phase};
use engine::messages::ChangeEvent;
use engine::ports::{Consistency, JobStore, RunStore, StoreError};
use engine::run::{Control, RunState, Timer};
use engine::{Engine, EngineError};
use protocol::Millis;

use crate::{Found, Tally};

/// What the sweep, which comes every minute, finds overdue.
const SWEPT: Duration = Duration::from_secs(10);
/// A timer that is due later than this is the look that every run gets in the end.
const SOON: Duration = Duration::from_mins(1);
const A_MOMENT: Duration = Duration::from_millis(100);

/// A run's records as they are.
pub struct Run {
    pub control: Control,
    pub jobs: Vec<JobRecord>,
}

/// The feed's and the queue's side of a course.
pub struct Feed {
    pub engine: Engine<Aws>,
    /// Undisturbed.
    pub plain: Engine<Aws>,
    pub sqs: aws_sdk_sqs::Client,
    pub queue: String,
    told: Mutex<HashSet<(RunKey, News)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum News {
    Opened,
    Cancelling,
    Ended(JobIndex),
}

impl Feed {
    pub fn new(engine: Engine<Aws>, plain: Engine<Aws>, sqs: aws_sdk_sqs::Client, queue: String) -> Self {
        Self { engine, plain, sqs, queue, told: Mutex::default() }
    }

    pub async fn runs(&self, keys: &[RunKey]) -> Found<Vec<Run>> {
        let ports = self.plain.ports();
        let mut runs = Vec::new();
        for key in keys {
            let control = ports.control(key, Consistency::Strong).await.map_err(|error| error.to_string())?;
            let jobs = ports.jobs_from(key, 0, 1000, Consistency::Strong).await.map_err(|error| error.to_string())?;
            if let Some(control) = control {
                runs.push(Run { control, jobs });
            }
        }
        Ok(runs)
    }

    /// Tells what changed and wasn't told yet; whether there was any. What can't be handled is told again.
    pub async fn tell(&self, runs: &[Run], tally: &Tally) -> Found<bool> {
        let mut any = false;
        for (key, event) in runs.iter().flat_map(news) {
            if self.told.lock().expect("nobody panicked").contains(&key) {
                continue;
            }
            any = true;
            match self.engine.scheduling().on_change_or_reconcile(&event).await {
                Ok(()) => drop(self.told.lock().expect("nobody panicked").insert(key)),
                Err(EngineError::Store(StoreError::Unavailable(_))) => tally.repeated(),
                Err(error) => return Err(format!("telling {:?}: {error}", event.place())),
            }
        }
        Ok(any)
    }

    pub fn all_told(&self, runs: &[Run]) -> bool {
        let told = self.told.lock().expect("nobody panicked");
        runs.iter().flat_map(news).all(|(key, _)| told.contains(&key))
    }

    /// Does what the queue's messages ask for, as the function on it would; whether there were any.
    pub async fn pump(&self, tally: &Tally) -> Found<bool> {
        let call = self.sqs.receive_message().queue_url(&self.queue).max_number_of_messages(10);
        let call = call.message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
        let messages = call.send().await.map_err(|error| format!("{error:?}"))?.messages.unwrap_or_default();
        let any = !messages.is_empty();
        for message in messages {
            let body = message.body.unwrap_or_default();
            let asked = events::message(&body).map_err(|error| error.to_string())?;
            let count = message.attributes.and_then(|attributes| {
                attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse::<u32>().ok()
            });
            let receipt = message.receipt_handle.unwrap_or_default();
            match self.engine.scheduling().on_message(asked, count.is_none_or(|count| count > 1)).await {
                Ok(()) => {
                    let call = self.sqs.delete_message().queue_url(&self.queue).receipt_handle(receipt);
                    call.send().await.map_err(|error| format!("{error:?}"))?;
                }
                Err(EngineError::Store(StoreError::Unavailable(_))) => {
                    tally.repeated();
                    let call = self.sqs.change_message_visibility().queue_url(&self.queue).receipt_handle(receipt);
                    call.visibility_timeout(0).send().await.map_err(|error| format!("{error:?}"))?;
                }
                Err(error) => return Err(format!("message {body}: {error}")),
            }
        }
        Ok(any)
    }

    /// Nothing is to be done now: a moment passes. Where nothing would come of it for minutes, the sweep or the look
    /// that every run gets after a quarter of an hour comes at once.
    pub async fn wait(&self, runs: &[Run], tally: &Tally) -> Found<()> {
        let now = self.plain.now();
        for run in runs.iter().filter(|run| run.control.state.is_active()) {
            let overdue = match run.control.timer {
                Timer::Firing => true,
                Timer::Due(at) => now.since(at) > SWEPT,
                Timer::Off => false,
            };
            if overdue {
                tally.swept();
                self.plain.timers().sweep().await.map_err(|error| error.to_string())?;
                continue;
            }
            let soon = matches!(run.control.timer, Timer::Due(at) if at < now + SOON);
            if !soon && !run.jobs.iter().any(|job| is_live(job, now)) {
                tally.looked_late(stuck(run));
                self.plain.scheduling().on_timer(&run.control.run, true).await.map_err(|error| error.to_string())?;
            }
        }
        tokio::time::sleep(A_MOMENT).await;
        Ok(())
    }
}

fn is_live(job: &JobRecord, now: Millis) -> bool {
    matches!(&job.phase, Phase::Running(hold) if hold.until > now)
}

/// What a run hangs on.
pub fn stuck(run: &Run) -> String {
    let jobs = run.jobs.iter().filter(|job| !job.is_ended());
    let jobs: Vec<String> = jobs.map(|job| format!("{} {:?}", job.id, job.phase)).collect();
    format!("run {:?}, timer {:?}, jobs {jobs:?}", run.control.state, run.control.timer)
}

fn news(run: &Run) -> Vec<((RunKey, News), ChangeEvent)> {
    let of = |news| (run.control.run.clone(), news);
    let mut all = Vec::new();
    match run.control.state {
        RunState::Open => all.push((of(News::Opened), ChangeEvent::RunOpened(run.control.clone()))),
        RunState::Cancelling => all.push((of(News::Cancelling), ChangeEvent::RunCancelling(run.control.clone()))),
        RunState::New | RunState::Blocked | RunState::Final => {}
    }
    let ended = run.jobs.iter().filter(|job| job.is_ended());
    all.extend(ended.map(|job| (of(News::Ended(job.key.index)), ChangeEvent::JobEnded(Box::new(job.clone())))));
    all
}
