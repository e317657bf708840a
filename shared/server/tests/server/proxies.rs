//! Proxies of the environment. The environment of this process can't be changed, so the client runs in a child process.

use std::env;
use std::process::Stdio;

use client::Client;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::common::World;

const URL: &str = "WFG_TEST_URL";

/// Runs in the child process only.
#[tokio::test]
#[ignore = "the other tests run it in a process of its own"]
async fn child() {
    let client = Client::new(&env::var(URL).expect("set by the test"), Some("sesame".to_owned())).expect("a URL");
    match client.workers().await {
        Ok(workers) => println!("answered {}", workers.len()),
        Err(error) => println!("{error}"),
    }
}

/// What the child prints when it asks the server at this URL, with this proxy for everything.
async fn ask(url: &str, proxy: &str) -> String {
    let child = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "proxies::child", "--ignored", "--nocapture"])
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .envs(["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"].map(|name| (name, proxy)))
        .env(URL, url)
        .stdin(Stdio::null())
        .output();
    String::from_utf8(child.await.expect("it runs").stdout).expect("text")
}

#[tokio::test]
async fn loopback_is_never_reached_by_a_proxy() {
    let world = World::new().await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = proxy.local_addr().expect("an address");
    let port = world.server.url().rsplit_once(':').expect("a port").1.to_owned();
    for host in ["127.0.0.1", "localhost", "LocalHost"] {
        let asked = ask(&format!("http://{host}:{port}"), &format!("http://{address}")).await;
        assert!(asked.contains("answered 0"), "{host}: {asked}");
    }
    let connected = tokio::time::timeout(std::time::Duration::ZERO, proxy.accept()).await;
    assert!(connected.is_err(), "the proxy was asked");
}

#[tokio::test]
async fn error_behind_a_proxy_names_it_without_its_password() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = proxy.local_addr().expect("an address");
    drop(proxy);
    let asked = ask("http://server.invalid", &format!("http://user:hunter22@{address}")).await;
    assert!(asked.contains(&format!("by the proxy http://{address}")) && !asked.contains("hunter22"), "{asked}");
}
