//! The connections: one request each.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::answer::{Answer, Api, Query, not_found, says};
use super::git::http_backend;
use super::{Fault, Inner, Request, TOKEN, TestForge, contract, gitea, github, gitlab};
use crate::relay::Received;

pub(super) async fn listen(listener: TcpListener, forge: Weak<Inner>) {
    while let Ok((connection, _)) = listener.accept().await {
        let Some(inner) = forge.upgrade() else { return };
        tokio::spawn(async move {
            // A client that went away is no error.
            let _ = TestForge { inner }.serve(connection).await;
        });
    }
}

impl TestForge {
    async fn serve(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        let Some(request) = Received::read(&mut connection).await? else { return Ok(()) };
        let (method, target) = request.line();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_api = path.starts_with("/api/");
        let fault = if is_api { self.fault(method, target, &request.body) } else { None };
        let answer = match &fault {
            Some(Fault::Answers(status, headers)) => {
                let mut answer = says(*status, "planned");
                for (name, value) in headers {
                    answer.headers.push_str(&format!("{name}: {value}\r\n"));
                }
                answer
            }
            Some(Fault::Says(status, text)) => says(*status, text),
            Some(Fault::LandsLater(delay)) => {
                self.note(method, target, 0);
                drop(connection);
                tokio::time::sleep(*delay).await;
                self.answer(method, path, query, &request).await;
                return Ok(());
            }
            _ => self.answer(method, path, query, &request).await,
        };
        if is_api {
            self.note(method, target, if matches!(fault, Some(Fault::Lost)) { 0 } else { answer.status });
        }
        match fault {
            Some(Fault::Lost) => return Ok(()),
            Some(Fault::AnswersLate(delay)) => tokio::time::sleep(delay).await,
            _ => {}
        }
        let Answer { status, headers, body } = answer;
        let head =
            format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        connection.write_all(&[head.as_bytes(), &body].concat()).await?;
        connection.shutdown().await
    }

    fn note(&self, method: &str, path: &str, status: u16) {
        let request = Request { at: self.now(), method: method.to_owned(), path: path.to_owned(), status };
        self.state().requests.push(request);
    }

    async fn answer(&self, method: &str, path: &str, query: &str, request: &Received) -> Answer {
        let Some(rest) = path.strip_prefix("/api/") else { return self.git(path, query, request).await };
        let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let api = Api {
            method,
            path: rest.split('/').map(decoded).collect(),
            query: Query::of(query),
            body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
            accept: request.header("accept").unwrap_or_default(),
            token: credential(request),
        };
        match version {
            "v3" => {
                let as_path = format!("/{}", api.path.join("/"));
                if let Some(problem) = contract::problem(method, &as_path, query, &request.body) {
                    self.state().problems.push(problem.clone());
                    return says(422, &problem);
                }
                github::answer(self, &api).await
            }
            "v4" => gitlab::answer(self, &api).await,
            "v1" => gitea::answer(self, &api).await,
            _ => not_found(),
        }
    }

    /// Whether a token may be used with an API.
    pub(super) fn knows(&self, token: &str) -> bool {
        let (now, state) = (self.now(), self.state());
        let is_minted = state.minted.iter().any(|(minted, end)| minted == token && now < *end);
        token == TOKEN || is_minted && !state.revoked.contains(token)
    }

    /// A request of git itself. Pushes need the token, and so does everything of a private repository.
    async fn git(&self, path: &str, query: &str, request: &Received) -> Answer {
        let name = path.trim_start_matches('/').split_once(".git/").map(|(name, _)| decoded(name));
        let Some(name) = name.filter(|name| self.state().repositories.contains_key(name)) else { return not_found() };
        let failing = &self.inner.git.failing;
        if failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return says(503, "planned");
        }
        let is_push = path.ends_with("/git-receive-pack") || query.contains("git-receive-pack");
        let needs_token = is_push || self.with(&name, |repository| repository.private);
        if needs_token && !self.knows(&password(request)) {
            let mut answer = says(401, "Bad credentials");
            answer.headers.push_str("www-authenticate: Basic realm=\"git\"\r\n");
            return answer;
        }
        self.state().git_answered.push(path.to_owned());
        let only_refs = self.inner.git.only_refs.load(Ordering::SeqCst);
        let pushes = path.ends_with("/git-receive-pack");
        let turn = if pushes { Some(self.inner.pushing.lock().await) } else { None };
        let before = if pushes { Some(self.bare(&name).refs().await) } else { None };
        let (status, headers, body) =
            http_backend(self.inner.dir.path(), &decoded(path), query, request, only_refs).await;
        if let Some(before) = before {
            let forge = self.clone();
            forge.pushed(&name, &before).await;
        }
        drop(turn);
        Answer { status, headers, body }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex: Option<Vec<u8>> = (byte == b'%').then(|| rest.by_ref().take(2).collect());
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()) {
            Some(decoded) => bytes.push(decoded),
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The token of an API request.
fn credential(request: &Received) -> &str {
    if let Some(token) = request.header("private-token") {
        return token;
    }
    request.header("authorization").and_then(|value| value.split_once(' ')).map_or("", |(_, token)| token)
}

/// The password of a request of git.
fn password(request: &Received) -> String {
    let pair = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let pair = pair.and_then(|coded| String::from_utf8(STANDARD.decode(coded).ok()?).ok()).unwrap_or_default();
    pair.split_once(':').map_or("", |(_, password)| password).to_owned()
}
