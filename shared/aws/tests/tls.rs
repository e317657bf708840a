//! An endpoint receives a call if an authority that the machine trusts signed its certificate, and nothing if not.

mod again;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use again::{child, has_called};
use aws::Aws;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

const NAME: &str = "endpoint_receives_a_call_only_if_the_machine_trusts_its_certificate";
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
async fn endpoint_receives_a_call_only_if_the_machine_trusts_its_certificate() {
    if has_called(Aws::load_settings).await {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, other) = (authority("ours"), authority("another"));
    for (trusted, is_called) in [(&ours, true), (&other, false)] {
        let file = folder.path().join("authority.pem");
        fs::write(&file, trusted.pem()).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let mut child = child(NAME);
        child.env("SSL_CERT_FILE", &file).env("AWS_ENDPOINT_URL", format!("https://localhost:{port}"));
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
