//! The text of a job's checkout, run by each `sh` of this machine against the test forge's git.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use harness::forge::{TOKEN, TestForge, WorkingCopy};
use protocol::SecretValue;
use protocol::wire::CHECKOUT_TOKEN;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;
use workflow::{CheckoutCredential, CheckoutFrom, Definition, EnvValue, from_yaml};

/// The shells that may run a command: `sh`, and those of other systems, if they are here.
const SHELLS: [&[&str]; 4] = [&["sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"]];
/// Prints where the credential still is. `/proc` is Linux's.
const LOOK: &str = "set +e; env | grep -c 'forge-t[o]ken'; grep -c 'forge-t[o]ken' .git/config; for p in $$ $PPID; do for f in environ cmdline; do \
                    tr '\\0' '\\n' </proc/$p/$f | grep -c -e 'forge-t[o]ken' -e 'GIT_CONFIG_[K]EY'; done; done; true";
const NOWHERE: &str = "0\n0\n0\n0\n0\n0\n";

/// A forge, with repositories for everybody whose names begin with `public`.
struct GitServer(TestForge);

impl GitServer {
    async fn start() -> Self {
        Self(TestForge::starts().await)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.0.url())
    }

    /// A new repository, and a working copy of it.
    async fn repository(&self, name: &str) -> WorkingCopy {
        self.0.repository(name, !name.starts_with("public")).await;
        self.0.working_copy(name).await
    }
}

/// Commits a file with this text, and pushes the branch. Returns the commit.
async fn push(work: &WorkingCopy, branch: &str, text: &str) -> String {
    let commit = work.commit(&[("a", text)], text).await;
    work.push(&["--force", &format!("HEAD:refs/heads/{branch}")]).await;
    commit
}

/// The folders of a job, and a `sleep` that only says how long.
struct Machine {
    folder: TempDir,
}

