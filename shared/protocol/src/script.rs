//! The shell text of a command that has bash read one script. A worker that recognizes it starts bash itself, without the `sh` that would
//! look for bash.

/// The options of bash: it reads no file of its own, and ends at the first command or pipeline that fails.
pub const BASH_OPTIONS: &str = "--noprofile --norc -eo pipefail";
/// A line that keeps bash in `$wfg_bash`: by its name, since `sh` starts no process to find that. `command -pv` also looks in the system's
/// usual directories.
pub const FIND_BASH: &str = "if command -v bash >/dev/null; then wfg_bash=bash; else wfg_bash=$(command -pv bash); fi";
/// A line that keeps `sh` in `$wfg_sh`.
pub const FIND_SH: &str =
    "if command -v sh >/dev/null; then wfg_sh=sh; else wfg_sh=$(command -pv sh || echo /bin/sh); fi";
/// A line that keeps the call of what reads the script in `$@`: bash with [`BASH_OPTIONS`], or `sh -e` where there is no bash.
pub const CHOOSE_SHELL: &str = "if [ -n \"$wfg_bash\" ]; then set -- \"$wfg_bash\" --noprofile --norc -eo pipefail; else echo \
     '[this machine has no bash; sh -e runs the script, and a failure within a pipe goes unseen]' >&2; set -- \"$wfg_sh\" -e; fi";

/// What bash reads, and with which variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BashScript<'a> {
    /// Variables that are set before, in their order.
    pub env: Vec<(&'a str, String)>,
    /// The argument of `bash -c`.
    pub script: String,
}

impl<'a> BashScript<'a> {
    /// Reads a command. `None` if it does anything else than to find bash, to set variables, and to have bash read a script; also if it
    /// sets `PATH`.
    #[must_use]
    pub fn of(command: &'a str) -> Option<Self> {
        let mut lines = [FIND_BASH, FIND_SH, CHOOSE_SHELL].into_iter();
        let mut rest = lines.try_fold(command, |rest, line| rest.strip_prefix(line)?.strip_prefix('\n'))?;
        let mut env = Vec::new();
        while let Some(export) = rest.strip_prefix("export ") {
            let (name, value) = export.split_once('=')?;
            let (value, after) = unquoted(value)?;
            if name == "PATH" {
                return None;
            }
            env.push((name, value));
            rest = after.strip_prefix('\n')?;
        }
        match unquoted(rest.strip_prefix("exec \"$@\" -c ")?)? {
            (script, "\n") => Some(Self { env, script }),
            _ => None,
        }
    }
}

/// In single quotes, where nothing but the quote itself means anything to the shell.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The text of a [`quoted`] one at the beginning, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let (before, after) = rest.split_once('\'')?;
        inner.push_str(before);
        match after.strip_prefix(r"\''") {
            Some(more) => {
                inner.push('\'');
                rest = more;
            }
            None => return Some((inner, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quoted_text_is_read_back_with_what_is_behind_it(text in "[a'\\\\\n ]{0,12}", behind in "[ab\n]{0,3}") {
            let whole = quoted(&text) + &behind;
            prop_assert_eq!(unquoted(&whole), Some((text, behind.as_str())));
        }
    }

    #[test]
    fn command_that_does_more_is_left_to_sh() {
        let with = |rest: &str| format!("{FIND_BASH}\n{FIND_SH}\n{CHOOSE_SHELL}\n{rest}");
        let script = |text: &str| Some(BashScript { env: Vec::new(), script: text.to_owned() });
        assert_eq!(BashScript::of(&with("exec \"$@\" -c 'echo it'\\''s'\n")), script("echo it's"));
        for rest in [
            "",
            "cd x || exit\nexec \"$@\" -c 'true'\n",
            "exec \"$@\" -c 'true'\nexit 1\n",
            "exec \"$@\" -c 'true'",
            "exec \"$@\" -c true\n",
            "exec \"$@\" -c 'true' 'x'\n",
            "export A=1\nexec \"$@\" -c 'true'\n",
            "export A='1' B='2'\nexec \"$@\" -c 'true'\n",
            "export PATH='/bin'\nexec \"$@\" -c 'true'\n",
        ] {
            assert_eq!(BashScript::of(&with(rest)), None, "{rest}");
        }
        assert_eq!(BashScript::of("exec \"$@\" -c 'true'\n"), None);
    }
}
