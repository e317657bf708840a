//! The server under test, with a label of its own for each test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientError};
use protocol::access::{Allowed, NewToken, Permissions, Scope};
use protocol::{LabelSet, SecretName, SecretValue, TokenName};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use server::Server;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::emulator::Emulator;
use crate::target::{Target, target, with_token};

/// Any worker that isn't exclusive may take a job without labels, also another test's worker. Tests with such workers share
/// this lock, and a test with such jobs locks it exclusively.
static UNLABELLED_JOBS: RwLock<()> = RwLock::const_new(());

/// A lock until the end of a test.
enum Turn {
    Shared { _guard: RwLockReadGuard<'static, ()> },
    Alone { _guard: RwLockWriteGuard<'static, ()> },
}

/// The target, with a label that no other test has. Clones share the label.
#[derive(Clone)]
pub struct Cloud {
    /// The client for typed calls.
    pub client: Client,
    /// This test's label.
    pub label: String,
    /// For raw requests, and for services other than the API.
    pub http: reqwest::Client,
    url: String,
    authorization: Option<String>,
    target: Option<&'static Target>,
    /// A label that no other test uses.
    own: Option<Arc<Server>>,
    turn: Option<Arc<Turn>>,
}

impl Cloud {
    /// Connects to the target, or to a server in this process if no target is set.
    #[must_use]
    pub fn connect() -> Self {
        Self::of(&target().url, Some(target()), None)
    }

    /// Like [`Self::connect`], for a test whose workers aren't exclusive. Meanwhile no other test has jobs without labels.
    pub async fn connect_with_open_workers() -> Self {
        let turn = Turn::Shared { _guard: UNLABELLED_JOBS.read().await };
        Self { turn: Some(Arc::new(turn)), ..Self::connect() }
    }

    /// Like [`Self::connect`], for a test with jobs without labels. Meanwhile no other test has workers that could take them.
    pub async fn connect_with_unlabelled_jobs() -> Self {
        let turn = Turn::Alone { _guard: UNLABELLED_JOBS.write().await };
        Self { turn: Some(Arc::new(turn)), ..Self::connect() }
    }

    /// Starts a server in this process for this test alone, whatever the target is.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn alone() -> Self {
        let server = Server::in_memory(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        Self::of(&server.url(), None, Some(Arc::new(server)))
    }

    /// Connects to a server that the test runs itself.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self::of(url, None, None)
    }

    fn of(url: &str, target: Option<&'static Target>, own: Option<Arc<Server>>) -> Self {
        let client = Client::new(url, None).expect("the target's URL is one");
        let authorization = reqwest::Url::parse(url).ok().and_then(|url| {
            let pair = format!("{}:{}", url.username(), url.password()?);
            Some(format!("Basic {}", STANDARD.encode(pair)))
        });
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().expect("an HTTP client");
        let random = getrandom::u64().expect("randomness");
        Self {
            client,
            label: format!("t{random:016x}"),
            http,
            url: url.to_owned(),
            authorization,
            target,
            own,
            turn: None,
        }
    }

    /// The address of the API, with its password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Like [`Self::url`], with another password, or none.
    #[must_use]
    pub fn url_for(&self, token: Option<&str>) -> String {
        let bare = self.client.server_url();
        token.map_or_else(|| bare.to_owned(), |token| with_token(bare, token))
    }

    /// Another address of the target, such as a proxy's, with the same password.
    #[must_use]
    pub fn url_through(&self, url: &str) -> String {
        let password = self.url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'));
        let password = password.map_or(String::new(), |(password, _)| format!("{password}@"));
        url.replacen("://", &format!("://{password}"), 1)
    }

    /// Creates a token with these labels, separated by commas.
    ///
    /// # Panics
    /// If it can't be created.
    pub async fn token(&self, name: &str, scopes: &[Scope], labels: &str) -> String {
        self.token_like(name, scopes, labels, |token| token).await
    }

    /// Like [`Self::token`], with more fields of the request.
    ///
    /// # Panics
    /// If it can't be created.
    pub async fn token_like(
        &self,
        name: &str,
        scopes: &[Scope],
        labels: &str,
        like: impl FnOnce(NewToken) -> NewToken,
    ) -> String {
        let labels = LabelSet::from_comma_separated(&self.fill(labels)).expect("labels");
        let token = NewToken {
            name: self.token_name(name),
            permissions: Permissions {
                scopes: scopes.iter().copied().collect(),
                labels: Allowed::Only(labels.iter().cloned().collect()),
                secrets: Allowed::default(),
                exclusive: false,
            },
            expires_in_secs: 3600,
        };
        self.client.create_token(&like(token)).await.expect("made").token
    }

    /// A token name that no other test uses.
    ///
    /// # Panics
    /// If it isn't a valid name.
    #[must_use]
    pub fn token_name(&self, name: &str) -> TokenName {
        TokenName::new(format!("{}-{name}", self.label)).expect("a name")
    }

    /// Creates or replaces a secret of this test. Returns its name.
    ///
    /// # Panics
    /// If it can't be stored.
    pub async fn secret(&self, name: &str, value: &str) -> SecretName {
        self.secret_named(&format!("{}_{name}", self.label), value).await
    }

    /// Like [`Self::secret`], under this name as it is.
    ///
    /// # Panics
    /// If it can't be stored.
    pub async fn secret_named(&self, name: &str, value: &str) -> SecretName {
        let name = SecretName::new(name).expect("a name");
        match self.target.expect("the target has secrets") {
            Target { secrets: Some(file), .. } => {
                let value = SecretValue::new(value).expect("a value");
                server::secrets::change(file, |secrets| secrets.insert(name.clone(), value)).expect("one's own file");
            }
            Target { emulator, .. } => {
                let emulator = emulator.as_ref().expect("an emulator has the secrets");
                emulator.put_secret(&self.http, name.as_str(), value).await;
            }
        }
        name
    }

    /// The same target for a caller with another token, or none.
    #[must_use]
    pub fn seen_by(&self, token: Option<&str>) -> Self {
        let other = Self::of(&self.url_for(token), self.target, self.own.clone());
        Self { label: self.label.clone(), turn: self.turn.clone(), ..other }
    }

    /// Whether the target's state is in AWS or an emulator.
    #[must_use]
    pub fn on_aws(&self) -> bool {
        self.own.is_none() && self.target.is_some_and(|target| target.on_aws)
    }

    /// The emulator under the target, if there is one.
    #[must_use]
    pub fn emulator(&self) -> Option<&'static Emulator> {
        self.target.and_then(|target| target.emulator.as_ref())
    }