struct Ran {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["bin", "home", "tmp", "job", "scripts"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let sleep = folder.path().join("bin/sleep");
        fs::write(&sleep, "#!/bin/sh\necho \"slept $1\" >&2\n").expect("a file");
        fs::set_permissions(sleep, fs::Permissions::from_mode(0o755)).expect("an executable");
        Self { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command as a worker does that sets the credential, and returns what it printed, with the job's folder as `OWN`.
    async fn run(&self, shell: &[&str], text: &str, set: impl FnOnce(&mut Command)) -> Ran {
        let mut command = Command::new(shell[0]);
        let path = std::env::var("PATH").expect("a path");
        command.args(&shell[1..]).args(["-c", text]).current_dir(self.folder.path()).env_clear();
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("JOB_DIR", self.path("job")).env("JOB_SCRIPTS", self.path("scripts")).env(CHECKOUT_TOKEN, TOKEN);
        set(&mut command);
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().await.expect("a shell");
        let [stdout, stderr] = [stdout, stderr].map(|bytes| {
            let text = String::from_utf8(bytes).expect("text");
            text.replace(self.path("job").to_str().expect("text"), "OWN")
        });
        Ran { stdout, stderr, code: status.code() }
    }

    async fn run_sh(&self, text: &str) -> Ran {
        self.run(&["sh"], text, |_| {}).await
    }
}

impl Ran {
    /// What the script printed after the line of the checkout.
    fn printed(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        let (title, rest) = self.stdout.split_once('\n').expect("a title");
        assert!(title.starts_with("--- checkout of http://127.0.0.1:"), "{title}");
        rest
    }
}

fn is_here(shell: &[&str]) -> bool {
    std::process::Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", ":"])
        .status()
        .is_ok_and(|status| status.success())
}

fn definition(text: &str) -> Definition {
    from_yaml(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn from(url: &str, commit: &str, refs: &[&str]) -> CheckoutFrom {
    let credential = Some(CheckoutCredential { user: "x-access-token".to_owned(), set: None });
    let refs = refs.iter().map(|name| (*name).to_owned()).collect();
    CheckoutFrom { url: url.to_owned(), commit: commit.to_owned(), refs, credential }
}

/// The command of the only job, which has a checkout and these lines.
fn command(lines: &str, from: &CheckoutFrom) -> String {
    let definition = definition(&format!("jobs:\n  a:\n    {}\n", lines.replace('\n', "\n    ")));
    let settings = &definition.jobs[0].settings;
    let value = |value: &EnvValue| match value {
        EnvValue::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let env: Vec<_> = settings.env.iter().map(|(name, of)| (name.clone(), value(of))).collect();
    settings.command_with_checkout(&env, from)
}

fn script(text: &str, from: &CheckoutFrom) -> String {
    command(&format!("checkout: true\nrun: {}", json!(text)), from)
}

#[tokio::test]
async fn script_begins_in_the_commit_and_finds_no_credential_whatever_the_shell() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    let first = push(&work, "main", "one").await;
    push(&work, "main", "two").await;
    for shell in SHELLS.into_iter().filter(|shell| is_here(shell)) {
        let machine = Machine::new();
        let text =
            script(&format!("pwd; cat a; echo; git log --format=%s; {LOOK}"), &from(&server.url("app"), &first, &[]));
        assert!(!text.contains(TOKEN));
        let ran = machine.run(shell, &text, |_| {}).await;
        assert_eq!(ran.printed(), format!("OWN/src\none\none\n{NOWHERE}"), "{shell:?}: {}", ran.stderr);
        assert_eq!(fs::read_dir(machine.path("scripts")).expect("a folder").count(), 0, "{shell:?}");
    }
}

#[tokio::test]
async fn worker_that_knows_only_the_command_runs_it_with_the_credential_in_it() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    for (shell, gives_folder) in
        SHELLS.into_iter().filter(|shell| is_here(shell)).flat_map(|shell| [(shell, true), (shell, false)])
    {
        let machine = Machine::new();
        let mut from = from(&server.url("app"), &commit, &[]);
        from.credential.as_mut().expect("one").set = Some(SecretValue::new(TOKEN).expect("a value"));
        let text = script(&format!("cat a; echo; {LOOK}; exit 3"), &from);
        let ran = machine
            .run(shell, &text, |sh| {
                sh.env_remove(CHECKOUT_TOKEN).env_remove("JOB_SCRIPTS");
                if !gives_folder {
                    sh.env_remove("JOB_DIR");
                }
            })
            .await;
        assert_eq!(ran.code, Some(3), "{shell:?}: {}", ran.stderr);
        assert!(ran.stdout.ends_with(&format!("\none\n{NOWHERE}")), "{shell:?}: {}", ran.stdout);
        assert_eq!(fs::read_dir(machine.path("tmp")).expect("a folder").count(), 0, "{shell:?}: its folder is removed");
    }
}

#[tokio::test]
async fn commit_that_was_force_pushed_away_is_fetched_by_its_id_or_named_as_gone() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    let base = push(&work, "main", "base").await;
    let before = push(&work, "main", "before").await;
    work.git(&["reset", "-q", "--hard", &base]).await;
    let after = push(&work, "main", "after").await;
    let cat = async |commit: &str, refs: &[&str]| {
        Machine::new().run_sh(&script("cat a; echo", &from(&server.url("app"), commit, refs))).await
    };
    assert_eq!(cat(&before, &["refs/heads/main"]).await.printed(), "before\n");
    server.0.gives_only_refs();
    assert_eq!(cat(&after, &["refs/heads/main"]).await.printed(), "after\n");
    assert_eq!(cat(&base, &["refs/heads/main"]).await.printed(), "base\n", "by the ref's history");
    let gone = cat(&before, &["refs/heads/main"]).await;
    let last = gone.stderr.lines().last().unwrap_or_default();
    assert!(last.contains(&before) && last.contains("force push"), "{}", gone.stderr);
    assert_eq!((gone.code, gone.stderr.contains("slept")), (Some(125), false), "trying again is of no use");
}

#[tokio::test]
async fn commit_of_a_deleted_branch_is_found_by_another_branch() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    let commit = push(&work, "topic", "topic").await;
    push(&work, "main", "merged").await;
    work.git(&["push", "-q", "origin", ":refs/heads/topic"]).await;
    server.0.gives_only_refs();
    let ran =
        Machine::new().run_sh(&script("cat a; echo", &from(&server.url("app"), &commit, &["refs/heads/topic"]))).await;
    assert_eq!(ran.printed(), "topic\n");
}

#[tokio::test]
async fn name_of_a_branch_is_never_interpreted() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    for name in ["x$(id)", "it's", "a`id`", "-x", "a;id", "é&\"|<>"] {
        let commit = push(&work, name, name).await;
        let full = format!("refs/heads/{name}");
        let ran = Machine::new().run_sh(&script("cat a; echo", &from(&server.url("app"), "", &[&full]))).await;
        assert_eq!(ran.printed(), format!("{name}\n"));
        let ran = Machine::new().run_sh(&script("cat a; echo", &from(&server.url("app"), &commit, &[&full]))).await;
        assert_eq!(ran.printed(), format!("{name}\n"));
    }
    let ran = Machine::new().run_sh(&script("true", &from(&server.url("app"), "", &["refs/heads/no$(id)"]))).await;
    assert!(
        ran.stderr.ends_with("no branch and no tag refs/heads/no$(id)\n") && ran.code == Some(125),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn server_in_trouble_is_asked_three_times_with_pauses() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    let text = script("cat a; echo", &from(&server.url("app"), &commit, &["refs/heads/main"]));
    server.0.fails_git(2);
    let ran = Machine::new().run_sh(&text).await;
    assert_eq!(ran.printed(), "one\n");
    assert!(ran.stderr.contains("slept 2\n") && ran.stderr.contains("slept 8\n"), "{}", ran.stderr);
    server.0.fails_git(3);
    let ran = Machine::new().run_sh(&text).await;
    assert!(
        ran.stderr.ends_with("the fetch of the commit failed three times; the lines above say why\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.code, Some(125));
}

#[tokio::test]
async fn wrong_or_missing_credential_ends_without_a_prompt() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    let answered = server.0.git_answered();
    let mut from = from(&server.url("app"), &commit, &[]);
    let wrong = Machine::new()
        .run(&["sh"], &script("true", &from), |sh| {
            sh.env(CHECKOUT_TOKEN, "wrong-token").env("SSH_ASKPASS", "/bin/false").env("GIT_ASKPASS", "/bin/false");
        })
        .await;
    assert!(wrong.stderr.contains("Authentication failed") && wrong.code == Some(125), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("wrong-token"), "{}", wrong.stderr);
    from.credential = None;
    let none = Machine::new().run_sh(&script("true", &from)).await;
    assert!(none.stderr.contains("terminal prompts disabled") && none.code == Some(125), "{}", none.stderr);
    assert_eq!(server.0.git_answered(), answered);
}

#[tokio::test]
async fn repository_that_everybody_may_read_is_never_sent_the_credential() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("public").await, "main", "one").await;
    // With a wrong one the server would not answer, if it were asked.
    let ran = Machine::new().run_sh(&script("cat a; echo", &from(&server.url("public"), &commit, &[]))).await;
    assert_eq!(ran.printed(), "one\n");
}

