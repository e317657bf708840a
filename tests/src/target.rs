//! Selects the server under test.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock, mpsc};

use engine::Engine;
use engine::clock::SystemClock;
use engine::ports::Local;
use forge::Forges;
use memory::Memory;
use server::secrets::SecretsFile;
use server::{Admission, Server};
use sqlite::Sqlite;

use crate::emulator::Emulator;

/// The server under test.
pub(crate) struct Target {
    pub url: String,
    /// Whether its state is in AWS or an emulator: large answers go by URL, and changes arrive later.
    pub on_aws: bool,
    pub emulator: Option<Emulator>,
    /// The file of its secrets, if they aren't in the emulator.
    pub secrets: Option<PathBuf>,
}

/// One target for all tests of a process.
pub(crate) fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| match env::var("WFG_TEST_URL") {
        Ok(url) if !url.is_empty() => {
            let url = url.trim_end_matches('/').to_owned();
            Target { url, on_aws: true, emulator: Emulator::from_env(), secrets: None }
        }
        _ => {
            let folder = folder_of_this_process();
            let secrets = folder.join("secrets.json");
            server::secrets::change(&secrets, |_| ()).expect("a file");
            let url = serve_in_this_process(folder, secrets.clone());
            Target { url, on_aws: false, emulator: None, secrets: Some(secrets) }
        }
    })
}

/// The server runs in a thread of its own, because each test's runtime ends with the test.
fn serve_in_this_process(folder: PathBuf, secrets: PathBuf) -> String {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let secrets = SecretsFile::open(secrets).expect("one's own file");
            match env::var("WFG_TEST_STORE").as_deref() {
                Ok("sqlite") => {
                    let store = Sqlite::open(folder.join("wfg.db")).expect("a fresh file");
                    serve(store, secrets, &sender).await;
                }
                Ok(other) => panic!("WFG_TEST_STORE is {other:?}; there is sqlite, and memory without it"),
                Err(_) => serve(Memory::new(), secrets, &sender).await,
            }
        });
    });
    receiver.recv().expect("the server starts")
}

/// A folder that is removed when this process ends, in any way. No destructor runs after the last test.
fn folder_of_this_process() -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let mut guard = Command::new("sh");
    guard.args(["-c", "cat >/dev/null; rm -rf \"$0\""]).arg(&folder).stdin(Stdio::piped());
    // The child's input ends exactly when this process ends.
    std::mem::forget(guard.spawn().expect("there is a shell"));
    folder
}

async fn serve<P: Local + 'static>(store: P, secrets: SecretsFile, sender: &mpsc::Sender<String>) {
    let secrets = Arc::new(secrets);
    let forges = Arc::new(Forges::new(secrets.clone(), Arc::new(SystemClock)));
    let engine = Engine::new(store).with_secrets(secrets).with_forges(forges).with_checkouts_of_links();
    let engine = engine.with_public_url("https://wfg.example.com".into());
    let token = engine.tokens().first().await.expect("made").expect("the first").token;
    let server = Server::admitting(([127, 0, 0, 1], 0).into(), engine, Admission::Tokens).await.expect("a free port");
    sender.send(with_token(&server.url(), &token)).expect("a receiver waits");
    std::future::pending::<()>().await;
}

/// A server's address with a token in it.
pub(crate) fn with_token(url: &str, token: &str) -> String {
    url.replacen("://", &format!("://w:{token}@"), 1)
}
