//! Runs graphs through the real functions, one call after the other, and counts each call.

use std::collections::HashMap;
use std::future::Future;

use cost::{Call, Usage, WORKERS_GATEWAY};
use harness::{Cloud, Emulator, HeldLease, Run, Worker};
use protocol::limits;
use serde_json::json;

use crate::ledger::Ledger;
use crate::proxy::{MeterProxy, Sent};
use crate::sources::{Records, Sources};

/// The services that the functions call.
const SERVICES: [&str; 4] = ["DYNAMODB", "SQS", "S3", "SSM"];
/// The lease of every job, in seconds: what a stack recommends to workers.
pub const LEASE: u32 = limits::LEASE_ON_AWS_SECS;
/// Requests to the queue for a message that Lambda delivers: one receive and one delete. A batch of several messages would need fewer.
const DELIVERY: f64 = 2.0;

/// The functions of a stack with the meter in front of the emulator.
pub struct Driver {
    /// The API.
    pub cloud: Cloud,
    /// Counts the calls of the functions.
    pub proxy: MeterProxy,
    sources: Sources,
    /// Memory of each function, in GB.
    memory: HashMap<String, f64>,
    /// Messages with a delay, which are delivered when the measurement says so.
    timers: Vec<Sent>,
}

impl Driver {
    /// Puts the meter in front of the emulator that `WFG_TEST_AWS` names, and takes the place of the event sources of its stack.
    ///
    /// # Panics
    /// If the variables name no emulator, or it refuses a call.
    pub async fn start() -> Self {
        let cloud = Cloud::connect();
        let emulator = cloud.emulator().expect("WFG_TEST_AWS names an emulator; `cargo xtask cost` sets it");
        let sources = Sources::turn_off(&cloud, emulator).await;
        let proxy = MeterProxy::start(emulator.endpoint(), bucket_with_events(&cloud, emulator).await).await;
        let mut memory = HashMap::new();
        for function in emulator.functions(&cloud.http).await {
            let mut variables = emulator.variables(&cloud.http, &function).await;
            for service in SERVICES {
                variables[format!("AWS_ENDPOINT_URL_{service}")] = json!(proxy.url);
            }
            emulator.set_variables(&cloud.http, &function, &variables).await;
            emulator.until_updated(&cloud.http, &function).await;
            memory.insert(function.clone(), emulator.memory_mb(&cloud.http, &function).await / 1024.0);
        }
        Self { cloud, proxy, sources, memory, timers: Vec::new() }
    }

    /// A worker whose leases don't end during a measurement.
    #[must_use]
    pub fn worker(&self) -> Worker {
        self.cloud.worker("meter").ttl(LEASE)
    }

    /// Counts an invocation of a function, and a request to the API if it came through the gateway.
    fn invoked(&self, call: Call, is_http: bool) {
        let function = call.function();
        let gb = self.memory.iter().find(|(name, _)| name.ends_with(function)).map_or(0.0, |(_, gb)| *gb);
        let gb_seconds = f64::from(call.stated_ms()) / 1000.0 * gb;
        self.proxy.charge("function", Usage { lambda_invocations: 1.0, gb_seconds, ..Usage::default() });
        if is_http {
            let is_of_worker = matches!(function, "claim" | "complete");
            let item = if is_of_worker { WORKERS_GATEWAY } else { "gateway" };
            self.proxy.charge(item, Usage { http_requests: 1.0, log_bytes: access_log(call), ..Usage::default() });
        }
    }

    /// Submits and starts a workflow.
    pub async fn submit(&self, definition: &str) -> Run {
        self.proxy.step("submit");
        self.invoked(Call::Submit, true);
        self.cloud.submit(definition).await
    }

    /// Lets a forge deliver a push. `push` makes it, and waits until it was answered.
    pub async fn delivers(&self, push: impl Future<Output = ()>) {
        self.proxy.step("hook");
        self.invoked(Call::Hook, true);
        push.await;
    }

    /// Claims a job.
    ///
    /// # Panics
    /// If there is none.
    pub async fn claim(&self, worker: &Worker) -> HeldLease {
        self.proxy.step("claim");
        self.invoked(Call::Claim, true);
        worker.claims_once().await.expect("a ready job")
    }

    /// Claims without success.
    ///
    /// # Panics
    /// If there is a job.
    pub async fn claim_nothing(&self, worker: &Worker) {
        self.proxy.step("claim");
        self.invoked(Call::ClaimNothing, true);
        assert!(worker.claims_once().await.is_none(), "no job is ready");
    }

    /// Reports success.
    pub async fn complete(&self, held: &HeldLease, outputs: &[(&str, &str)]) {
        self.proxy.step("complete");
        self.invoked(Call::Complete, true);
        held.completes(outputs).await;
    }

    /// Reports success and takes the next job.
    ///
    /// # Panics
    /// If there is none.
    pub async fn complete_for_next(&self, held: &HeldLease, worker: &Worker) -> HeldLease {
        self.proxy.step("complete");
        self.invoked(Call::CompleteNext, true);
        held.complete_for_next(&[], worker).await.expect("accepted").expect("a next job")
    }

