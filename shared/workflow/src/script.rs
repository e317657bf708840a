//! Shell text: quoting, `env`, shells, and steps as one script for a worker's `sh -c`.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use protocol::script::{BASH_OPTIONS, CHOOSE_SHELL, FIND_BASH, FIND_SH, quoted};

use super::shell::Shell;
use super::workdir::Workdir;

/// The longest script that is passed as an argument, which Linux limits to 128 KiB. A longer one is put into a file.
pub(super) const IN_ARGUMENT: usize = 100_000;

/// The shell text that sets `env` and then has the job's shell run its script. It is complete in itself, for a worker that
/// knows nothing else.
///
/// Names must be shell identifiers. A value with a NUL is kept, so that starting the command fails loudly: no
/// environment can hold one.
pub(super) fn command(env: &[(String, String)], begun: Begun<'_>) -> String {
    let Begun { shell, script, workdir } = begun;
    let mut text = String::with_capacity(script.len() + env.iter().map(|(n, v)| n.len() + v.len() + 12).sum::<usize>());
    let search = Search::before(env.iter().map(|(name, _)| name));
    text.push_str(&prelude([begun], search));
    if let Some(enter) = enter(workdir) {
        let _ = writeln!(text, "{enter}");
    }
    exports(&mut text, "\n", env.iter().map(|(name, value)| (name.as_str(), quoted(value))));
    match shell {
        Shell::Plain if text.is_empty() => text.push_str(&not_an_option(script)),
        Shell::Plain => text.push_str(script),
        _ => match call(&mut text, 1, begun) {
            Call::Exec(call) => drop(writeln!(text, "exec {call}")),
            // A file or a folder is removed after the program's end.
            Call::Wait(call) => drop(writeln!(text, "{call}\nexit \"$?\"")),
        },
    }
    text
}

pub(super) struct Step {
    pub title: String,
    pub env: Vec<(String, StepValue)>,
    pub run: String,
    pub shell: Shell,
    pub workdir: Workdir,
}

/// A script and how it is begun.
#[derive(Clone, Copy)]
pub(super) struct Begun<'a> {
    pub shell: &'a Shell,
    pub script: &'a str,
    pub workdir: &'a Workdir,
}

/// The value of a variable of a step.
pub(super) enum StepValue {
    Text(String),
    /// That of a variable of the job.
    Variable(String),
}

impl StepValue {
    fn in_shell(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Variable(name) => format!("\"${{{name}-}}\""),
        }
    }
}

impl Step {
    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        let env = self.env.iter().map(|(name, value)| {
            let (StepValue::Text(value) | StepValue::Variable(value)) = value;
            name.len() + value.len()
        });
        self.title.len() + self.run.len() + env.sum::<usize>() + self.workdir.own().map_or(0, str::len)
    }

    fn begun(&self) -> Begun<'_> {
        Begun { shell: &self.shell, script: &self.run, workdir: &self.workdir }
    }
}

/// In order, stopping at the first that fails with its exit code.
///
/// Each step is a process of its own, so that nothing it sets, opens or leaves unfinished reaches the next: variables,
/// options of the shell, `cd`, a comment, an unended heredoc, a syntax error, `exit 0`.
pub(super) fn steps(steps: &[Step]) -> String {
    let search = Search::before(steps.iter().flat_map(|step| &step.env).map(|(name, _)| name));
    let mut text = prelude(steps.iter().map(Step::begun), search);
    // From the second on with a line end before: the step before may have left its last line open, and an output in it.
    let mut format = r"%s\n";
    for (number, step) in (1..).zip(steps) {
        let Step { title, env, workdir, .. } = step;
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "printf '{format}' {}", quoted(&format!("--- {title}")));
        let (Call::Exec(call) | Call::Wait(call)) = call(&mut text, number, step.begun());
        text.push_str("( ");
        if let Some(enter) = enter(workdir) {
            let _ = write!(text, "{enter}; ");
        }
        exports(&mut text, "; ", env.iter().map(|(name, value)| (name.as_str(), value.in_shell())));
        let _ = writeln!(text, "{call} ) || exit \"$?\"");
        format = r"\n%s\n";
    }
    text
}

