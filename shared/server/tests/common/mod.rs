//! A server in this process, and what asks it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use client::Client;
use engine::Engine;
use memory::Memory;
use server::{Admission, Server};
use tokio::time::timeout;
use worker::protocol::requests::{Claim, Complete};
use worker::protocol::wire::{Claimed, Workflow};
use worker::protocol::{LabelSet, SecretName, SecretValue, Secrets, WorkerId, WorkflowId};

/// Nothing here takes so long unless it is broken.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub struct World {
    pub server: Server,
    pub client: Client,
}

impl World {
    pub async fn new() -> Self {
        let server = Server::in_memory(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let client = Client::new(&server.url(), None).expect("its address");
        Self { server, client }
    }

    /// One that asks for tokens and has the secret `KEY`; the client has the first token.
    pub async fn with_tokens() -> Self {
        let secrets =
            Secrets::from([(SecretName::new("KEY").expect("a name"), SecretValue::new("hunter22").expect("a value"))]);
        let engine = Engine::new(Memory::new()).with_secrets(Arc::new(secrets));
        let token = engine.tokens().first().await.expect("made").expect("the first").token;
        let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, Admission::Tokens).await;
        let server = server.expect("a free port");
        let client = Client::new(&server.url(), Some(token)).expect("its address");
        Self { server, client }
    }

    pub async fn submit(&self, definition: &str) -> WorkflowId {
        self.client.submit_yaml(definition, true, None).await.expect("a good definition").id
    }

    pub async fn complete(&self, claimed: &Claimed) {
        self.client.complete(&claimed.lease.lease_id, &Complete::default()).await.expect("accepted");
    }

    pub async fn workflow(&self, id: &WorkflowId) -> Workflow {
        self.client.workflow(id).await.expect("it is there")
    }

    /// Waits until the workflow has ended.
    pub async fn ended(&self, id: &WorkflowId) -> Workflow {
        let ended = async {
            loop {
                let workflow = self.workflow(id).await;
                if workflow.status.is_final() {
                    return workflow;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("the workflow ends")
    }
}

pub fn claim(worker: &str, labels: &str, wait_secs: u32) -> Claim {
    Claim {
        worker_id: WorkerId::new(worker).expect("an id"),
        labels: LabelSet::from_comma_separated(labels).expect("labels"),
        lease_ttl_secs: 30,
        wait_secs,
        exclusive: false,
        ticket: None,
    }
}