    /// Replaces `{label}` in the text by this test's label.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        text.replace("{label}", &self.label)
    }

    /// The text as it is submitted: with this test's label and a name.
    #[must_use]
    pub fn definition(&self, text: impl AsRef<str>) -> String {
        let text = self.fill(text.as_ref());
        if text.starts_with("name:") { text } else { format!("name: {}\n{text}", self.label) }
    }

    /// Runs the sweep for lost timers, as the schedule does every minute. In one process no timer can be lost.
    pub async fn sweep(&self) {
        if let Some(emulator) = self.emulator() {
            emulator.sweep(&self.http).await;
        }
    }

    /// Sends a request as it is. `""` means no content type.
    pub async fn send(&self, method: &str, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let headers: &[(&str, &str)] = if content_type.is_empty() { &[] } else { &[("content-type", content_type)] };
        self.send_with(method, path, headers, body).await
    }

    /// Sends a request with these headers.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.client.server_url())).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let given = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(authorization) = self.authorization.as_ref().filter(|_| !given) {
            request = request.header("authorization", authorization);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        Answer { status, headers, body }
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    /// Sends a request with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string()).await
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it isn't JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's text, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer as an error.
    ///
    /// # Panics
    /// If it isn't an error in the form that all errors have.
    #[must_use]
    pub fn error(&self) -> Refused {
        let (status, body) = (self.status.as_u16(), self.json());
        assert!(status >= 400, "{self:?}");
        let text =
            |name: &str| body["error"][name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned();
        Refused { status, code: text("code"), message: text("message"), details: body["error"]["details"].clone() }
    }
}

/// An error answer. It always has a code for programs and a message for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The stable word.
    pub code: String,
    /// The text.
    pub message: String,
    /// What else there is.
    pub details: Value,
}

impl Refused {
    /// Status and word, to compare.
    #[must_use]
    pub fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code == code
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { status, code, message, details, .. } => {
                Self { status, code, message, details: details.unwrap_or_default() }
            }
            other => panic!("no answer: {other}"),
        }
    }
}