/// What the calls of these shells rely on. It is before the exports, because a job's `PATH` need not have any shell.
fn prelude<'a>(scripts: impl IntoIterator<Item = Begun<'a>>, search: Search) -> String {
    let mut lines = BTreeSet::new();
    for Begun { shell, script, workdir } in scripts {
        if workdir.own().is_some() {
            lines.extend([Line::Temporary, Line::Own]);
        }
        match shell {
            Shell::Plain => continue,
            Shell::Strict => lines.extend([Line::Bash, Line::Sh, Line::Strict]),
            Shell::Bash => lines.extend([Line::Bash, Line::NeedBash]),
            Shell::Sh => lines.extend([Line::Sh]),
            Shell::Program(_) => {}
        }
        if is_in_file(shell, script) {
            lines.extend([Line::Temporary, Line::Folder]);
        }
    }
    lines.into_iter().map(|line| line.text(search) + "\n").collect()
}

/// How a shell's program is kept for later.
#[derive(Clone, Copy)]
enum Search {
    /// By its name. `sh` starts no process to find it, which would take as long as the shell itself.
    ByName,
    /// By its path, since `PATH` changes before it is called.
    ByPath,
}

impl Search {
    /// How programs are kept that are called after these variables are set.
    fn before<'n>(mut names: impl Iterator<Item = &'n String>) -> Self {
        if names.any(|name| name == "PATH") { Self::ByPath } else { Self::ByName }
    }
}

/// The lines of a prelude, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Bash,
    NeedBash,
    Sh,
    Strict,
    Temporary,
    Folder,
    Own,
}

impl Line {
    fn text(self, search: Search) -> String {
        match self {
            Self::Bash => match search {
                Search::ByName => FIND_BASH.to_owned(),
                Search::ByPath => "wfg_bash=$(command -v bash || command -pv bash)".to_owned(),
            },
            Self::NeedBash => format!("[ -n \"$wfg_bash\" ] || {}", missing("bash")),
            Self::Sh => match search {
                Search::ByName => FIND_SH.to_owned(),
                Search::ByPath => "wfg_sh=$(command -v sh || command -pv sh || echo /bin/sh)".to_owned(),
            },
            Self::Strict => CHOOSE_SHELL.to_owned(),
            // For a worker that doesn't give the job folders.
            Self::Temporary => {
                "wfg_tmp=; if [ -z \"${JOB_SCRIPTS-}\" ] || [ -z \"${JOB_DIR-}\" ]; then wfg_tmp=$(mktemp -d) || exit; \
                 trap 'rm -rf \"$wfg_tmp\"' EXIT; trap 'exit 143' HUP INT TERM; fi"
                    .to_owned()
            }
            Self::Folder => "wfg_cat=$(command -v cat || command -pv cat); wfg_dir=${JOB_SCRIPTS:-$wfg_tmp}".to_owned(),
            Self::Own => {
                "wfg_mkdir=$(command -v mkdir || command -pv mkdir); wfg_own=${JOB_DIR:-$wfg_tmp/job}".to_owned()
            }
        }
    }
}

/// Shell text that ends a job whose program is missing.
fn missing(program: &str) -> String {
    format!("{{ echo {} >&2; exit 127; }}", quoted(&format!("this machine has no {program}, which the job asks for")))
}

/// Shell text that enters a script's folder, unless that is the worker's directory. Where nothing was checked out, the script
/// begins in that directory.
fn enter(workdir: &Workdir) -> Option<String> {
    let folder = match workdir {
        Workdir::Shared => return None,
        Workdir::Checkout => return Some("cd \"${wfg_src:-.}\" || exit".to_owned()),
        Workdir::Own(path) if path.is_empty() => "\"$wfg_own\"".to_owned(),
        Workdir::Own(path) => format!("\"$wfg_own\"/{}", quoted(path)),
    };
    Some(format!("\"$wfg_mkdir\" -p {folder} && cd {folder} || exit"))
}

/// How a script is started.
enum Call {
    /// May replace the shell.
    Exec(String),
    /// The shell removes a file after it.
    Wait(String),
}

