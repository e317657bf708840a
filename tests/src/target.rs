//! Where the tests are sent.

use std::env;
use std::sync::{OnceLock, mpsc};

use server::Server;

use crate::emulator::Emulator;

/// What is tested.
pub(crate) struct Target {
    pub url: String,
    /// Whether it keeps its state in AWS, or what stands for it: large answers go by URL, changes arrive later.
    pub on_aws: bool,
    pub emulator: Option<Emulator>,
}

/// The same for all tests of a process.
pub(crate) fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| match env::var("WFG_TEST_URL") {
        Ok(url) if !url.is_empty() => {
            let url = url.trim_end_matches('/').to_owned();
            Target { url, on_aws: true, emulator: Emulator::from_env() }
        }
        _ => Target { url: serve_in_this_process(), on_aws: false, emulator: None },
    })
}

/// Each test has a runtime of its own that ends with it, so the server has a thread of its own.
fn serve_in_this_process() -> String {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let server = Server::in_memory(([127, 0, 0, 1], 0).into()).await.expect("a free port");
            tell.send(server.url()).expect("somebody asked");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("the server starts")
}
