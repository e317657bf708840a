//! Proxies of the environment. The environment of this process can't be changed, so each test runs itself again in a child process
//! that has a proxy. The child asserts what the client does; its parent asserts that the child passed.

use std::env;
use std::process::Stdio;
use std::time::Duration;

use client::Client;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::common::World;

/// The environment variable with the server's URL. Only child processes have it.
const URL: &str = "WFG_TEST_URL";

/// The client of a child process; `None` in the parent.
fn client_of_child() -> Option<Client> {
    env::var(URL).ok().map(|url| Client::new(&url, None).expect("a URL"))
}

/// Asserts that this test passes in a child process that has this proxy for every server.
async fn passes_with_proxy(test: &str, url: &str, proxy: &str) {
    let child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", &format!("proxies::{test}")])
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .envs(["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"].map(|name| (name, proxy)))
        .env(URL, url)
        .stdin(Stdio::null())
        .output();
    let child = child.await.expect("it runs");
    let output = String::from_utf8_lossy(&child.stdout);
    // If no test has this name, the child succeeds too.
    assert!(child.status.success() && output.contains("ok. 1 passed"), "{url}: {output}");
}

#[tokio::test]
async fn loopback_is_never_reached_by_a_proxy() {
    if let Some(client) = client_of_child() {
        assert!(client.workers().await.expect("the server answers").is_empty());
        return;
    }
    let world = World::new().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = proxy.local_addr().expect("an address");
    let port = world.server.url().rsplit_once(':').expect("a port").1.to_owned();
    for host in ["127.0.0.1", "localhost", "LocalHost"] {
        let (url, proxy) = (format!("http://{host}:{port}"), format!("http://{address}"));
        passes_with_proxy("loopback_is_never_reached_by_a_proxy", &url, &proxy).await;
    }
    assert!(timeout(Duration::ZERO, proxy.accept()).await.is_err(), "the proxy was asked");
}

#[tokio::test]
async fn error_behind_a_proxy_names_it_without_its_password() {
    if let Some(client) = client_of_child() {
        let error = client.workers().await.expect_err("there is no such proxy").to_string();
        assert!(error.contains("by the proxy http://127.0.0.1:1") && !error.contains("hunter22"), "{error}");
        return;
    }
    // Nothing listens on port 1.
    let proxy = "http://user:hunter22@127.0.0.1:1";
    passes_with_proxy("error_behind_a_proxy_names_it_without_its_password", "http://server.invalid", proxy).await;
}
