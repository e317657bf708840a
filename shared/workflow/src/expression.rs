//! Expressions of other systems, `${{ ... }}`: what to write instead. There are none here.

use super::leg::{is_axis, variable};
use super::report::quote;

/// What to write instead of the first expression of a text. `None` if it has none.
pub(super) fn instead(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("${{")?;
    let (inner, _) = rest.split_once("}}")?;
    let shown = quote(&format!("${{{{{inner}}}}}"));
    let advice = in_words(inner.trim()).unwrap_or_else(|| {
        "a script has the variables of `env`, inputs and the matrix, and tests what it needs".to_owned()
    });
    Some(format!("{shown} is not expanded, because there are no expressions; {advice}"))
}

/// For an expression that is a path.
fn in_words(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    Some(match parts[..] {
        ["matrix", axis] if is_axis(axis) => {
            format!("write `\"${}\"` in a script, `{{matrix: {axis}}}` in `env` and `labels`", variable("MATRIX", axis))
        }
        ["inputs", name] | ["github", "event", "inputs", name] if is_axis(name) => {
            format!("write `\"${}\"` in a script, `{{input: {name}}}` in `env`", variable("INPUT", name))
        }
        ["needs", job, "outputs", output] => {
            format!("write `{}: {{from: {job}.{output}}}` in the job's `env`", output.to_uppercase().replace('-', "_"))
        }
        ["needs", _, "result"] => "read the file `$UPSTREAM_STATUS`".to_owned(),
        ["secrets", name] => format!("write `secrets: {name}` on the job, and `\"${name}\"` in a script"),
        ["env" | "vars", name] => format!("write `\"${name}\"` in a script"),
        _ => return None,
    })
}
