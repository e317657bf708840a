//! An endpoint on this machine is reached without a proxy. The environment of this process can't be changed, so the test runs
//! itself again in a child process that has a proxy.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use aws::{Aws, Config};
use engine::ports::TokenStore;
use protocol::Millis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

/// Set in the child process.
const CHILD: &str = "WFG_TEST_CHILD";

#[tokio::test]
async fn endpoint_on_this_machine_is_never_reached_by_a_proxy() {
    if env::var_os(CHILD).is_some() {
        let config = Config { jobs_table: "jobs".to_owned(), ..Config::default() };
        let ports = Aws::with_settings(config, &Aws::load_settings().await);
        ports.tokens(Millis::now()).await.expect_err("the endpoint refuses everything");
        return;
    }
    let listen = || TcpListener::bind("127.0.0.1:0");
    let (endpoint, proxy) = (listen().await.expect("a free port"), listen().await.expect("a free port"));
    let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args(["--exact", "endpoint_on_this_machine_is_never_reached_by_a_proxy"]).env(CHILD, "1");
    child.env_remove("NO_PROXY").env_remove("no_proxy").stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"];
    child.envs(proxies.map(|name| (name, url(&proxy)))).env("AWS_ENDPOINT_URL", url(&endpoint));
    child.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let mut child = child.spawn().expect("it runs");
    let reached = async {
        let (mut stream, _) = endpoint.accept().await.expect("a connection");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.expect("a request");
        let refusal = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        stream.write_all(refusal.as_bytes()).await.expect("answered");
        String::from_utf8_lossy(&request[..read]).into_owned()
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
    if env::var_os(CHILD).is_some() {
        let config = Config { jobs_table: "jobs".to_owned(), ..Config::default() };
        let ports = Aws::with_settings(config, &Aws::load_settings().await);
        ports.tokens(Millis::now()).await.expect_err("the proxy refuses everything");
        return;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut child = Command::new(env::current_exe().expect("this program"));
    child.args(["--exact", "aws_is_reached_by_the_proxy_of_the_environment"]).env(CHILD, "1");
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("AWS_ENDPOINT_URL");
    child.env("https_proxy", format!("http://{}", proxy.local_addr().expect("an address")));
    child.env("AWS_REGION", "us-east-1").env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    child.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let _child = child.spawn().expect("it runs");
    let (mut stream, _) =
        timeout(Duration::from_mins(1), proxy.accept()).await.expect("the proxy was asked").expect("a connection");
    let mut request = [0; 1024];
    let read = stream.read(&mut request).await.expect("a request");
    let request = String::from_utf8_lossy(&request[..read]);
    assert!(request.starts_with("CONNECT dynamodb.us-east-1.amazonaws.com:443 "), "{request}");
}
