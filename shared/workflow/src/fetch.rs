//! The shell text of a checkout: it fetches a commit with `git`, then replaces itself by the job's command.
//!
//! It runs before anything of the workflow file does, so no variable of the file reaches git. The credential is in the environment
//! of this process alone: git asks a helper for it, and the helper is a text that names the variable. `exec env -u` starts the job's
//! command with a new environment. After `unset` the variable would still be in `/proc/<pid>/environ`.

use std::fmt::Write;

use protocol::script::quoted;
use protocol::wire::CHECKOUT_TOKEN;

use super::checkout::{Checkout, CheckoutCredential, CheckoutFrom, Credentials};
use super::script::{IN_ARGUMENT, here_document};

/// The exit code of a checkout that fails. Git's own are 1 and 128, and those of scripts are mostly below 100.
const EXIT_CODE: u8 = 125;
/// Seconds before the second and before the third try.
const PAUSES: [u8; 2] = [2, 8];

/// The folders, for a worker that gives the job none. They are removed by whoever runs the job's command.
const FOLDERS: &str = r#"wfg_tmp=
if [ -z "${JOB_DIR-}" ] || [ -z "${JOB_SCRIPTS-}" ]; then
wfg_tmp=$(mktemp -d) || exit
trap 'rm -rf "$wfg_tmp"' EXIT; trap 'exit 143' HUP INT TERM
mkdir "$wfg_tmp/job" "$wfg_tmp/scripts" || exit
JOB_DIR=${JOB_DIR:-$wfg_tmp/job} JOB_SCRIPTS=${JOB_SCRIPTS:-$wfg_tmp/scripts}; export JOB_DIR JOB_SCRIPTS
fi
wfg_src=$JOB_DIR/src; export wfg_src
"#;

/// Refuses a machine without git, or with one that doesn't read settings from its environment. Then removes the worker's own
/// variables that name a repository, and turns off prompts, and schemes that run programs or read local files. Git's messages are read
/// below, so they are in English.
const PREPARE: &str = r#"wfg_fail() { printf 'checkout: %s\n' "$1" >&2; exit EXIT_CODE; }
command -v git >/dev/null || wfg_fail 'this machine has no git; require a label that only machines with git have'
[ "$(GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=wfg.set GIT_CONFIG_VALUE_0=1 git config wfg.set)" = 1 ] ||
wfg_fail "git 2.31 or newer is needed, and this machine has $(git --version)"
unset $(git rev-parse --local-env-vars)
GIT_TERMINAL_PROMPT=0 GIT_ASKPASS= GIT_SSH_COMMAND=${GIT_SSH_COMMAND:-ssh -oBatchMode=yes} GIT_ALLOW_PROTOCOL=https:http:ssh
GIT_LFS_SKIP_SMUDGE=1 LC_ALL=C LANGUAGE=C; export LC_ALL LANGUAGE GIT_TERMINAL_PROMPT GIT_ASKPASS GIT_SSH_COMMAND GIT_ALLOW_PROTOCOL GIT_LFS_SKIP_SMUDGE
"#;

/// Fetches the commit. A server that refuses a commit by its id is asked for the refs, then for all branches and tags. `$wfg_how` has
/// the options of the first fetch, and the positional parameters are the refs.
const FETCH: &str = r#"wfg_fetch() { git fetch -q --no-tags --no-recurse-submodules --force "$@" 2>"$wfg_err"; wfg_code=$?; cat "$wfg_err" >&2; return "$wfg_code"; }
wfg_has() { git cat-file -e "$wfg_commit^{commit}" 2>/dev/null; }
wfg_by_ref() {
echo 'checkout: the server does not give this commit by its id; fetching the ref with its history' >&2
for wfg_ref do wfg_fetch origin "$wfg_ref" && wfg_has && return; done
wfg_fetch origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*' || return
wfg_has || wfg_fail "the commit $wfg_commit is in no branch and no tag of the repository; was it replaced by a force push?"
}
wfg_by_id() {
wfg_fetch $wfg_how origin "$wfg_commit" && return
if grep -qi -e 'not our ref' -e unadvertised -e 'remote ref' -e shallow -e 'dumb http' "$wfg_err"; then wfg_by_ref "$@"; else return 1; fi
}
wfg_by_name() {
wfg_fetch $wfg_how origin "$1" && wfg_commit=$(git rev-parse --verify -q 'FETCH_HEAD^{commit}') && return
if grep -q 'remote ref' "$wfg_err"; then wfg_fail "the repository has no branch and no tag $1"; else return 1; fi
}
wfg_tries() {
wfg_what=$1; shift
for wfg_try in 1 2 3; do
"$@" && return
case $wfg_try in 1) sleep PAUSE_1;; 2) sleep PAUSE_2;; *) wfg_fail "$wfg_what failed three times; the lines above say why";; esac
done
}
"#;

