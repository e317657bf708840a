//! Shell text: quoting, `env`, and steps as one script that any worker's `sh -c` runs.

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

/// In order, stopping at the first that fails with its exit code.
///
/// Each step is a `sh` of its own, so that nothing it sets, opens or leaves unfinished reaches the next: variables,
/// `set -e`, `cd`, a comment, an unended heredoc, a syntax error, `exit 0`.
pub(super) fn steps(steps: &[Step]) -> String {
    let mut text = String::new();
    for Step { title, env, run } in steps {
        let title: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "printf '%s\\n' {}", quoted(&format!("--- {title}")));
        let _ = writeln!(text, "sh -c {} || exit \"$?\"", quoted(&command(env, run)));
    }
    text
}

/// In single quotes, where nothing but the quote itself means anything to the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
