//! Starts a job's command: finds the shell, and sets the environment and the directory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{env, io};

use protocol::limits;
use protocol::script::{BASH_OPTIONS, BashScript};
use tokio::process::{Child, Command};

use super::scratch::{Given, Scratch};
use crate::Job;
use crate::executor::{Context, Failure};
use crate::reaper::{self, OwnChild};

/// Variables with the worker's own secrets. A job doesn't inherit them.
const NOT_INHERITED: [&str; 2] = ["WORKER_TOKEN", "WFG_TOKEN"];
/// Where programs are if the worker has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Starts the command in a process group of its own: with the bash that it would look for, or with `sh`.
pub(super) fn start(job: &Job, context: &Context, scratch: &Scratch) -> Result<(Child, OwnChild), Failure> {
    check_texts(job)?;
    check_programs(job, &context.workdir)?;
    // If bash can't be started, `sh` says why.
    if let Some(mut bash) = bash(job, context, scratch)
        && let Ok(started) = reaper::spawn(&mut bash)
    {
        return Ok(started);
    }
    let mut command = sh(&context.workdir)?;
    match &scratch.script {
        Some(script) => command.arg(script),
        None => command.arg("-c").arg(&job.command),
    };
    set_environment(&mut command, job, context, scratch);
    reaper::spawn(&mut command).map_err(|error| start_failure(&error, &context.workdir))
}

/// The bash that the job's command would start, if that is all it does. Without the `sh` that looks for it, it starts in two thirds of the time.
fn bash(job: &Job, context: &Context, scratch: &Scratch) -> Option<Command> {
    // A checkout's command sets `PATH` first.
    let BashScript { env, script } = BashScript::of(&job.command).filter(|_| !job.checkout)?;
    let path = path_of(job);
    // `sh` would look in a relative directory of `PATH` below the job's directory.
    let bash = if env::split_paths(&path).all(|dir| dir.is_absolute()) { find("bash", &path)? } else { return None };
    let mut command = shell("bash", &bash, &context.workdir);
    command.args(BASH_OPTIONS.split(' ')).arg("-c").arg(script);
    set_environment(&mut command, job, context, scratch);
    command.envs(env);
    Some(command)
}

/// Sets a job's environment, and where its output goes.
fn set_environment(command: &mut Command, job: &Job, context: &Context, scratch: &Scratch) {
    for token in NOT_INHERITED {
        command.env_remove(token);
    }
    if let Some(cleaned) = env::var("SERVER_URL").ok().and_then(|url| client::without_password(&url)) {
        command.env("SERVER_URL", cleaned);
    }
    if job.checkout {
        // Its command sets the job's variables after the checkout, so that none of them reaches git.
        command.env("PATH", path_after(worker_path()));
    } else {
        command.envs(&job.env).env("PATH", path_of(job));
    }
    command
        .envs(job.secrets.iter().map(|(name, value)| (name.as_str(), value.reveal())))
        .env("WORKFLOW_ID", job.workflow_id.as_str())
        .env("JOB_ID", job.job_id.as_str())
        .env("JOB_ATTEMPT", job.attempt.to_string())
        .env("JOB_DIR", &scratch.job_dir)
        .env("JOB_SCRIPTS", &scratch.scripts)
        .env("WORKER_SLOT", context.slot.to_string())
        .env("UPSTREAM_OUTPUTS", &scratch.upstream)
        .env("UPSTREAM_STATUS", &scratch.statuses)
        .env("WORKFLOW_OUTPUT", &scratch.outputs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Checks that a job's files can be made and that the shell starts in the directory.
pub(super) async fn check(workdir: &Path) -> Result<(), Failure> {
    let scratch = Scratch::create(&Given { outputs: &BTreeMap::new(), statuses: &BTreeMap::new(), command: "" })?;
    let mut command = sh(workdir)?;
    command.arg("-c").arg(":");
    let (mut child, _own) = reaper::spawn(&mut command).map_err(|error| start_failure(&error, workdir))?;
    let status = child.wait().await;
    scratch.remove().await;
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::of_worker(format!("`sh -c :` in {} ended with {status}", workdir.display()))),
        Err(error) => Err(Failure::of_worker(format!("`sh -c :` can't be waited for: {error}"))),
    }
}

/// `sh`, found by the worker's `PATH`.
fn sh(workdir: &Path) -> Result<Command, Failure> {
    let path = worker_path();
    let found = find("sh", &path);
    // The child changes its directory before it runs the shell.
    let Some(sh) = found.and_then(|file| std::path::absolute(file).ok()) else {
        return Err(Failure::of_worker(format!("there is no program `sh` in the worker's PATH, {}", path.display())));
    };
    Ok(shell("sh", &sh, workdir))
}

