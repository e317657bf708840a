//! `wfg serve`: runs the server in this process.

use std::io::ErrorKind;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use engine::Engine;
use engine::clock::SystemClock;
use engine::forge::ports::Forge;
use engine::forge::store::ForgeStore;
use engine::ports::{Local, SecretStore};
use memory::Memory;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use protocol::Secrets;
use server::{Admission, Server};
use sqlite::Sqlite;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::context::Context;
use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::secret::SecretsArg;
use crate::signals::Signals;
use crate::token;

/// The address that `wfg` and workers use by default.
const DEFAULT: &str = "127.0.0.1:3000";

#[derive(Args)]
pub struct ServeArgs {
    /// Store everything in this file; without it nothing is kept when the server ends
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    secrets: SecretsArg,
    /// Address to listen on, such as localhost:3000; port 0 chooses a free port
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT)]
    listen: String,
    /// Require tokens on a loopback address too; other addresses always require them
    #[arg(long)]
    auth: bool,
    /// Require no tokens on an address that other machines can reach: anyone who connects can run commands on the workers
    #[arg(long, conflicts_with = "auth")]
    insecure_no_auth: bool,
    /// Address by which forges reach this server, such as `https://wfg.example.com`; callers then need tokens. `wfg forge` needs it
    #[arg(long, value_name = "URL", env = "WFG_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<String>,
}

/// Checks an address that people and forges call: http or https, a host, and no user, query or fragment.
fn public_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let has_host = rest.split('/').next().is_some_and(|host| !host.is_empty());
    if !has_host || rest.contains(['?', '#', '@', ' ', '\\']) || rest.chars().any(char::is_control) {
        return Err(format!("{text:?} is no address such as https://wfg.example.com"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl ServeArgs {
    /// Serves until a signal asks it to end. A second signal ends it at once.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        log_to_stderr("info")?;
        allow_many_connections();
        let secrets = self.secrets.open()?;
        let secrets: Arc<dyn SecretStore> = match secrets {
            Some(file) => Arc::new(file),
            None => Arc::new(Secrets::new()),
        };
        match &self.data {
            Some(file) => {
                let store = Sqlite::open(file).map_err(|error| Failure::usage(&error))?;
                serve(&context.screen, &self, self.with_forges_and_secrets(Engine::new(store), secrets)).await
            }
            None => {
                serve(&context.screen, &self, self.with_forges_and_secrets(Engine::new(Memory::new()), secrets)).await
            }
        }
    }
}

impl ServeArgs {
    /// The engine with secrets and forges.
    fn with_forges_and_secrets<P: ForgeStore + 'static>(
        &self,
        engine: Engine<P>,
        secrets: Arc<dyn SecretStore>,
    ) -> Engine<P> {
        let port: Arc<dyn Forge> = Arc::new(forge::Forges::new(Arc::clone(&secrets), Arc::new(SystemClock)));
        let engine = engine.with_secrets(secrets).with_forges(port).with_checkouts_of_links();
        match &self.public_url {
            Some(url) => engine.with_public_url(url.as_str().into()),
            None => engine,
        }
    }
}

async fn serve<P: Local + 'static>(screen: &Screen, args: &ServeArgs, engine: Engine<P>) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let auth = if requires_tokens(args) { Admission::Tokens } else { Admission::Everybody };
    let server = Server::listening(&args.listen, engine, auth).await;
    let server = server.map_err(|error| cannot_listen(&args.listen, &error))?;
    if let Err(failure) = screen.print(&greeting(args, &server.url())) {
        eprint(&format!("{failure}; the server runs all the same"));
    }
    if requires_tokens(args)
        && let Some(token) = token::first(server.engine()).await?
    {
        screen.print(&format!("the first token, for everything, shown this once: {token}\n"))?;
    }
    signals.next().await;
    eprint("stopping: open requests are answered first");
    tokio::select! {
        () = server.stop() => Ok(()),
        code = signals.next() => Err(Failure::Signalled(code)),
    }
}

/// Users of this machine can run commands on it anyway; callers from other machines need a token.
fn requires_tokens(args: &ServeArgs) -> bool {
    // What a forge can reach, others can too, whatever the address behind a proxy is.
    args.auth || !(args.insecure_no_auth || is_loopback(&args.listen) && args.public_url.is_none())
}

/// Whether all addresses of a `host:port` are of this machine only.
fn is_loopback(listen: &str) -> bool {
    listen.to_socket_addrs().is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback()))
}

fn cannot_listen(address: &str, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            let port = address.rsplit(':').next().unwrap_or_default();
            format!("port {port} is in use, maybe by another `wfg serve`; --listen takes another address")
        }
        ErrorKind::PermissionDenied => format!("{error}; ports below 1024 need privileges"),
        _ => error.to_string(),
    };
    Failure::Usage(format!("can't listen on {address}: {hint}."))
}

fn greeting(args: &ServeArgs, url: &str) -> String {
    let kept = match &args.data {
        Some(file) => format!("everything is kept in {}", file.display()),
        None => "nothing is kept: it is all gone when this ends; --data ./wfg.db keeps it in a file".to_owned(),
    };
    let server = if args.listen == DEFAULT { String::new() } else { format!("SERVER_URL={url} ") };
    let token = if requires_tokens(args) { "callers need a token; `wfg token create` makes one\n" } else { "" };
    format!("wfg serves {url}\n{kept}\n{token}try: {server}wfg worker & {server}wfg submit FILE --watch\n")
}

/// Logs the engine's and the server's events to standard error. `RUST_LOG` sets the level, else `default_level`.
pub fn log_to_stderr(default_level: &str) -> Result<(), Failure> {
    let level = std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty());
    let filter = level.as_deref().unwrap_or(default_level).parse::<Targets>();
    let filter = filter.map_err(|error| Failure::Usage(format!("RUST_LOG can't be used: {error}.")))?;
    // Without a reader of standard error a line is lost; the default would panic.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_max_level(LevelFilter::TRACE);
    // Fails only if it was set up before.
    let _ = log.with_writer(std::io::stderr).with_target(false).finish().with(filter).try_init();
    Ok(())
}

/// Raises the limit of open files: each waiting worker is an open connection, and the usual limit is a thousand.
fn allow_many_connections() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use client::DEFAULT_SERVER_URL;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn args(args: &[&str]) -> ServeArgs {
        Program::try_parse_from(["wfg"].iter().chain(args)).expect("good arguments").serve
    }

    fn listen(address: &str) -> ServeArgs {
        args(&["--listen", address])
    }

    #[test]
    fn the_default_address_is_where_clients_look() {
        assert_eq!(DEFAULT_SERVER_URL, "http://localhost:3000");
        let args = args(&[]);
        assert_eq!(args.listen, DEFAULT);
        assert!(greeting(&args, "http://127.0.0.1:3000").contains("\ntry: wfg worker & wfg submit FILE --watch\n"));
    }

    #[test]
    fn tokens_are_required_where_other_machines_can_connect_unless_the_risk_is_taken() {
        for here in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:3000", "localhost:3000"] {
            assert!(!requires_tokens(&listen(here)), "{here}");
            assert!(requires_tokens(&ServeArgs { auth: true, ..listen(here) }));
        }
        for elsewhere in
            ["0.0.0.0:3000", "[::]:3000", "192.168.1.5:3000", "[::ffff:127.0.0.1]:3000", "no.such.host.invalid:1"]
        {
            assert!(requires_tokens(&listen(elsewhere)), "{elsewhere}");
            assert!(!requires_tokens(&ServeArgs { insecure_no_auth: true, ..listen(elsewhere) }));
        }
    }
}