#[tokio::test]
async fn hooks_and_credential_helpers_of_the_worker_are_out_of_the_way() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    let machine = Machine::new();
    let hook = machine.path("home/hooks/post-checkout");
    fs::create_dir(machine.path("home/hooks")).expect("a folder");
    fs::write(&hook, "#!/bin/sh\necho hooked >>\"$HOME/hooked\"\n").expect("a file");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("an executable");
    let hooks = machine.path("home/hooks");
    let settings = format!("[core]\n\thooksPath = {}\n[credential]\n\thelper = store\n", hooks.display());
    fs::write(machine.path("home/.gitconfig"), settings).expect("a file");
    let text = script("cat a; echo; git checkout -q --detach", &from(&server.url("app"), &commit, &[]));
    let ran = machine
        .run(&["sh"], &text, |sh| {
            sh.env("GIT_DIR", "/nowhere").env("GIT_WORK_TREE", "/nowhere");
            sh.env("GIT_INDEX_FILE", "/nowhere/index");
        })
        .await;
    assert!(ran.stdout.contains("\none\n"), "{}", ran.stderr);
    assert!(!machine.path("home/.git-credentials").exists(), "the worker's helper stored the credential");
    let hooked = fs::read_to_string(machine.path("home/hooked")).unwrap_or_default();
    assert!(hooked.lines().count() <= 1, "only the script's own checkout has hooks: {hooked}");
}

#[tokio::test]
async fn variables_of_the_workflow_file_reach_the_script_and_not_the_checkout() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    let machine = Machine::new();
    let trace = machine.path("home/trace");
    let lines = format!(
        "checkout: true\nenv: {{GIT_TRACE_CURL: {}, GIT_TRACE_REDACT: 0, PATH: /nowhere, GIT_SSL_NO_VERIFY: 1}}\nshell: sh\nrun: 'echo \"$PATH\"; \
         /bin/cat a'",
        trace.display()
    );
    let ran = machine.run_sh(&command(&lines, &from(&server.url("app"), &commit, &[]))).await;
    assert_eq!(ran.printed(), "/nowhere\none", "{}", ran.stderr);
    assert!(!trace.exists(), "git wrote what it sent");
}

#[tokio::test]
async fn credential_that_is_kept_serves_the_git_of_the_script() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    let commit = push(&work, "main", "one").await;
    push(&work, "main", "two").await;
    let lines = "checkout: {credentials: keep}\nrun: 'git fetch -q origin main && git show FETCH_HEAD:a; env | grep -c ^CHECKOUT_TOKEN; \
                 grep -c forge-t[o]ken .git/config || true'";
    let ran = Machine::new().run_sh(&command(lines, &from(&server.url("app"), &commit, &[]))).await;
    assert_eq!(ran.printed(), "two1\n0\n");
    let none = command("checkout: {credentials: none}\nrun: x", &from(&server.url("app"), &commit, &[]));
    assert!(!none.contains(CHECKOUT_TOKEN));
}

