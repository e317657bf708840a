//! How each emulator is started, and the check that it works.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::Kind;
use crate::project::root;
use crate::venv::Venv;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The first request loads the service.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A port on which no process listens now.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// The command that runs an emulator on `port`, with all its files in `directory`.
///
/// Of the caller's environment it gets only `PATH`, so that the caller's settings and credentials don't reach the
/// emulator or the functions.
pub fn command(kind: Kind, venv: &Venv, port: u16, directory: &Path, log: &Path) -> anyhow::Result<Command> {
    let temporary = directory.join("tmp");
    fs::create_dir(&temporary)?;
    let output = File::create(log)?;
    let mut command = Command::new(venv.program("python"));
    match kind {
        Kind::LocalStack => command.args(["-m", "localstack.runtime.main"]),
        Kind::MiniStack => command.arg(root().join("localstack/ministack/run.py")),
    };
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("LANG", "C.UTF-8")
        .env("HOME", directory)
        .env("TMPDIR", &temporary)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    match kind {
        Kind::LocalStack => localstack_environment(&mut command, port, directory),
        Kind::MiniStack => ministack_environment(&mut command, port),
    }
    Ok(command)
}

fn localstack_environment(command: &mut Command, port: u16, directory: &Path) {
    let address = format!("127.0.0.1:{port}");
    command
        .env("GATEWAY_LISTEN", &address)
        .env("LOCALSTACK_HOST", &address)
        .env("FILESYSTEM_ROOT", directory.join("fs"))
        // The plugins of `localstack/plugins`.
        .env("GATEWAY_SERVER", "bound")
        .env("LAMBDA_RUNTIME_EXECUTOR", "native")
        .env("PROVIDER_OVERRIDE_DYNAMODB", "moto")
        .env("PROVIDER_OVERRIDE_DYNAMODBSTREAMS", "moto")
        // Queue URLs with the address above, rather than a host name that may not resolve.
        .env("SQS_ENDPOINT_STRATEGY", "path")
        // It would refuse the template for its HTTP API, although the stack's condition leaves that out.
        .env("CFN_IGNORE_UNSUPPORTED_RESOURCE_TYPES", "1")
        // The interval of polling streams and queues. The default grows to 10 s while they are empty.
        .env("LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC", "0.2")
        .env("LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC", "0.5")
        // No connection to the vendor, and no name server.
        .env("ACTIVATE_PRO", "0")
        .env("LOCALSTACK_ACKNOWLEDGE_ACCOUNT_REQUIREMENT", "1")
        .env("SKIP_SSL_CERT_DOWNLOAD", "1")
        .env("DISABLE_EVENTS", "1")
        .env("DNS_ADDRESS", "0");
}

fn ministack_environment(command: &mut Command, port: u16) {
    command
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        // Functions inherit it; without it they would call AWS.
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        // Each function may do what its role allows. The credentials `test` are the account's root, and may do everything.
        .env("AUTH", "true")
        .env("IOT_MTLS_ENABLED", "0");
}

/// Whether `DynamoDB` lists its tables. A health check may answer before the services work.
pub fn answers(port: u16) -> bool {
    list_tables(port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("TableNames"))
}

fn list_tables(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    connection.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    // Emulators read the service and the region from the signature, and don't verify it.
    let request = format!(
        "POST / HTTP/1.1\r\n\
         Host: {address}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\
         X-Amz-Target: DynamoDB_20120810.ListTables\r\n\
         Content-Type: application/x-amz-json-1.0\r\n\
         Content-Length: 2\r\n\
         Connection: close\r\n\r\n{{}}"
    );
    connection.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
