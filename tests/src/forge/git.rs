//! Bare repositories behind `git http-backend`, and what git says about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::relay::Received;

/// The id that stands for no commit.
pub(super) const NONE: &str = "0000000000000000000000000000000000000000";

/// A bare repository.
#[derive(Clone, Debug)]
pub(super) struct Bare(pub PathBuf);

/// A path that differs between two commits.
pub(super) struct Changed {
    pub path: String,
    /// The former path of a renamed file.
    pub before: Option<String>,
}

/// A file in a folder of a commit.
pub(super) struct Entry {
    pub name: String,
    pub path: String,
    pub id: String,
    pub size: u64,
    pub is_file: bool,
}

/// A git command that reads no settings of the user.
pub(super) fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
    command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_TERMINAL_PROMPT", "0")]);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    command
}

impl Bare {
    pub(super) async fn create(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let bare = Self(path.to_owned());
        bare.must(&["init", "--quiet", "--bare", "--initial-branch=main", "."]).await;
        // A pull request from a fork shows a commit that the base has under no branch.
        for (key, value) in [
            ("http.receivepack", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("receive.denyDeleteCurrent", "ignore"),
        ] {
            bare.must(&["config", key, value]).await;
        }
        bare
    }

    async fn output(&self, args: &[&str]) -> Output {
        git(&self.0).args(args).output().await.expect("git runs")
    }

    pub(super) async fn must(&self, args: &[&str]) -> String {
        let output = self.output(args).await;
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(super) async fn ask(&self, args: &[&str]) -> Option<Vec<u8>> {
        let output = self.output(args).await;
        output.status.success().then_some(output.stdout)
    }

    /// The object that a revision names.
    pub(super) async fn object(&self, revision: &str) -> Option<String> {
        let found = self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", revision]).await?;
        Some(String::from_utf8(found).ok()?.trim().to_owned())
    }

    /// The commit that a revision names, through tags.
    pub(super) async fn commit(&self, revision: &str) -> Option<String> {
        self.object(&format!("{revision}^{{commit}}")).await
    }

    pub(super) async fn message(&self, commit: &str) -> Option<String> {
        let found = self.ask(&["log", "-1", "--format=%B", commit]).await?;
        Some(String::from_utf8_lossy(&found).trim_end().to_owned())
    }

    pub(super) async fn refs(&self) -> BTreeMap<String, String> {
        let listed = self.must(&["for-each-ref", "--format=%(objectname) %(refname)"]).await;
        listed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (name.to_owned(), id.to_owned()))
            .collect()
    }

    /// True if a commit is an ancestor of another, or the same.
    pub(super) async fn has(&self, older: &str, newer: &str) -> bool {
        self.ask(&["merge-base", "--is-ancestor", older, newer]).await.is_some()
    }

    /// The paths that differ between the merge base and `head`; `None` if one isn't there.
    pub(super) async fn changed(&self, base: &str, head: &str) -> Option<Vec<Changed>> {
        let (base, head) = (self.commit(base).await?, self.commit(head).await?);
        let text = self.ask(&["diff", "--name-status", "-z", "-M", &format!("{base}...{head}")]).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut parts = text.split('\0').filter(|part| !part.is_empty());
        let mut changed = Vec::new();
        while let Some(kind) = parts.next() {
            let first = parts.next()?.to_owned();
            if kind.starts_with('R') {
                changed.push(Changed { before: Some(first), path: parts.next()?.to_owned() });
            } else {
                changed.push(Changed { before: None, path: first });
            }
        }
        Some(changed)
    }

    /// What is in a folder of a commit; `None` if it isn't there.
    pub(super) async fn folder(&self, commit: &str, path: &str) -> Option<Vec<Entry>> {
        let listed = self.ask(&["ls-tree", "-l", "-z", commit, &format!("{path}/")]).await?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let entries: Vec<Entry> = listed
            .split('\0')
            .filter_map(|line| {
                let (about, path) = line.split_once('\t')?;
                let mut about = about.split_ascii_whitespace().skip(1);
                let (kind, id, size) = (about.next()?, about.next()?, about.next()?);
                let name = path.rsplit('/').next()?.to_owned();
                let size = size.parse().unwrap_or(0);
                Some(Entry { name, path: path.to_owned(), id: id.to_owned(), size, is_file: kind == "blob" })
            })
            .collect();
        (!entries.is_empty()).then_some(entries)
    }

    pub(super) async fn file(&self, commit: &str, path: &str) -> Option<Vec<u8>> {
        self.ask(&["cat-file", "blob", &format!("{commit}:{path}")]).await
    }
}

/// Answers a request of git itself by `git http-backend`. Returns the status, the headers and the body.
pub(super) async fn http_backend(
    root: &Path,
    path: &str,
    query: &str,
    request: &Received,
    only_refs: bool,
) -> (u16, String, Vec<u8>) {
    let mut command = git(root);
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "ada");
    command.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", request.line().0);
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    for (variable, header) in [("CONTENT_TYPE", "content-type"), ("HTTP_CONTENT_ENCODING", "content-encoding")] {
        command.env(variable, request.header(header).unwrap_or_default());
    }
    if only_refs {
        let settings = [("COUNT", "1"), ("KEY_0", "uploadpack.allowAnySHA1InWant"), ("VALUE_0", "false")];
        command.envs(settings.map(|(name, value)| (format!("GIT_CONFIG_{name}"), value)));
    } else {
        command.env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default());
    }
    let mut child = command.spawn().expect("git http-backend runs");
    let mut stdin = child.stdin.take().expect("piped");
    let body = request.body.clone();
    // The program may end without having read everything.
    let write = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.expect("it ends");
    let _ = write.await;
    let answer = output.stdout;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the headers");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let (mut status, mut headers) = (200, String::new());
    for line in head.lines() {
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("status") => {
                status = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            }
            _ => headers.push_str(&format!("{line}\r\n")),
        }
    }
    (status, headers, answer[end + 4..].to_vec())
}
