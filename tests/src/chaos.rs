//! Injects kills, pauses and message loss.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::emulator::Emulator;
use crate::fault_proxy::FaultProxy;
use crate::program::signal;
use crate::{between, eventually};

/// A request to each function with routes. None of them changes anything.
const HARMLESS: [(&str, &str); 4] = [
    ("POST", "/api/workflows"),
    ("POST", "/api/jobs/claim"),
    ("POST", "/api/jobs/nothing-there/heartbeat"),
    ("GET", "/api/pools"),
];
/// Good answers in a row before a function is used: during a change of configuration an emulator may answer 502.
const GOOD_ANSWERS: usize = 10;

/// Services that functions call through [`FaultProxy`].
const SERVICES: [&str; 3] = ["DYNAMODB", "SQS", "S3"];

/// Chaos on the functions of an emulator: their calls fail, their processes are killed, and messages of the queue of batch
/// tasks are deleted.
pub struct Chaos {
    cloud: Cloud,
    emulator: &'static Emulator,
    fault_proxy: FaultProxy,
    /// The original configuration of the functions.
    before: Vec<(String, Value)>,
    killed: usize,
    deleted: usize,
}

impl Chaos {
    /// Makes the functions call AWS through [`FaultProxy`].
    pub async fn begin(cloud: &Cloud, emulator: &'static Emulator) -> Self {
        let fault_proxy = FaultProxy::start(emulator.endpoint()).await;
        let mut before = Vec::new();
        for function in emulator.functions(&cloud.http).await {
            let variables = emulator.variables(&cloud.http, &function).await;
            let mut chaos = variables.clone();
            for service in SERVICES {
                chaos[format!("AWS_ENDPOINT_URL_{service}")] = json!(fault_proxy.url);
            }
            emulator.set_variables(&cloud.http, &function, &chaos).await;
            before.push((function, variables));
        }
        Self { cloud: cloud.clone(), emulator, fault_proxy, before, killed: 0, deleted: 0 }
    }

    /// Kills and deletes until it is dropped.
    pub async fn go_on(&mut self) {
        let http = self.cloud.http.clone();
        let queue = self.emulator.queue(&http, &format!("{}-batches", self.emulator.stack())).await;
        loop {
            tokio::time::sleep(Duration::from_millis(between(100, 1000))).await;
            match between(0, 9) {
                0..4 => self.killed += usize::from(kill_a_function(self.emulator).await),
                4..7 => self.deleted += usize::from(self.emulator.receive_at_once(&http, &queue).await.is_some()),
                // The sweep runs more often than once a minute here.
                _ => self.emulator.sweep_if_it_can(&http).await,
            }
        }
    }

    /// Restores the functions, and prints the counts of faults.
    pub async fn end(self) -> String {
        for (function, variables) in &self.before {
            self.emulator.set_variables(&self.cloud.http, function, variables).await;
        }
        for (function, _) in &self.before {
            self.emulator.until_updated(&self.cloud.http, function).await;
        }
        for (method, path) in HARMLESS {
            eventually("a function that was configured anew answers", async || {
                for _ in 0..GOOD_ANSWERS {
                    let answer = self.cloud.send(method, path, "application/json", "{}").await;
                    if answer.status.is_server_error() {
                        return None;
                    }
                }
                Some(())
            })
            .await;
        }
        format!(
            "{} functions killed, {} messages deleted, of the functions' calls {}",
            self.killed,
            self.deleted,
            self.fault_proxy.summary()
        )
    }

    /// Counts of killed functions and deleted messages, and of faults in calls.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.killed, self.deleted, self.fault_proxy.faults()]
    }
}

/// Kills a process that runs one of the stack's functions. Returns whether there was one.
async fn kill_a_function(emulator: &Emulator) -> bool {
    let processes = processes_of(emulator);
    if processes.is_empty() {
        return false;
    }
    let chosen = usize::try_from(between(0, processes.len() as u64 - 1)).expect("an index");
    signal(processes[chosen], "KILL").await
}

fn processes_of(emulator: &Emulator) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("Linux").flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|process| runs_a_function(*process, emulator)).collect()
}

fn runs_a_function(process: u32, emulator: &Emulator) -> bool {
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let value = |name: &str| {
        let variables = environment.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
        variables
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    value("AWS_LAMBDA_FUNCTION_NAME").is_some_and(|name| emulator.owns(&name))
        && value("AWS_ENDPOINT_URL").is_some_and(|url| url.trim_end_matches('/') == emulator.endpoint())
}