/// The call of a script. One that is in a file is first written there, by lines that are added to `text`.
fn call(text: &mut String, number: usize, begun: Begun<'_>) -> Call {
    let Begun { shell, script, workdir } = begun;
    let mut program = match shell {
        Shell::Plain => "sh".to_owned(),
        Shell::Strict => "\"$@\"".to_owned(),
        Shell::Bash => format!("\"$wfg_bash\" {BASH_OPTIONS}"),
        Shell::Sh => "\"$wfg_sh\" -e".to_owned(),
        Shell::Program(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    if !is_in_file(shell, script) {
        let _ = write!(program, " -c {}", quoted(&not_an_option(script)));
        return if workdir.own().is_some() { Call::Wait(program) } else { Call::Exec(program) };
    }
    if let Some(program) = shell.program_to_find(workdir) {
        let _ = writeln!(text, "command -v {} >/dev/null || {}", quoted(program), missing(program));
    }
    let file = format!("\"$wfg_dir/{number}{}\"", shell.suffix());
    here_document(text, "\"$wfg_cat\"", &file, script);
    let _ = write!(program, " {file}");
    Call::Wait(program)
}

/// Lines that have `cat` write a script into a file.
pub(super) fn here_document(text: &mut String, cat: &str, file: &str, script: &str) {
    let taken: HashSet<&str> = script.lines().filter(|line| line.starts_with("WFG_END_")).collect();
    let mut ends = (0..=taken.len()).map(|n| format!("WFG_END_{n}"));
    let end = ends.find(|end| !taken.contains(end.as_str())).expect("one more than the lines that are taken");
    let line_end = if script.ends_with('\n') { "" } else { "\n" };
    let _ = writeln!(text, "{cat} >{file} <<'{end}' || exit\n{script}{line_end}{end}");
}

fn is_in_file(shell: &Shell, script: &str) -> bool {
    matches!(shell, Shell::Program(_)) || !matches!(shell, Shell::Plain) && script.len() > IN_ARGUMENT
}

fn exports<'n>(text: &mut String, end: &str, env: impl Iterator<Item = (&'n str, String)>) {
    for (name, value) in env {
        let _ = write!(text, "export {name}={value}{end}");
    }
}

