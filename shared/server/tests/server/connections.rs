//! Connections: time limits, requests that can't be parsed, and addresses.

use std::time::Duration;

use crate::common::World;
use engine::Engine;
use memory::Memory;
use protocol::limits;
use server::{Admission, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("it listens")
}

/// Sends this and reads until the server closes the connection.
async fn raw(server: &Server, request: &[u8]) -> String {
    let mut connection = connect(server).await;
    connection.write_all(request).await.expect("sent");
    let mut answer = Vec::new();
    // The server may close a connection on which it has unread bytes with a reset.
    let _ = connection.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

/// Reads one response with a `Content-Length`.
async fn response(connection: &mut TcpStream) -> String {
    let mut answer = String::new();
    while !answer.ends_with('}') {
        let mut piece = [0; 1024];
        let count = connection.read(&mut piece).await.expect("readable");
        assert!(count > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn connection_without_a_complete_head_is_closed_in_time() {
    let world = World::new().await;
    for sent in ["", "GET /api/health HTTP/1.1\r\nHost: local"] {
        let began = Instant::now();
        assert_eq!(raw(&world.server, sent.as_bytes()).await, "", "{sent:?}");
        let took = began.elapsed();
        assert!(
            took >= limits::HEADER_TIME && took < limits::HEADER_TIME + Duration::from_secs(2),
            "{sent:?}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn head_that_trickles_in_does_not_extend_its_time() {
    let world = World::new().await;
    let began = Instant::now();
    let mut connection = connect(&world.server).await;
    let trickle = async {
        for byte in b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n".iter().cycle() {
            if connection.write_all(&[*byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(5)).await;
        }
    };
    tokio::time::timeout(2 * limits::HEADER_TIME, trickle).await.expect("closed");
    assert!(began.elapsed() >= limits::HEADER_TIME);
}

#[tokio::test(start_paused = true)]
async fn idle_connection_is_kept_for_minutes_and_then_closed() {
    let world = World::new().await;
    let mut connection = connect(&world.server).await;
    for _ in 0..2 {
        connection.write_all(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("still open");
        assert!(response(&mut connection).await.starts_with("HTTP/1.1 200 "));
        sleep(limits::IDLE_TIME.saturating_sub(Duration::from_secs(10))).await;
    }
    let began = Instant::now();
    assert_eq!(connection.read(&mut [0; 1]).await.expect("closed"), 0);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

#[tokio::test]
async fn stopping_server_closes_connections_without_a_request_at_once() {
    let World { server, .. } = World::new().await;
    let mut silent = connect(&server).await;
    let mut idle = connect(&server).await;
    idle.write_all(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    response(&mut idle).await;
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("it doesn't wait for them");
    assert_eq!(silent.read(&mut [0; 1]).await.expect("closed"), 0);
    assert_eq!(idle.read(&mut [0; 1]).await.expect("closed"), 0);
}

#[tokio::test]
async fn request_that_can_not_be_parsed_gets_an_error_body() {
    let world = World::new().await;
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    for (request, status, code) in [
        ("nonsense\r\n\r\n", 400, "invalid_request"),
        ("GET / HTTP/9.9\r\n\r\n", 400, "invalid_request"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "invalid_request"),
        ("POST /api/workflows HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "invalid_request"),
        (&large, 431, "headers_too_large"),
        (&many, 431, "headers_too_large"),
        (&long, 414, "url_too_long"),
    ] {
        let answer = raw(&world.server, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        let error: protocol::wire::ErrorBody = serde_json::from_str(body).expect("an error's body");
        assert_eq!(error.error.code, code);
    }
    let chunk = "POST /api/workflows HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n";
    let answer = raw(&world.server, chunk.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("incomplete_body"), "{answer}");
}

#[tokio::test]
async fn second_request_that_can_not_be_parsed_gets_an_error_body_too() {
    let world = World::new().await;
    let mut connection = connect(&world.server).await;
    connection.write_all(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert!(response(&mut connection).await.starts_with("HTTP/1.1 200 "));
    connection.write_all(b"nonsense\r\n\r\n").await.expect("sent");
    let answer = response(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("invalid_request"), "{answer}");
}

#[tokio::test]
async fn ambiguous_or_encoded_requests_are_refused() {
    let world = World::new().await;
    for (headers, status, word) in [
        ("Host: localhost\r\nHost: localhost\r\n", 400, "`host`"),
        ("Host: localhost\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n", 400, "`authorization`"),
        ("Host: localhost\r\nContent-Encoding: gzip\r\n", 415, "content-encoding"),
        ("Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n", 415, "transfer-encoding"),
        ("Host: localhost\r\nContent-Encoding: identity\r\nContent-Length: 0\r\n", 422, "invalid_definition"),
    ] {
        let request = format!("POST /api/workflows HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        let answer = raw(&world.server, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(word), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let world = World::new().await;
    let id = world.submit("jobs: {a: {run: x}}").await;
    for path in ["/api/health", "/api/workers", "/api/openapi.json", &format!("/api/workflows/{id}/definition"), "/no"]
    {
        let request =
            |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let get = raw(&world.server, request("GET").as_bytes()).await;
        let head = raw(&world.server, request("HEAD").as_bytes()).await;
        let headers = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.retain(|line| !line.starts_with("date"));
            lines.sort();
            lines
        };
        let (expected, _) = get.split_once("\r\n\r\n").expect("a response");
        assert_eq!(headers(head.strip_suffix("\r\n\r\n").expect("no body")), headers(expected), "{path}");
    }
    let stream =
        format!("HEAD /api/workflows/{id}/jobs/a/logs/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = raw(&world.server, stream.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn name_is_resolved_and_each_of_its_addresses_answers() {
    let engine = Engine::new(Memory::new());
    let server = Server::listening("localhost:0", engine, Admission::Everybody).await.expect("a free port");
    let answer = raw(&server, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let error = |listen: &'static str| async move {
        let engine = Engine::new(Memory::new());
        Server::listening(listen, engine, Admission::Everybody).await.err().expect("no address").to_string()
    };
    assert!(error("nowhere.invalid:0").await.contains("nowhere.invalid:0"));
    assert!(error("localhost").await.contains("localhost"));
    let taken = server.url().trim_start_matches("http://").to_owned();
    let engine = Engine::new(Memory::new());
    let error = Server::listening(&taken, engine, Admission::Everybody).await.err().expect("in use");
    assert!(error.kind() == std::io::ErrorKind::AddrInUse && error.to_string().contains(&taken), "{error}");
}
