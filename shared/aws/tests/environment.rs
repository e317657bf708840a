//! What the environment says of AWS: the proxy by which it is reached, and for a function its endpoints and credentials.

mod again;

use std::time::Duration;

use again::{child, has_called};
use aws::Aws;
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

/// Refuses one request, and returns its beginning.
async fn refused(endpoint: &TcpListener) -> String {
    let refuse = async {
        let (mut stream, _) = endpoint.accept().await.expect("a connection");
        let request = request(&mut stream).await;
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        stream.write_all(refusal.as_bytes()).await.expect("answered");
        request
    };
    timeout(Duration::from_mins(1), refuse).await.expect("the endpoint was asked")
}

#[tokio::test]
async fn endpoint_on_this_machine_is_never_reached_by_a_proxy() {
    if has_called(Aws::load_settings).await {
        return;
    }
    let ((endpoint, endpoint_url), (proxy, proxy_url)) = (listen().await, listen().await);
    let mut child = child("endpoint_on_this_machine_is_never_reached_by_a_proxy");
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];
    child.envs(proxies.map(|name| (name, &proxy_url))).env("AWS_ENDPOINT_URL", endpoint_url);
    let mut child = child.spawn().expect("it runs");
    let request = tokio::select! {
        request = refused(&endpoint) => request,
        _ = proxy.accept() => panic!("the proxy was asked"),
    };
    assert!(request.starts_with("POST / HTTP/1.1"), "not as by a proxy: {request}");
    assert!(child.wait().await.expect("it ends").success());
    assert!(timeout(Duration::ZERO, proxy.accept()).await.is_err(), "the proxy was asked");
}

#[tokio::test]
async fn aws_is_reached_by_the_proxy_of_the_environment() {
    if has_called(Aws::load_settings).await {
        return;
    }
    let (proxy, proxy_url) = listen().await;
    let mut child = child("aws_is_reached_by_the_proxy_of_the_environment");
    let _child = child.env("https_proxy", proxy_url).spawn().expect("it runs");
    let asked = timeout(Duration::from_mins(1), proxy.accept()).await.expect("the proxy was asked");
    let request = request(&mut asked.expect("a connection").0).await;
    assert!(request.starts_with("CONNECT dynamodb.us-east-1.amazonaws.com:443 "), "{request}");
}

#[tokio::test]
async fn function_uses_the_endpoint_of_the_service_and_the_credentials_of_its_environment() {
    if has_called(async || Aws::settings_of_function()).await {
        return;
    }
    let ((endpoint, url), (others, url_of_others)) = (listen().await, listen().await);
    let mut child = child("function_uses_the_endpoint_of_the_service_and_the_credentials_of_its_environment");
    child.env("AWS_ENDPOINT_URL", url_of_others).env("AWS_ENDPOINT_URL_DYNAMODB", url);
    child
        .env("AWS_REGION", "eu-north-1")
        .env("AWS_ACCESS_KEY_ID", "AKOFTHEROLE")
        .env("AWS_SESSION_TOKEN", "of-the-role");
    let mut child = child.spawn().expect("it runs");
    let request = refused(&endpoint).await;
    assert!(request.contains("Credential=AKOFTHEROLE/"), "{request}");
    assert!(request.contains("/eu-north-1/dynamodb/aws4_request"), "{request}");
    assert!(request.contains("x-amz-security-token: of-the-role\r\n"), "{request}");
    assert!(child.wait().await.expect("it ends").success());
    assert!(timeout(Duration::ZERO, others.accept()).await.is_err(), "the endpoint of the other services was asked");
}

#[tokio::test]
async fn function_without_credentials_asks_nobody_for_them() {
    if has_called(async || Aws::settings_of_function()).await {
        return;
    }
    let ((endpoint, url), (machine, url_of_machine)) = (listen().await, listen().await);
    let mut child = child("function_without_credentials_asks_nobody_for_them");
    child.env_remove("AWS_ACCESS_KEY_ID").env("AWS_ENDPOINT_URL", url);
    child.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url_of_machine);
    let ended = timeout(Duration::from_mins(1), child.status()).await.expect("it fails at once");
    assert!(ended.expect("it ran").success());
    for listener in [endpoint, machine] {
        assert!(timeout(Duration::ZERO, listener.accept()).await.is_err(), "somebody was asked");
    }
}