/// The script, so that no shell takes it for an option after `-c`.
fn not_an_option(script: &str) -> String {
    if script.starts_with(['-', '+']) { format!(" {script}") } else { script.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use protocol::script::BashScript;

    use super::*;

    /// The output and the exit code of the script, run by the system's `sh` and by bash.
    fn run(script: &str) -> (String, Option<i32>) {
        let shells: &[&[&str]] = &[&["sh"], &["bash", "--posix"]];
        let results: Vec<_> = shells
            .iter()
            .filter_map(|shell| {
                let output =
                    Command::new(shell[0]).args(&shell[1..]).args(["-c", script]).stdin(Stdio::null()).output().ok()?;
                Some((String::from_utf8(output.stdout).expect("text"), output.status.code()))
            })
            .collect();
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
        results.into_iter().next().expect("a shell")
    }

    fn plain(env: &[(String, String)], script: &str) -> String {
        command(env, Begun { shell: &Shell::Plain, script, workdir: &Workdir::Shared })
    }

    fn step(title: &str, run: &str) -> Step {
        let run = run.into();
        Step { title: title.into(), env: Vec::new(), run, shell: Shell::Plain, workdir: Workdir::Shared }
    }

    fn run_steps(runs: &[&str]) -> (String, Option<i32>) {
        run(&steps(&runs.iter().map(|run| step("s", run)).collect::<Vec<_>>()))
    }

    #[test]
    fn steps_run_in_order_and_stop_at_the_first_that_fails_with_its_exit_code() {
        assert_eq!(run_steps(&["echo a", "echo b"]), ("--- s\na\n\n--- s\nb\n".into(), Some(0)));
        assert_eq!(run_steps(&["echo a", "echo b; exit 7", "echo c"]), ("--- s\na\n\n--- s\nb\n".into(), Some(7)));
        assert_eq!(run_steps(&["false", "echo c"]), ("--- s\n".into(), Some(1)));
    }

    #[test]
    fn a_step_ends_only_itself() {
        assert_eq!(run_steps(&["exit 0", "echo b"]), ("--- s\n\n--- s\nb\n".into(), Some(0)));
        assert_eq!(run_steps(&["exec true", "echo b"]), ("--- s\n\n--- s\nb\n".into(), Some(0)));
    }

    #[test]
    fn nothing_that_a_step_sets_reaches_the_next() {
        let (printed, code) = run_steps(&[
            "set -e; X=1; export X; cd /; f() { echo f; }; umask 0",
            "false; echo \"[$X]$(f 2>&1 | wc -l)\"",
        ]);
        assert_eq!((printed.as_str(), code), ("--- s\n\n--- s\n[]1\n", Some(0)));
    }

    #[test]
    fn what_a_step_leaves_unfinished_does_not_swallow_the_next() {
        for unfinished in ["cat <<EOF\nx\nEOF", "echo x # and 'more", "echo x &\nwait", "echo x; :&", "echo x;"] {
            let (printed, code) = run_steps(&[unfinished, "echo b"]);
            assert_eq!((printed.as_str(), code), ("--- s\nx\n\n--- s\nb\n", Some(0)), "{unfinished:?}");
        }
        for (unfinished, first) in [("cat <<EOF\nx", "x"), ("echo x \\", "x \\\n"), ("printf x", "x")] {
            let (printed, _) = run_steps(&[unfinished, "echo b"]);
            assert_eq!(printed, format!("--- s\n{first}\n--- s\nb\n"), "{unfinished:?}");
        }
    }

    #[test]
    fn a_syntax_error_fails_its_step_after_the_earlier_ones_ran() {
        for broken in ["if", "echo 'open", "echo \"open", "fi", "echo )", "}"] {
            let (printed, code) = run_steps(&["echo a", broken, "echo c"]);
            assert_eq!(printed, "--- s\na\n\n--- s\n", "{broken:?}");
            assert!(code.is_some_and(|code| code != 0), "{broken:?}");
        }
    }

    #[test]
    fn a_step_has_its_own_env_and_the_jobs_but_not_its_neighbours() {
        let first =
            Step { env: vec![("A".into(), StepValue::Text("it's $HOME".into()))], ..step("1", "echo \"$A $B\"") };
        let script = steps(&[first, step("2", "echo \"$A $B\"")]);
        let script = plain(&[("B".into(), "b".into()), ("A".into(), "job".into())], &script);
        assert_eq!(run(&script).0, "--- 1\nit's $HOME b\n\n--- 2\njob b\n");
    }

    #[test]
    fn any_name_is_announced_as_written_on_one_line() {
        for name in ["it's", "a\"b", "$(exit 9)", "`x`", "%s \\n", "-n", "é 🦀", "a; exit 1"] {
            assert_eq!(run(&steps(&[step(name, "true")])), (format!("--- {name}\n"), Some(0)));
        }
        assert_eq!(run(&steps(&[step("a\n::set-output x=y", "true")])).0, "--- a ::set-output x=y\n");
    }

    #[test]
    fn a_script_is_not_taken_for_an_option_of_the_shell() {
        for script in ["-x", "+x", "--", "-c 'echo bad'"] {
            assert_eq!(run(&plain(&[], script)), (String::new(), Some(127)), "{script:?}");
            assert_eq!(run_steps(&[script]), ("--- s\n".into(), Some(127)), "{script:?}");
        }
    }

    #[test]
    fn windows_line_ends_in_a_value_survive() {
        let env = [("A".to_owned(), "x\r\ny\r\n".to_owned())];
        assert_eq!(run(&plain(&env, "printf %s \"$A\"")).0, "x\r\ny\r\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn worker_reads_the_script_of_bash_and_its_variables(value in r#"['"\\$a\n ]{0,12}"#, script in r#"['"\\$a\n -]{0,12}"#) {
            let env = [("A".to_owned(), value.clone()), ("B".to_owned(), String::new())];
            let text = command(&env, Begun { shell: &Shell::Strict, script: &script, workdir: &Workdir::Shared });
            let env = vec![("A", value), ("B", String::new())];
            prop_assert_eq!(BashScript::of(&text), Some(BashScript { env, script: not_an_option(&script) }));
        }

        #[test]
        fn any_value_reaches_the_job_byte_for_byte(value in r#"([^\x00]|['"\\$`!#&*\n ~%-]){0,40}"#) {
            let env = [("A".to_owned(), value.clone()), ("B".to_owned(), "b".to_owned())];
            let print = "printf '%s|%s' \"$A\" \"$B\"";
            prop_assert_eq!(run(&plain(&env, print)), (format!("{value}|b"), Some(0)));
            let texts = env.clone().map(|(name, value)| (name, StepValue::Text(value)));
            let in_step = Step { env: texts.into(), ..step(&value, print) };
            let title: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert_eq!(run(&steps(&[in_step])), (format!("--- {title}\n{value}|b"), Some(0)));
        }
    }
}
