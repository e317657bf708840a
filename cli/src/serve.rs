//! `wfg serve`: the whole engine in this process.

use std::io::ErrorKind;
use std::net::SocketAddr;

use engine::Engine;
use engine::ports::Local;
use memory::Memory;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use server::{Admission, Server};
use sqlite::Sqlite;

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::screen::{Screen, eprint};
use crate::signals::Signals;
use crate::{secret, token};

/// The address that `wfg` and workers look for when they are told none.
const DEFAULT: &str = "127.0.0.1:3000";

/// Serves until SIGTERM or ctrl-C. A second one ends it at once.
pub async fn run(screen: &Screen, args: &ServeArgs) -> Result<(), Failure> {
    tell_what_goes_wrong("info");
    allow_many_connections();
    let secrets = secret::open(args.secrets.as_deref())?;
    match &args.data {
        Some(file) => {
            let store = Sqlite::open(file).map_err(|error| Failure::usage(&error))?;
            serve(screen, args, secret::with_file(Engine::new(store), secrets)).await
        }
        None => serve(screen, args, secret::with_file(Engine::new(Memory::new()), secrets)).await,
    }
}

async fn serve<P: Local + 'static>(screen: &Screen, args: &ServeArgs, engine: Engine<P>) -> Result<(), Failure> {
    let mut signals = Signals::catch()?;
    let auth = if asks_for_tokens(args) { Admission::Tokens } else { Admission::Everybody };
    let server = Server::admitting(args.listen, engine, auth).await;
    let server = server.map_err(|error| cannot_listen(args.listen, &error))?;
    screen.print(&greeting(args, &server.url()))?;
    if asks_for_tokens(args)
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

/// Who is on this machine may run commands on it anyway; others may only with a token.
fn asks_for_tokens(args: &ServeArgs) -> bool {
    args.auth || !(args.listen.ip().is_loopback() || args.insecure_no_auth)
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => {
            let port = address.port();
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
    let server = if args.listen.to_string() == DEFAULT { String::new() } else { format!("SERVER_URL={url} ") };
    let token = if asks_for_tokens(args) { "callers need a token; `wfg token create` makes one\n" } else { "" };
    format!("wfg serves {url}\n{kept}\n{token}try: {server}wfg worker & {server}wfg submit FILE --watch\n")
}

/// What the engine and the server have to say goes to standard error; `RUST_LOG` says how much.
pub fn tell_what_goes_wrong(unless_told: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(unless_told));
    // Fails only if it was set up before.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}

/// A waiting worker is an open connection, and the usual limit is a thousand.
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
    use crate::args::{Cli, Command};

    fn args(listen: &str) -> ServeArgs {
        let Ok(Cli { command: Command::Serve(args), .. }) = Cli::try_parse_from(["wfg", "serve", "--listen", listen])
        else {
            panic!("good arguments")
        };
        args
    }

    #[test]
    fn the_default_address_is_where_clients_look() {
        assert_eq!(DEFAULT_SERVER_URL, "http://localhost:3000");
        let Ok(Cli { command: Command::Serve(args), .. }) = Cli::try_parse_from(["wfg", "serve"]) else {
            panic!("good")
        };
        assert_eq!(args.listen.to_string(), DEFAULT);
        assert!(greeting(&args, "http://127.0.0.1:3000").contains("\ntry: wfg worker & wfg submit FILE --watch\n"));
    }

    #[test]
    fn tokens_are_asked_for_where_other_machines_can_connect_unless_the_risk_is_taken() {
        for here in ["127.0.0.1:0", "127.1.2.3:80", "[::1]:3000"] {
            assert!(!asks_for_tokens(&args(here)), "{here}");
            assert!(asks_for_tokens(&ServeArgs { auth: true, ..args(here) }));
        }
        for elsewhere in ["0.0.0.0:3000", "[::]:3000", "192.168.1.5:3000", "[::ffff:127.0.0.1]:3000"] {
            assert!(asks_for_tokens(&args(elsewhere)), "{elsewhere}");
            assert!(!asks_for_tokens(&ServeArgs { insecure_no_auth: true, ..args(elsewhere) }));
        }
    }
}
