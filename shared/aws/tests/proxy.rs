//! AWS is reached by the proxy that the environment names, and an endpoint on this machine without it.

mod again;

use std::time::Duration;

use again::{child, has_called};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, url)
}

/// The beginning of a request.
async fn request(stream: &mut TcpStream) -> String {
    let mut request = [0; 1024];
    let read = stream.read(&mut request).await.expect("a request");
    String::from_utf8_lossy(&request[..read]).into_owned()
}

#[tokio::test]
async fn endpoint_on_this_machine_is_never_reached_by_a_proxy() {
    if has_called().await {
        return;
    }
    let ((endpoint, endpoint_url), (proxy, proxy_url)) = (listen().await, listen().await);
    let mut child = child("endpoint_on_this_machine_is_never_reached_by_a_proxy");
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];
    child.envs(proxies.map(|name| (name, &proxy_url))).env("AWS_ENDPOINT_URL", endpoint_url);
    let mut child = child.spawn().expect("it runs");
    let reached = async {
        let (mut stream, _) = endpoint.accept().await.expect("a connection");
        let request = request(&mut stream).await;
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        stream.write_all(refusal.as_bytes()).await.expect("answered");
        request
    };
    let request = tokio::select! {
        request = timeout(Duration::from_mins(1), reached) => request.expect("the endpoint was asked"),
        _ = proxy.accept() => panic!("the proxy was asked"),
    };
    assert!(request.starts_with("POST / HTTP/1.1"), "not as by a proxy: {request}");
    assert!(child.wait().await.expect("it ends").success());
    assert!(timeout(Duration::ZERO, proxy.accept()).await.is_err(), "the proxy was asked");
}

#[tokio::test]
async fn aws_is_reached_by_the_proxy_of_the_environment() {
    if has_called().await {
        return;
    }
    let (proxy, proxy_url) = listen().await;
    let mut child = child("aws_is_reached_by_the_proxy_of_the_environment");
    let _child = child.env("https_proxy", proxy_url).spawn().expect("it runs");
    let asked = timeout(Duration::from_mins(1), proxy.accept()).await.expect("the proxy was asked");
    let request = request(&mut asked.expect("a connection").0).await;
    assert!(request.starts_with("CONNECT dynamodb.us-east-1.amazonaws.com:443 "), "{request}");
}
