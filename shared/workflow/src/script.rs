//! Shell text: quoting, `env`, and steps as one script for a worker's `sh -c`.

use std::fmt::Write;

/// The shell text that sets `env` and then is `script`, complete in itself for a worker that knows nothing else.
///
/// Names must be shell identifiers. A value with a NUL is kept, so that starting the command fails loudly: no
/// environment can hold one.
#[must_use]
pub fn command(env: &[(String, String)], script: &str) -> String {
    let mut text = String::with_capacity(script.len() + env.iter().map(|(n, v)| n.len() + v.len() + 12).sum::<usize>());
    for (name, value) in env {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    if text.is_empty() && script.starts_with(['-', '+']) {
        // `sh -c` would take it for an option.
        text.push(' ');
    }
    text.push_str(script);
    text
}

pub(super) struct Step {
    pub title: String,
    pub env: Vec<(String, String)>,
    pub run: String,
}

impl Step {
    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        self.title.len() + self.run.len() + self.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// In order, stopping at the first that fails with its exit code.
///
/// Each step is a `sh` of its own, so that nothing it sets, opens or leaves unfinished reaches the next: variables,
/// `set -e`, `cd`, a comment, an unended heredoc, a syntax error, `exit 0`.
pub(super) fn steps(steps: &[Step]) -> String {
    let mut text = String::new();
    // From the second on with a line end before: the step before may have left its last line open, and an output in it.
    let mut format = r"%s\n";
    for Step { title, env, run } in steps {
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "printf '{format}' {}", quoted(&format!("--- {title}")));
        let _ = writeln!(text, "sh -c {} || exit \"$?\"", quoted(&command(env, run)));
        format = r"\n%s\n";
    }
    text
}

/// In single quotes, where nothing but the quote itself means anything to the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

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

    fn step(title: &str, run: &str) -> Step {
        Step { title: title.into(), env: Vec::new(), run: run.into() }
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
        let first = Step { env: vec![("A".into(), "it's $HOME".into())], ..step("1", "echo \"$A $B\"") };
        let script = steps(&[first, step("2", "echo \"$A $B\"")]);
        let script = command(&[("B".into(), "b".into()), ("A".into(), "job".into())], &script);
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
            assert_eq!(run(&command(&[], script)), (String::new(), Some(127)), "{script:?}");
            assert_eq!(run_steps(&[script]), ("--- s\n".into(), Some(127)), "{script:?}");
        }
    }

    #[test]
    fn windows_line_ends_in_a_value_survive() {
        let env = [("A".to_owned(), "x\r\ny\r\n".to_owned())];
        assert_eq!(run(&command(&env, "printf %s \"$A\"")).0, "x\r\ny\r\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_value_reaches_the_job_byte_for_byte(value in r#"([^\x00]|['"\\$`!#&*\n ~%-]){0,40}"#) {
            let env = [("A".to_owned(), value.clone()), ("B".to_owned(), "b".to_owned())];
            let print = "printf '%s|%s' \"$A\" \"$B\"";
            prop_assert_eq!(run(&command(&env, print)), (format!("{value}|b"), Some(0)));
            let in_step = Step { title: value.clone(), env: env.to_vec(), run: print.to_owned() };
            let title: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert_eq!(run(&steps(&[in_step])), (format!("--- {title}\n{value}|b"), Some(0)));
        }
    }
}
