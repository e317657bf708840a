//! Fuzz target `definition`: arbitrary text as a workflow file, in YAML and in JSON.

use std::fmt::Write;

use workflow::{Definition, EnvValue, Problem, from_json, from_yaml};

/// The listed problems, and the one that counts the others.
const LISTED: usize = 1001;
/// The longest path and the longest message. A message that shows a cycle names forty jobs.
const LONGEST: usize = 20_000;

/// Any text is either a definition whose jobs can be ordered, or has problems that can be shown.
///
/// # Panics
/// If the property is broken.
pub fn definition(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for read in [from_yaml(text), from_json(text)] {
        match read {
            Ok(definition) => good(&definition),
            Err(problems) => shown(text, &problems),
        }
    }
}

fn good(definition: &Definition) {
    let order = definition.topological_order();
    assert_eq!(order.len(), definition.jobs.len(), "a checked definition has no cycle");
    for job in &definition.jobs {
        assert!(!job.settings.script.contains('\0'), "a shell can't be given a NUL");
        let texts = job.settings.env.iter().filter_map(|(name, value)| match value {
            EnvValue::Text(text) => Some((name.clone(), text.clone())),
            EnvValue::Input(_) | EnvValue::Output { .. } => None,
        });
        let whole = job.settings.command(&texts.collect::<Vec<_>>());
        let script = &job.settings.script;
        let kept = whole.contains(script) || whole.contains(&script.replace('\'', r"'\''"));
        assert!(kept, "the command has what was written, as it is or in quotes");
    }
}

fn shown(text: &str, problems: &[Problem]) {
    assert!((1..=LISTED).contains(&problems.len()), "{} problems", problems.len());
    let mut line = String::new();
    for problem in problems {
        line.clear();
        let _ = write!(line, "{problem}");
        assert!(!problem.message.is_empty() && line.len() <= LONGEST, "{} bytes: {line:.300}", line.len());
        if let Some(at) = problem.at {
            let there = text.get(at.offset..at.offset + at.len);
            assert!(at.line > 0 && at.column > 0 && there.is_some(), "no such place: {problem:?}");
        }
    }
}
