//! One method for each route of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use protocol::access::{AuditEntry, CreatedToken, NewToken, TokenInfo};
use protocol::page::Graph;
use protocol::requests::{Claim, Complete, Fail, GivenInputs, LogPiece, Only, Register, Run, WorkerHeartbeat};
use protocol::wire::{
    Appended, Claimed, Health, Heartbeat, LogChunk, PoolInfo, Registered, Reported, WorkerInfo, Workflow,
};
use protocol::{JobId, LeaseId, Outputs, Status, TokenName, WorkerId, WorkflowId, limits};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::direct::Serves;
use super::{Client, ClientError, Request, WHOLE};

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// In the server's order.
    pub items: Vec<T>,
    /// The cursor of what follows; `None` at the end.
    pub next: Option<String>,
}

/// A part of a job's log.
#[derive(Clone, Debug)]
pub struct Logs {
    /// By sequence.
    pub chunks: Vec<LogChunk>,
    /// Whether there is more already, after the last of these.
    pub more: bool,
    /// The attempt of these chunks, if there is more. The next page must ask for it: the job may be tried again meanwhile.
    pub attempt: Option<u32>,
}

/// Calls for people and programs that submit and watch workflows.
impl Client {
    /// Submits a definition as YAML; `run` starts it too. With `idempotency_key` the call may be repeated: it gives the
    /// same workflow, and is refused with 409 if the text is another. A definition that isn't valid is refused with 422
    /// and its problems in `details`.
    pub async fn submit_yaml(
        &self,
        text: &str,
        run: bool,
        idempotency_key: Option<&str>,
    ) -> Result<Workflow, ClientError> {
        self.submit("application/yaml", text.to_owned(), run, idempotency_key).await
    }

    /// As [`Self::submit_yaml`], with either JSON form: `jobs` an object as in YAML, or a list of jobs.
    pub async fn submit_json(
        &self,
        definition: &Value,
        run: bool,
        idempotency_key: Option<&str>,
    ) -> Result<Workflow, ClientError> {
        self.submit("application/json", definition.to_string(), run, idempotency_key).await
    }

    async fn submit(
        &self,
        content_type: &'static str,
        body: String,
        run: bool,
        idempotency_key: Option<&str>,
    ) -> Result<Workflow, ClientError> {
        self.request(Method::POST, "submit", &["api", "workflows"])
            .query("run", run.then_some(true))
            .idempotency_key(idempotency_key)?
            .text(content_type, body)
            .read()
            .await
    }

    /// Up to `limit` workflows, newest first, from `cursor` on. Reads as many pages as needed.
    pub async fn list(
        &self,
        limit: usize,
        status: Option<Status>,
        cursor: Option<&str>,
    ) -> Result<Page<Workflow>, ClientError> {
        self.pages("list", &["api", "workflows"], status, limit, cursor).await
    }

    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &[&str],
        status: Option<Status>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<T>, ClientError> {
        let mut page = Page { items: Vec::new(), next: cursor.map(str::to_owned) };
        loop {
            let want = (limit - page.items.len()).min(limits::LIST);
            let answer = self
                .request(Method::GET, what, path)
                .query("limit", Some(want))
                .query("status", status)
                .query("cursor", page.next.as_deref())
                .send()
                .await?;
            page.items.extend(answer.read::<Vec<T>>()?);
            page.next = answer.next("cursor");
            if page.next.is_none() || page.items.len() >= limit {
                return Ok(page);
            }
        }
    }