/// The text that checks out a commit, then runs `command`.
pub(super) fn checked_out(command: &str, checkout: &Checkout, from: &CheckoutFrom) -> String {
    let credential = from.credential.as_ref().filter(|_| checkout.credentials != Credentials::None);
    let keeps = checkout.credentials == Credentials::Keep;
    let mut text = String::with_capacity(command.len() + 4096);
    let what = if from.commit.is_empty() { from.refs.first() } else { Some(&from.commit) };
    let title = format!("--- checkout of {} at {}", from.url, what.map_or("", String::as_str));
    let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(text, "printf '%s\\n' {}", quoted(&title));
    text.push_str(FOLDERS);
    if let Some(value) = credential.and_then(|credential| credential.set.as_ref()) {
        let _ = writeln!(text, "export {CHECKOUT_TOKEN}={}", quoted(value.reveal()));
    }
    let of_credential = credential.map(|credential| settings_of(credential, &from.url)).unwrap_or_default();
    if keeps && credential.is_some() {
        set(&mut text, &of_credential);
    }
    text.push_str("(\n");
    text.push_str(&filled_in(PREPARE));
    let mut settings = of_credential;
    settings.extend(quiet_settings());
    set(&mut text, &settings);
    fetch(&mut text, checkout, from);
    text.push_str(") </dev/null >&2 || exit\n");
    run(&mut text, command, credential.is_some() && !keeps);
    text
}

type Setting = (String, String);

/// Git asks the helper for the credential when the repository's own host refuses a request without one. Helpers of the worker are
/// out of the way: one could store it. Addresses for ssh mean the same host.
fn settings_of(credential: &CheckoutCredential, url: &str) -> Vec<Setting> {
    let Some(base) = base(url) else { return Vec::new() };
    let CheckoutCredential { user, .. } = credential;
    let helper = format!(
        "!f() {{ test \"$1\" != get || printf 'username=%s\\npassword=%s\\n' {} \"${CHECKOUT_TOKEN}\"; }}; f",
        quoted(user)
    );
    let host = base.split_once("://").map_or("", |(_, host)| host);
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let helpers = format!("credential.{base}.helper");
    let instead = format!("url.{base}/.insteadOf");
    vec![
        (helpers.clone(), String::new()),
        (helpers, helper),
        (instead.clone(), format!("git@{name}:")),
        (instead, format!("ssh://git@{name}/")),
    ]
}

/// `https://host:port` of an address for HTTP.
fn base(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    matches!(scheme, "https" | "http").then(|| &url[..scheme.len() + "://".len() + host.len()])
}