/// A shell in the worker's directory, without input, in a process group of its own.
fn shell(name: &str, file: &Path, workdir: &Path) -> Command {
    let mut command = Command::new(file);
    command.arg0(name).current_dir(workdir).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    command
}

fn worker_path() -> OsString {
    env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The `PATH` of the job's `env`, or the worker's, followed by the directory of this program, so that a job finds `wfg`.
fn path_of(job: &Job) -> OsString {
    path_after(job.env.get("PATH").map_or_else(worker_path, OsString::from))
}

/// The search path, followed by the directory of this program.
fn path_after(path: OsString) -> OsString {
    let program = env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let last = program.filter(|dir| !env::split_paths(&path).any(|entry| entry == *dir));
    env::join_paths(env::split_paths(&path).chain(last)).unwrap_or(path)
}

/// Refuses what the system can't pass to a program.
fn check_texts(job: &Job) -> Result<(), Failure> {
    let limit = limits::ENV_VALUE;
    for (name, value) in &job.env {
        if name.contains('\0') || value.contains('\0') {
            let error = format!("the variable {name:?} has a NUL character, which no variable can have");
            return Err(Failure::permanent(error));
        }
        // The system counts `=` and a final NUL too.
        let size = name.len() + value.len() + 2;
        if size > limit {
            return Err(Failure::permanent(format!(
                "the variable `{name}` has {size} bytes with its name; a variable may have {limit} (limit ENV_VALUE)"
            )));
        }
    }
    if job.command.contains('\0') {
        return Err(Failure::permanent("the command has a NUL character, which no command can have"));
    }
    Ok(())
}

/// Refuses a job of which a script is read by a program that isn't here: each try on this machine would fail. A program is
/// found where the job's command finds it, which also looks for bash in the system's usual directories.
fn check_programs(job: &Job, workdir: &Path) -> Result<(), Failure> {
    let path = path_of(job);
    let is_there = |program: &str| {
        if program.contains('/') {
            return is_program(&workdir.join(program));
        }
        find(program, &path).is_some() || (program == "bash" && find(program, DEFAULT_PATH.as_ref()).is_some())
    };
    match job.programs.iter().find(|program| !is_there(program)) {
        None => Ok(()),
        Some(program) => Err(Failure::permanent(format!(
            "this machine has no program `{program}`, which the job's `shell` names; install it, or require a label of workers that have it"
        ))),
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The first program of this name in the directories of `path`.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|dir| dir.join(program)).find(|file| is_program(file))
}

/// Why the shell didn't start: the directory, the size of the environment, or the machine.
fn start_failure(error: &io::Error, workdir: &Path) -> Failure {
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        return Failure::permanent(format!(
            "the command and its environment are longer than this system allows: {error}"
        ));
    }
    // Fails if the directory is missing, is a file, or can't be entered.
    match workdir.join(".").metadata() {
        Err(error) => {
            Failure::of_worker(format!("the worker's directory {} can't be used: {error}", workdir.display()))
        }
        Ok(_) => Failure::of_worker(format!("can't start `sh`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::script::{CHOOSE_SHELL, FIND_BASH, FIND_SH};
    use serde_json::json;

    use super::*;

    /// The program that a job's command is started with, if it isn't `sh`.
    fn program(command: &str, path: Option<&str>) -> Option<PathBuf> {
        let env = path.map(|path| BTreeMap::from([("PATH", path)])).unwrap_or_default();
        let job = json!({
            "workflow_id": "w", "job_id": "j", "command": command, "required_labels": [], "env": env, "attempt": 0,
            "retry_policy": {"max_retries": 0, "backoff": "None"}, "upstream_outputs": {}, "enqueued_at_ms": 0,
            "delayed_until_ms": 0,
        });
        let job: Job = serde_json::from_value(job).expect("a job");
        let (context, _detached) = Context::detached(Path::new("."), Duration::from_secs(1));
        let given = Given { outputs: &BTreeMap::new(), statuses: &BTreeMap::new(), command };
        let scratch = Scratch::create(&given).expect("files");
        bash(&job, &context, &scratch).map(|command| command.as_std().get_program().into())
    }

    #[test]
    fn job_in_bash_is_started_without_sh_unless_bash_is_not_in_an_absolute_folder_of_its_path() {
        let bash = find("bash", &worker_path()).expect("bash");
        let folder = bash.parent().and_then(Path::to_str).expect("a folder");
        let command = format!("{FIND_BASH}\n{FIND_SH}\n{CHOOSE_SHELL}\nexec \"$@\" -c 'true'\n");
        assert_eq!(program(&command, None), Some(bash.clone()));
        assert_eq!(program(&command, Some(folder)), Some(bash.clone()));
        assert_eq!(program(&command, Some("/nowhere")), None);
        assert_eq!(program(&command, Some(&format!("bin:{folder}"))), None);
        assert_eq!(program("true", None), None);
    }
}