    /// Asks whether the server can store changes. Needs no token.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.request(Method::GET, "health", &["api", "health"]).read().await
    }

    /// A workflow as it stands, with its jobs.
    pub async fn workflow(&self, id: &WorkflowId) -> Result<Workflow, ClientError> {
        self.request(Method::GET, "workflow", &["api", "workflows", id.as_str()]).read().await
    }

    /// The graph of its current run.
    pub async fn graph(&self, id: &WorkflowId) -> Result<Graph, ClientError> {
        self.request(Method::GET, "graph", &["api", "workflows", id.as_str(), "graph"]).read().await
    }

    /// The text of its definition, as submitted.
    pub async fn definition(&self, id: &WorkflowId) -> Result<String, ClientError> {
        let path = ["api", "workflows", id.as_str(), "definition"];
        self.request(Method::GET, "definition", &path).send().await?.text()
    }

    /// Starts it, or starts a new run of it if it is final. Refused with 409 while it runs.
    pub async fn run(
        &self,
        id: &WorkflowId,
        only: Option<Only>,
        inputs: Option<GivenInputs>,
    ) -> Result<(), ClientError> {
        let request = self.request(Method::POST, "run", &["api", "workflows", id.as_str(), "run"]);
        request.json(&Run { only, inputs }).send().await.map(drop)
    }

    /// Cancels its run; on a final one nothing changes. Afterwards no job of it starts.
    pub async fn cancel(&self, id: &WorkflowId) -> Result<(), ClientError> {
        self.request(Method::POST, "cancel", &["api", "workflows", id.as_str(), "cancel"]).send().await.map(drop)
    }

    /// Deletes it, with its logs and outputs. Refused with 409 while it runs.
    pub async fn delete(&self, id: &WorkflowId) -> Result<(), ClientError> {
        self.request(Method::DELETE, "delete", &["api", "workflows", id.as_str()]).send().await.map(drop)
    }

    /// Creates a token; its text is in this answer only. Refused with 409 if the name is taken.
    pub async fn create_token(&self, token: &NewToken) -> Result<CreatedToken, ClientError> {
        self.request(Method::POST, "create_token", &["api", "tokens"]).json(token).read().await
    }

    /// The tokens, without their texts.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        Ok(self.pages("tokens", &["api", "tokens"], None, usize::MAX, None).await?.items)
    }

    /// Revokes a token: within a minute it is refused everywhere.
    pub async fn revoke_token(&self, name: &TokenName) -> Result<(), ClientError> {
        self.request(Method::DELETE, "revoke_token", &["api", "tokens", name.as_str()]).send().await.map(drop)
    }

    /// Up to `limit` audit entries, newest first, from `cursor` on. Reads as many pages as needed.
    pub async fn audit(&self, limit: usize, cursor: Option<&str>) -> Result<Page<AuditEntry>, ClientError> {
        self.pages("audit", &["api", "audit"], None, limit, cursor).await
    }

    /// The workers that were online lately.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, ClientError> {
        Ok(self.pages("workers", &["api", "workers"], None, usize::MAX, None).await?.items)
    }

    /// The label sets that jobs require, and how many wait in each.
    pub async fn pools(&self) -> Result<Vec<PoolInfo>, ClientError> {
        Ok(self.pages("pools", &["api", "pools"], None, usize::MAX, None).await?.items)
    }

    /// A job's log after the chunk numbered `after`, of `attempt` (default: the latest).
    pub async fn logs(
        &self,
        id: &WorkflowId,
        job: &JobId,
        after: Option<u64>,
        attempt: Option<u32>,
    ) -> Result<Logs, ClientError> {
        let path = ["api", "workflows", id.as_str(), "jobs", job.as_str(), "logs"];
        let request = self.request(Method::GET, "logs", &path).query("after", after).query("attempt", attempt);
        let answer = request.send().await?;
        let attempt = answer.next("attempt").and_then(|attempt| attempt.parse().ok());
        Ok(Logs { chunks: answer.read()?, more: answer.has_next(), attempt })
    }

    /// A job's outputs, in full; none while it isn't done.
    pub async fn outputs(&self, id: &WorkflowId, job: &JobId) -> Result<Outputs, ClientError> {
        let path = ["api", "workflows", id.as_str(), "jobs", job.as_str(), "outputs"];
        self.request(Method::GET, "outputs", &path).read().await
    }

    /// Whether the job was cancelled, for workers that hold no lease.
    pub async fn cancelled(&self, id: &WorkflowId, job: &JobId) -> Result<bool, ClientError> {
        let path = ["api", "jobs", id.as_str(), job.as_str(), "cancelled"];
        self.request(Method::GET, "cancelled", &path).read().await
    }
}

/// Calls for workers.
impl Client {
    /// Registers the worker with its labels, or replaces its registration.
    pub async fn register(&self, register: &Register) -> Result<Registered, ClientError> {
        self.request(Method::POST, "register", &["api", "workers", "register"]).json(register).read().await
    }

    /// Reports that the worker is online. Refused with 404 if it isn't registered (any more): register again.
    pub async fn worker_heartbeat(&self, id: &WorkerId, paused: Option<String>) -> Result<Registered, ClientError> {
        let path = ["api", "workers", id.as_str(), "heartbeat"];
        let client = self.serving(Serves::Claims);
        client.request(Method::POST, "worker heartbeat", &path).json(&WorkerHeartbeat { paused }).read().await
    }

    /// Reports that the worker stops.
    pub async fn deregister(&self, id: &WorkerId) -> Result<(), ClientError> {
        let client = self.serving(Serves::Claims);
        client.request(Method::DELETE, "deregister", &["api", "workers", id.as_str()]).send().await.map(drop)
    }

    /// Claims a job. `None`: there is none for these labels. May take `wait_secs` longer than other calls.
    pub async fn claim(&self, claim: &Claim) -> Result<Option<Claimed>, ClientError> {
        let timeout = WHOLE + Duration::from_secs(claim.wait_secs.into());
        let client = self.serving(Serves::Claims);
        client.request(Method::POST, "claim", &["api", "jobs", "claim"]).timeout(timeout).json(claim).read().await
    }

    /// Renews the lease, and learns whether the job was cancelled. 409: the lease isn't the job's any more.
    pub async fn heartbeat(&self, lease: &LeaseId) -> Result<Heartbeat, ClientError> {
        self.lease_request("heartbeat", lease).read().await
    }

    /// Reports success. May be repeated as it is; 409: the lease isn't the job's any more; 413: outputs too large.
    pub async fn complete(&self, lease: &LeaseId, complete: &Complete) -> Result<Reported, ClientError> {
        self.lease_request("complete", lease).json(complete).read().await
    }

    /// Reports failure. May be repeated as it is; 409: the lease isn't the job's any more.
    pub async fn fail(&self, lease: &LeaseId, fail: &Fail) -> Result<Reported, ClientError> {
        self.lease_request("fail", lease).json(fail).read().await
    }

    /// Adds to the job's log. May be repeated: a sequence number counts once. Returns whether somebody reads the log, if the server
    /// says so. 409: the lease isn't the job's any more.
    pub async fn logs_push(&self, lease: &LeaseId, chunks: &[LogPiece]) -> Result<Option<bool>, ClientError> {
        #[derive(Serialize)]
        struct Body<'a> {
            chunks: &'a [LogPiece],
        }
        let answer = self.lease_request("logs", lease).json(&Body { chunks }).send().await?;
        Ok(answer.read::<Appended>().ok().map(|answer| answer.followed))
    }

    /// Fetches what a claim's `upstream_outputs_url` points to. No token goes along.
    pub async fn upstream_outputs(&self, url: &str) -> Result<BTreeMap<JobId, Outputs>, ClientError> {
        self.elsewhere("upstream outputs", url)?.read().await
    }

    fn lease_request(&self, what: &'static str, lease: &LeaseId) -> Request {
        self.serving(Serves::Reports).request(Method::POST, what, &["api", "jobs", &lease.0, what])
    }
}
