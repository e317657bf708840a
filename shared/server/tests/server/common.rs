//! A server in this process, and a client of it.

use std::sync::Arc;
use std::time::Duration;

use client::Client;
use engine::Engine;
use memory::Memory;
use server::{Admission, Server};
use worker::protocol::requests::{Claim, Complete};
use worker::protocol::wire::Claimed;
use worker::protocol::{LabelSet, SecretName, SecretValue, Secrets, WorkerId, WorkflowId};

/// A test that waits longer than this fails.
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

    /// A server that requires tokens and has the secret `KEY`. The client has the first token.
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
