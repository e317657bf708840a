//! Calls are encrypted for an endpoint whose certificate the machine trusts, and no other endpoint is told anything. The
//! environment of this process can't be changed, so the test runs itself again in child processes that trust an authority.

use std::env;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws::{Aws, Config};
use engine::ports::TokenStore;
use protocol::Millis;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// Set in the child process.
const CHILD: &str = "WFG_TEST_CHILD";
const NAME: &str = "an_endpoint_is_called_if_the_machine_trusts_its_certificate_and_told_nothing_if_not";
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A server for `localhost` with a certificate of this authority.
fn server(authority: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key.into()).expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn an_endpoint_is_called_if_the_machine_trusts_its_certificate_and_told_nothing_if_not() {
    if env::var_os(CHILD).is_some() {
        let config = Config { jobs_table: "jobs".to_owned(), ..Config::default() };
        let ports = Aws::with_settings(config, &Aws::load_settings().await);
        ports.tokens(Millis::now()).await.expect_err("the endpoint refuses everything");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other) = (authority("ours"), authority("another"));
    for (trusted, is_called) in [(&ours, true), (&other, false)] {
        let file = folder.path().join("authority.pem");
        fs::write(&file, trusted.pem()).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mut child = Command::new(env::current_exe().expect("this program"));
        child.args(["--exact", NAME]).env(CHILD, "1").env("SSL_CERT_FILE", &file).env_remove("SSL_CERT_DIR");
        child.env("AWS_ENDPOINT_URL", format!("https://localhost:{port}")).env("AWS_REGION", "us-east-1");
        child.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_MAX_ATTEMPTS", "1");
        child.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = child.spawn().expect("it runs");
        let acceptor = server(&ours);
        let accept = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = acceptor.accept(stream).await.ok()?;
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.ok().filter(|read| *read > 0)?;
            stream.write_all(REFUSAL.as_bytes()).await.expect("answered");
            stream.shutdown().await.expect("closed");
            Some(String::from_utf8_lossy(&request[..read]).into_owned())
        };
        let request = timeout(Duration::from_mins(1), accept).await.expect("the endpoint was reached");
        assert_eq!(request.is_some_and(|request| request.starts_with("POST / HTTP/1.1")), is_called);
        drop(listener);
        assert!(child.wait().await.expect("it ends").success());
    }
}