/// No hooks, and no work in the background that outlives the checkout.
fn quiet_settings() -> Vec<Setting> {
    let settings = [
        ("core.hooksPath", "/dev/null"),
        ("advice.detachedHead", "false"),
        ("init.defaultBranch", "main"),
        ("gc.auto", "0"),
        ("maintenance.auto", "false"),
    ];
    settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Settings of git in its environment, which no file and no argument has.
fn set(text: &mut String, settings: &[Setting]) {
    for (n, (key, value)) in settings.iter().enumerate() {
        let _ = writeln!(text, "export GIT_CONFIG_KEY_{n}={} GIT_CONFIG_VALUE_{n}={}", quoted(key), quoted(value));
    }
    let _ = writeln!(text, "export GIT_CONFIG_COUNT={}", settings.len());
}

/// The text with the numbers that it names.
fn filled_in(text: &str) -> String {
    let numbers = [("EXIT_CODE", EXIT_CODE), ("PAUSE_1", PAUSES[0]), ("PAUSE_2", PAUSES[1])];
    numbers.iter().fold(text.to_owned(), |text, (name, number)| text.replace(name, &number.to_string()))
}

fn fetch(text: &mut String, checkout: &Checkout, from: &CheckoutFrom) {
    let Checkout { depth, submodules, lfs, paths, .. } = checkout;
    text.push_str(&filled_in(FETCH));
    let format = if from.commit.len() == 64 { " --object-format=sha256" } else { "" };
    let mut how = String::new();
    if *depth > 0 {
        let _ = write!(how, "--depth={depth} ");
    }
    if !paths.is_empty() {
        how.push_str("--filter=blob:none");
    }
    let _ = writeln!(
        text,
        "wfg_commit={} wfg_how='{}' wfg_err=$JOB_SCRIPTS/checkout.err\n\
         mkdir -p \"$wfg_src\" && cd \"$wfg_src\" && git init -q --template={format} && git remote add origin {} || exit",
        quoted(&from.commit),
        how.trim_end(),
        quoted(&from.url),
    );
    let by = if from.commit.is_empty() { "wfg_by_name" } else { "wfg_by_id" };
    let refs: Vec<String> = from.refs.iter().map(|name| quoted(name)).collect();
    let _ = writeln!(text, "wfg_tries 'the fetch of the commit' {by} {}", refs.join(" "));
    if *depth == 0 {
        text.push_str(
            "wfg_tries 'the fetch of all branches and tags' \
             wfg_fetch origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'\n",
        );
    }
    if !paths.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
        let _ = writeln!(
            text,
            "printf '%s\\n' {} | git sparse-checkout set --cone --stdin || wfg_fail 'git cannot check out these paths'",
            paths.join(" ")
        );
    }
    if *lfs {
        text.push_str(
            "git lfs version >/dev/null 2>&1 || wfg_fail 'this machine has no git-lfs; require a label that only machines with it have'\n\
             git lfs install --local --skip-repo >/dev/null || wfg_fail 'git lfs install failed'\n",
        );
    }
    text.push_str("wfg_tries 'git checkout' git checkout -q --force --detach \"$wfg_commit\"\n");
    if *submodules {
        let depth = if *depth > 0 { format!(" --depth={depth}") } else { String::new() };
        let _ = writeln!(
            text,
            "wfg_tries 'the checkout of submodules' git submodule -q update --init --recursive --force{depth}"
        );
    }
    if *lfs {
        text.push_str("wfg_tries 'git lfs pull' git lfs pull origin\n");
        if *submodules {
            text.push_str(
                "wfg_tries 'git lfs pull of submodules' git submodule -q foreach --recursive \
                 'git lfs install --local --skip-repo >/dev/null && git lfs pull origin'\n",
            );
        }
    }
    text.push_str("rm -f \"$wfg_err\"\n");
}

/// Replaces the process by one that runs the command, with an environment without the credential.
fn run(text: &mut String, command: &str, drops: bool) {
    if command.len() <= IN_ARGUMENT {
        let _ = writeln!(text, "set -- sh -c {}", quoted(command));
    } else {
        here_document(text, "cat", "\"$JOB_SCRIPTS/command\"", command);
        text.push_str("set -- sh \"$JOB_SCRIPTS/command\"\n");
    }
    let without = if drops { format!("env -u {CHECKOUT_TOKEN} ") } else { String::new() };
    let _ = writeln!(
        text,
        "[ -z \"$wfg_tmp\" ] || {{ export wfg_tmp; exec {without}sh -c {} sh \"$@\"; }}\nexec {without}\"$@\"",
        quoted("trap 'rm -rf \"$wfg_tmp\"' EXIT; trap 'exit 143' HUP INT TERM; \"$@\"; exit \"$?\"")
    );
}