#[tokio::test]
async fn submodules_are_checked_out_only_if_asked_for() {
    let server = GitServer::start().await;
    push(&server.repository("library").await, "main", "of the library").await;
    let work = server.repository("app").await;
    work.git(&["submodule", "--quiet", "add", "../library.git", "lib"]).await;
    let commit = push(&work, "main", "one").await;
    let of = async |lines: &str| {
        let lines = format!("{lines}\nrun: 'cat a; cat lib/a || true'");
        Machine::new().run_sh(&command(&lines, &from(&server.url("app"), &commit, &[]))).await
    };
    assert_eq!(of("checkout: true").await.printed(), "one");
    assert_eq!(of("checkout: {submodules: true}").await.printed(), "oneof the library");
}

#[tokio::test]
async fn paths_and_depth_limit_what_is_there() {
    let server = GitServer::start().await;
    let work = server.repository("app").await;
    push(&work, "main", "old").await;
    work.git(&["tag", "v1"]).await;
    work.git(&["push", "-q", "origin", "v1"]).await;
    for file in ["src/x/f", "src/y/f", "docs/d"] {
        fs::create_dir_all(work.dir().join(file).parent().expect("a folder")).expect("a folder");
        fs::write(work.dir().join(file), file).expect("a file");
    }
    let commit = push(&work, "main", "new").await;
    let of = async |checkout: &str, run: &str| {
        let lines = format!("checkout: {checkout}\nrun: {}", json!(run));
        Machine::new().run_sh(&command(&lines, &from(&server.url("app"), &commit, &[]))).await.printed().to_owned()
    };
    let files = "find . -path ./.git -prune -o -type f -print | sort";
    assert_eq!(of("{paths: src/x}", files).await, "./a\n./src/x/f\n");
    assert_eq!(of("{paths: [src/x, docs]}", files).await, "./a\n./docs/d\n./src/x/f\n");
    assert_eq!(of("true", "git log --format=%s; git tag").await, "new\n");
    assert_eq!(of("{depth: 2}", "git log --format=%s; git tag").await, "new\nold\n");
    assert_eq!(of("{depth: 0}", "git log --format=%s; git tag; git branch -r").await, "new\nold\nv1\n  origin/main\n");
}

#[tokio::test]
async fn steps_and_other_folders_and_long_scripts_begin_after_the_checkout() {
    let server = GitServer::start().await;
    let commit = push(&server.repository("app").await, "main", "one").await;
    let of = async |lines: &str| {
        let lines = format!("checkout: true\n{lines}");
        let machine = Machine::new();
        let text = command(&lines, &from(&server.url("app"), &commit, &[]));
        if text.len() < 100_000 {
            return machine.run_sh(&text).await.printed().to_owned();
        }
        fs::write(machine.path("command"), &text).expect("a file");
        machine.run_sh(&format!(". {}", machine.path("command").display())).await.printed().to_owned()
    };
    let steps = "steps: [{run: pwd}, {run: pwd, workdir: fresh}, {run: pwd, workdir: src/.git}]";
    assert_eq!(of(steps).await, "--- step 1\nOWN/src\n\n--- step 2\nOWN\n\n--- step 3\nOWN/src/.git\n");
    assert_eq!(of("workdir: src/new\nrun: pwd").await, "OWN/src/new\n");
    assert_eq!(of("shell: [python3]\nrun: print(open('a').read())").await, "one\n");
    assert_eq!(of(&format!("run: {}", json!(format!("# {}\npwd", "x'".repeat(60_000))))).await, "OWN/src\n");
}

#[tokio::test]
async fn machine_without_git_or_with_an_old_one_is_named() {
    let machine = Machine::new();
    let text = script("true", &from("http://127.0.0.1:1/a.git", "", &["main"]));
    let set_path = |sh: &mut Command| {
        sh.env("PATH", machine.path("bin"));
    };
    let ran = machine.run(&["/bin/sh"], &text, set_path).await;
    assert!(ran.stderr.contains("has no git; require a label") && ran.code == Some(125), "{}", ran.stderr);
    let old = machine.path("bin/git");
    fs::write(&old, "#!/bin/sh\n[ \"$1\" != --version ] || echo git version 2.25.1\n").expect("a file");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).expect("an executable");
    let ran = machine.run(&["/bin/sh"], &text, set_path).await;
    assert!(
        ran.stderr.contains("git 2.31 or newer is needed, and this machine has git version 2.25.1"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn without_a_checkout_the_script_begins_in_the_workers_directory() {
    let definition = definition("jobs: {a: {run: pwd, checkout: true}}");
    let machine = Machine::new();
    let ran = machine.run_sh(&definition.jobs[0].settings.command(&[])).await;
    assert_eq!(Path::new(ran.stdout.trim_end()), fs::canonicalize(machine.folder.path()).expect("a folder"));
}