    /// Extends a lease.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn heartbeat(&self, held: &HeldLease) {
        self.proxy.step("heartbeat");
        self.invoked(Call::Heartbeat, true);
        held.heartbeat().await.expect("accepted");
    }

    /// Pushes a line of a log.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn push_log(&self, held: &HeldLease, sequence: u64, line: &str) {
        self.proxy.step("logs");
        self.invoked(Call::Logs, true);
        held.log(&[(sequence, line)]).await.expect("accepted");
    }

    /// Delivers the records of the stream in batches of this size, and messages without a delay one by one, until there are no more.
    pub async fn settle(&mut self, batch: usize) {
        loop {
            let Records { schedule, forge } = self.sources.records().await;
            for records in schedule.chunks(batch) {
                self.proxy.step("schedule");
                self.invoked(Call::Schedule, false);
                self.sources.deliver_records(records).await;
            }
            if !forge.is_empty() {
                let is_delivery = forge.iter().any(|record| record["eventName"] == "INSERT");
                self.proxy.step(if is_delivery { "forge" } else { "tell" });
                self.invoked(if is_delivery { Call::Forge } else { Call::Tell }, false);
                self.sources.deliver_to_forge(&forge).await;
            }
            let (now, later): (Vec<Sent>, Vec<Sent>) =
                self.proxy.sent().into_iter().partition(|sent| sent.delay_secs == 0);
            self.timers.extend(later);
            for message in &now {
                self.deliver("batches", Call::Look, message).await;
            }
            if schedule.is_empty() && forge.is_empty() && now.is_empty() {
                return;
            }
        }
    }

    /// Delivers the messages with a delay that were sent so far.
    pub async fn fire_timers(&mut self, call: Call) {
        for message in std::mem::take(&mut self.timers) {
            self.deliver("timers", call, &message).await;
        }
        self.settle(1).await;
    }

    async fn deliver(&self, step: &str, call: Call, message: &Sent) {
        self.proxy.step(step);
        self.invoked(call, false);
        self.proxy.charge("queue batches", Usage { sqs_requests: DELIVERY, ..Usage::default() });
        self.sources.deliver_message(&message.body).await;
    }

    /// Sweeps for overdue timers.
    pub async fn sweep(&self) {
        self.proxy.step("sweep");
        self.invoked(Call::Sweep, false);
        self.sources.sweep().await;
    }

    /// Reports that an idle worker is online.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn worker_heartbeat(&self, worker: &Worker) {
        self.proxy.step("worker heartbeat");
        self.invoked(Call::WorkerHeartbeat, true);
        self.cloud.client.worker_heartbeat(worker.id(), None).await.expect("accepted");
    }

    /// Reads what changed in a run after an event, as the page does. Returns the id of the last event that there is, and the seconds after which
    /// the answer asks for the next read.
    ///
    /// # Panics
    /// If it is refused, or if it doesn't name a time.
    pub async fn events(&self, run: &Run, after: &str) -> (String, f64) {
        self.proxy.step("events");
        self.invoked(Call::Events, true);
        let answer = self.cloud.send_with("GET", &run.path("/events?once=true"), &[("last-event-id", after)], "").await;
        assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
        let field = |name: &str| answer.body.lines().filter_map(|line| line.strip_prefix(name)).next_back();
        let retry = field("retry: ").and_then(|ms| ms.parse::<f64>().ok()).expect("a time in ms");
        (field("id: ").unwrap_or(after).to_owned(), retry / 1000.0)
    }

    /// Asks who the caller is, as the page does.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn me(&self) {
        self.proxy.step("me");
        self.invoked(Call::Me, true);
        let answer = self.cloud.get("/api/me").await;
        assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    }

    /// Forgets the messages with a delay.
    pub fn forget_timers(&mut self) {
        self.timers.clear();
    }

    /// Counts from here on. Messages that were sent before are never delivered.
    pub fn begin(&mut self) {
        self.forget_timers();
        self.begin_step();
    }

    /// Counts from here on.
    pub fn begin_step(&self) {
        let _ = self.proxy.take();
    }

    /// The counts since [`Self::begin`], without the items that all runs share.
    #[must_use]
    pub fn end(&self) -> Ledger {
        self.proxy.take().without_shared(&[])
    }

    /// The same with the list of pools.
    #[must_use]
    pub fn end_with_pools(&self) -> Ledger {
        self.proxy.take().without_shared(&["pool"])
    }

    /// All counts since [`Self::begin`].
    #[must_use]
    pub fn end_with_shared(&self) -> Ledger {
        self.proxy.take()
    }
}

/// The bucket of failed stream batches, if it sends its events to `EventBridge`. A rule of `infra/security` says that no other
/// bucket does.
async fn bucket_with_events(cloud: &Cloud, emulator: &Emulator) -> Option<String> {
    let has_events = emulator.bucket_notifications(&cloud.http).await.contains("EventBridge");
    has_events.then(|| emulator.stream_dead_bucket().to_owned())
}

/// The bytes of the line that the gateway logs for a call, in the format of the template.
fn access_log(call: Call) -> f64 {
    let route = match call {
        Call::Submit => "POST /api/workflows",
        Call::Claim | Call::ClaimNothing => "POST /api/jobs/claim",
        Call::WorkerHeartbeat => "POST /api/workers/{id}/heartbeat",
        Call::Heartbeat => "POST /api/jobs/{lease_id}/heartbeat",
        Call::Logs => "POST /api/jobs/{lease_id}/logs",
        Call::Events => "GET /api/workflows/{id}/events",
        Call::Me => "GET /api/me",
        Call::Hook => "POST /api/forges/{link}/hook",
        _ => "POST /api/jobs/{lease_id}/complete",
    };
    let line = json!({
        "time": "29/Nov/2026:14:00:00 +0000", "id": "JKJaXmPLvHcESHA=", "ip": "203.0.113.10", "route": route,
        "status": "200", "bytes": "1000", "ms": "25", "error": "-"
    });
    u32::try_from(line.to_string().len()).map_or(0.0, f64::from)
}
