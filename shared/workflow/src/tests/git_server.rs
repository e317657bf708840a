//! Repositories behind `git http-backend`, for tests of checkouts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// The password that repositories ask for, with any user's name.
pub const TOKEN: &str = "sekret-0123456789";
/// `x-access-token` with that password, as a browser would send it.
const AUTHORIZATION: &str = "Basic eC1hY2Nlc3MtdG9rZW46c2VrcmV0LTAxMjM0NTY3ODk=";

/// A server of bare repositories. It ends with the test's process.
pub struct GitServer {
    folder: TempDir,
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// True for a server that speaks the first protocol, in which it gives no commit by its id unless a ref shows it.
    only_refs: AtomicBool,
    /// The number of requests that it answers with 503.
    failing: AtomicU32,
    /// The path of each request that was answered by git.
    answered: Mutex<Vec<String>>,
}

/// Runs git, which must succeed, without settings of the machine. Returns what it printed.
pub fn git(folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "protocol.file.allow=always"]).args(args);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    let output = command.stdin(Stdio::null()).output().expect("git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

impl GitServer {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::<Shared>::default();
        let (root, of_server) = (folder.path().to_owned(), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, shared) = (root.clone(), Arc::clone(&of_server));
                thread::spawn(move || answer(stream, &root, &shared));
            }
        });
        Self { folder, port, shared }
    }

    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}.git", self.port)
    }

    /// A new repository, and a clone of it in which a test works.
    pub fn repository(&self, name: &str) -> PathBuf {
        let bare = self.folder.path().join(format!("{name}.git"));
        let work = self.folder.path().join(format!("{name}-work"));
        git(self.folder.path(), &["init", "-q", "--bare", "--initial-branch=main", bare.to_str().expect("text")]);
        git(self.folder.path(), &["init", "-q", "--initial-branch=main", work.to_str().expect("text")]);
        git(&work, &["remote", "add", "origin", bare.to_str().expect("text")]);
        work
    }

    pub fn give_only_refs(&self) {
        self.shared.only_refs.store(true, Ordering::SeqCst);
    }

    pub fn fail_next(&self, requests: u32) {
        self.shared.failing.store(requests, Ordering::SeqCst);
    }

    pub fn answered(&self) -> Vec<String> {
        self.shared.answered.lock().expect("no panic").clone()
    }
}

/// Commits a file with this text, and pushes the branch. Returns the commit.
pub fn push(work: &Path, branch: &str, text: &str) -> String {
    std::fs::write(work.join("a"), text).expect("a file");
    git(work, &["add", "-A"]);
    git(work, &["commit", "-q", "-m", text]);
    git(work, &["push", "-q", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]);
    git(work, &["rev-parse", "HEAD"])
}

/// Answers one request and closes the connection.
fn answer(stream: TcpStream, root: &Path, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(1..) if line.trim().is_empty() => break,
            Ok(1..) => head.push(line.trim().to_owned()),
            _ => return,
        }
    }
    let header = |name: &str| {
        let find = |line: &String| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        head.iter().find_map(find).unwrap_or_default()
    };
    let body = read_body(&mut reader, &header("transfer-encoding"), &header("content-length"));
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let failing = shared.failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let reply = if failing {
        "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".as_bytes().to_vec()
    } else if !path.starts_with("/public") && header("authorization") != AUTHORIZATION {
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .as_bytes()
            .to_vec()
    } else {
        shared.answered.lock().expect("no panic").push(path.to_owned());
        let mut backend = Command::new("git");
        backend.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
        backend.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        backend.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", method);
        backend.env("CONTENT_TYPE", header("content-type")).env("CONTENT_LENGTH", body.len().to_string());
        backend.env("HTTP_CONTENT_ENCODING", header("content-encoding"));
        if !shared.only_refs.load(Ordering::SeqCst) {
            backend.env("GIT_PROTOCOL", header("git-protocol"));
        }
        through(backend, body)
    };
    let mut stream = stream;
    let _ = stream.write_all(&reply);
}

fn read_body(reader: &mut impl BufRead, encoding: &str, length: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if encoding != "chunked" {
        body.resize(length.parse().unwrap_or(0), 0);
        let _ = reader.read_exact(&mut body);
        return body;
    }
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        let _ = reader.read_exact(&mut chunk);
        if size == 0 {
            return body;
        }
        body.extend(&chunk[..size]);
    }
}

/// What the program answers to the body, as an HTTP response.
fn through(mut backend: Command, body: Vec<u8>) -> Vec<u8> {
    let mut child = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git http-backend");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = thread::spawn(move || drop(stdin.write_all(&body)));
    let mut output = Vec::new();
    let _ = child.stdout.take().expect("piped").read_to_end(&mut output);
    let _ = (writer.join(), child.wait());
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the headers");
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let headers: String =
        head.lines().filter(|line| !line.starts_with("Status")).map(|line| format!("{line}\r\n")).collect();
    let size = output.len() - end - 4;
    let mut reply =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {size}\r\nConnection: close\r\n\r\n").into_bytes();
    reply.extend(&output[end + 4..]);
    reply
}
