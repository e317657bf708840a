//! How long a function takes from the start of its process to its first answer, with this process in the place of Lambda's
//! runtime API.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::report::median;

/// How long a function may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A function, and what it is asked.
pub struct Asked<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its variables.
    pub environment: Vec<(&'a str, &'a str)>,
    /// The event, as API Gateway sends it.
    pub event: Value,
}

/// A running function. Dropping it ends it.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Asked<'_> {
    /// Starts the program `rounds` times, and returns the median time until its answer, which must have status 200 or 204.
    pub fn first_answer(&self, rounds: usize) -> Result<Duration> {
        let each: Vec<Duration> = (0..rounds).map(|_| self.once()).collect::<Result<_>>()?;
        Ok(Duration::from_secs_f64(median(each.iter().map(Duration::as_secs_f64))))
    }

    fn once(&self) -> Result<Duration> {
        let runtime = TcpListener::bind("127.0.0.1:0")?;
        let address = runtime.local_addr()?.to_string();
        let (answered, answer) = mpsc::channel();
        let event = self.event.to_string();
        // The thread ends with this process.
        thread::spawn(move || {
            for connection in runtime.incoming().flatten() {
                let (event, answered) = (event.clone(), answered.clone());
                thread::spawn(move || serve(connection, &event, &answered));
            }
        });
        let mut command = Command::new(self.program);
        command.envs(self.environment.iter().copied()).env("AWS_LAMBDA_RUNTIME_API", address).stdout(Stdio::null());
        let began = Instant::now();
        let _started = Started(command.spawn().with_context(|| format!("starting {}", self.program.display()))?);
        let (at, answer) = answer.recv_timeout(PATIENCE).context("the function gave no answer")?;
        let status = serde_json::from_str::<Value>(&answer).ok().and_then(|answer| answer["statusCode"].as_u64());
        ensure!(matches!(status, Some(200 | 204)), "the function answered {answer}");
        Ok(at.duration_since(began))
    }
}

/// Gives one event on the first request for one, and none on others.
fn serve(mut connection: TcpStream, event: &str, answered: &Sender<(Instant, String)>) -> Result<()> {
    let mut requests = BufReader::new(connection.try_clone()?);
    let mut given = false;
    loop {
        let (mut line, mut size) = (String::new(), 0);
        if requests.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_next = line.starts_with("GET ");
        loop {
            let mut header = String::new();
            requests.read_line(&mut header)?;
            match header.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => size = value.trim().parse()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; size];
        requests.read_exact(&mut body)?;
        if !is_next {
            let _ = answered.send((Instant::now(), String::from_utf8(body)?));
            write!(connection, "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        } else if !given {
            given = true;
            write!(
                connection,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: first\r\n\
                 lambda-runtime-deadline-ms: 4102444800000\r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:f\r\n\
                 content-length: {}\r\n\r\n{event}",
                event.len()
            )?;
        }
    }
}

/// The event of a request to an HTTP API, by a caller with this token.
#[must_use]
pub fn http_event(method: &str, path: &str, token: &str, body: &str) -> Value {
    let http = serde_json::json!({
        "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "bench",
    });
    let context = serde_json::json!({
        "accountId": "000000000000", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api", "http": http,
        "requestId": "first", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2026:19:03:58 +0000",
        "timeEpoch": 1_773_342_238_000_u64,
    });
    serde_json::json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "isBase64Encoded": false,
        "headers": {
            "authorization": format!("Bearer {token}"), "host": "api.example.com", "content-type": "application/json",
        },
        "requestContext": context, "body": body,
    })
}
