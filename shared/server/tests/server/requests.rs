//! Which requests are accepted: sizes, origins, host names and secrets.

use std::time::Duration;

use crate::common::World;
use client::Client;
use engine::Engine;
use engine::ports::Local;
use memory::Memory;
use protocol::access::{AuditAction, AuditEntry};
use protocol::{Status, limits};
use server::{Admission, Server};
use sqlite::Sqlite;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const YAML: &str = "name: one\njobs:\n  a: {run: x}\n";

#[tokio::test]
async fn body_over_the_limit_is_refused_with_and_without_content_length() {
    let world = World::new().await;
    let url = format!("{}/api/workflows", world.server.url());
    let large = vec![b'x'; limits::REQUEST_BODY + 1];
    let pieces = futures::stream::iter(
        large.chunks(100_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>(),
    );
    for body in [reqwest::Body::from(large.clone()), reqwest::Body::wrap_stream(pieces)] {
        let response = reqwest::Client::new().post(&url).body(body).send().await.expect("answered");
        assert_eq!(response.status(), 413);
        let text = response.text().await.expect("a body");
        assert!(text.contains("body_too_large") && text.contains("is 4500001 bytes; at most 4500000"), "{text}");
    }
}

#[tokio::test]
async fn body_over_the_limit_is_refused_before_it_is_sent_with_expect() {
    let world = World::new().await;
    let address = world.server.url().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.expect("connected");
    let head =
        "POST /api/workflows HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\nexpect: 100-continue\r\n\r\n";
    connection.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 64];
    let read = connection.read(&mut answer).await.expect("answered");
    assert!(answer[..read].starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn request_of_a_foreign_origin_changes_nothing() {
    let world = World::new().await;
    let url = format!("{}/api/workflows?run=true", world.server.url());
    let post = |origin: Option<&'static str>| {
        let request = reqwest::Client::new().post(&url).header("content-type", "text/yaml").body(YAML);
        origin.into_iter().fold(request, |request, origin| request.header("origin", origin)).send()
    };
    let response = post(Some("https://evil.example")).await.expect("answered");
    assert_eq!(response.status(), 403);
    assert!(response.text().await.expect("a body").contains("foreign_origin"));
    assert_eq!(post(None).await.expect("answered").status(), 201);
}

/// The page that the server itself answers submits, re-runs and cancels.
#[tokio::test]
async fn page_of_the_server_itself_may_change_things() {
    let world = World::new().await;
    let own = world.server.url();
    let port = own.rsplit(':').next().expect("a port");
    let other_port = format!("http://127.0.0.1:{}", if port == "4000" { 4001 } else { 4000 });
    for (host, origin, status) in [
        ("127.0.0.1", own.clone(), "201"),
        ("localhost", format!("http://localhost:{port}"), "201"),
        ("127.0.0.1", format!("http://localhost:{port}"), "403"),
        ("127.0.0.1", other_port, "403"),
        ("127.0.0.1", "null".to_owned(), "403"),
        ("evil.example", format!("http://evil.example:{port}"), "403"),
    ] {
        let request = format!(
            "POST /api/workflows HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin}\r\nContent-Type: text/yaml\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{YAML}",
            YAML.len()
        );
        let answer = raw(&world.server, &request, true).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host} {origin}: {answer}");
    }
}

/// A proxy may change `Host`. A browser sends a password that it remembers for every page, but adds no `Bearer` by itself.
#[tokio::test]
async fn page_with_a_token_may_change_things_behind_a_proxy() {
    let engine = Engine::new(Memory::new());
    let token = engine.tokens().first().await.expect("made").expect("the first").token;
    let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, Admission::Tokens).await.expect("a free port");
    let post = || {
        let request = reqwest::Client::new().post(format!("{}/api/workflows", server.url()));
        request.header("origin", "https://wfg.example").header("content-type", "text/yaml").body(YAML)
    };
    assert_eq!(post().bearer_auth(&token).send().await.expect("answered").status(), 201);
    for foreign in [post().basic_auth("w", Some(&token)), post()] {
        let response = foreign.send().await.expect("answered");
        assert_eq!(response.status(), 403);
        assert!(response.text().await.expect("a body").contains("foreign_origin"));
    }
}

#[tokio::test]
async fn private_server_requires_its_secret() {
    let engine = Engine::new(Memory::new());
    let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, Admission::Secret("s3cret".into()))
        .await
        .expect("a free port");
    for (token, good) in [(None, false), (Some("s3cre"), false), (Some("s3crex"), false), (Some("s3cret"), true)] {
        let client = Client::new(&server.url(), token.map(str::to_owned)).expect("its address");
        let answer = client.submit_yaml(YAML, true, None).await;
        assert_eq!(answer.is_ok(), good, "{token:?}: {answer:?}");
        assert!(good || answer.expect_err("refused").status() == Some(401));
    }
}

/// Sends this and nothing more. Returns the answer, if `wait` is true.
async fn raw(server: &Server<impl Local + 'static>, request: &str, wait: bool) -> String {
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(address).await.expect("it listens");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    if wait {
        connection.read_to_string(&mut answer).await.expect("answered");
    }
    answer
}

#[tokio::test]
async fn foreign_host_name_is_refused_on_loopback() {
    let world = World::new().await;
    for (host, status) in [
        ("localhost:3000", "200"),
        ("LOCALHOST", "200"),
        ("127.0.0.1:80", "200"),
        ("[::1]:3000", "200"),
        ("evil.example:3000", "403"),
        ("localhost.evil.example", "403"),
    ] {
        let request = format!("GET /api/workflows HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw(&world.server, &request, true).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

/// Otherwise a client that disconnects at once is missing in the audit record, and the work that follows from a delete isn't done.
#[tokio::test]
async fn request_is_completed_and_audited_although_its_client_disconnects() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = Engine::new(Sqlite::open(dir.path().join("wfg.db")).expect("a fresh file"));
    let token = engine.tokens().first().await.expect("made").expect("the first").token;
    let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, Admission::Tokens).await.expect("a free port");
    let client = Client::new(&server.url(), Some(token.clone())).expect("its address");
    let mut begun = 0;
    for _ in 0..10 {
        let id = client.submit_yaml(YAML, true, None).await.expect("good").id;
        let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n");
        raw(&server, &format!("POST /api/workflows/{id}/cancel HTTP/1.1\r\n{head}"), false).await;
        let cancelled = async {
            while client.workflow(&id).await.expect("there").status != Status::Cancelled {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // A connection that was closed at once may never have been read.
        if tokio::time::timeout(Duration::from_secs(2), cancelled).await.is_err() {
            continue;
        }
        begun += 1;
        let written = async {
            let cancel =
                |entry: &AuditEntry| entry.action == AuditAction::Cancel && entry.workflow.as_ref() == Some(&id);
            while !client.audit(100, None).await.expect("listed").items.iter().any(cancel) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), written).await.expect("it is written down");
    }
    assert!(begun > 0, "no request was read before its client went away");
}
