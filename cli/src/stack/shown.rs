//! What the commands print.

use aws::deploy::{Change, Step};
use aws::{Event, Stack};

use crate::screen::Paint;
use crate::text::{clean, shell_word};

/// A step of a change as a line. A file that was in the bucket is not worth one.
pub fn step(stack: &str, step: &Step, paint: Paint) -> Option<String> {
    Some(match step {
        Step::MadeBucket(name) => format!("made the bucket {name}"),
        Step::Uploaded { was_there: true, .. } => return None,
        Step::Uploaded { key, size, .. } => format!("uploaded {key}, {}", megabytes(*size)),
        Step::Began(change) => format!("the {change} of {stack} has begun; it goes on if this command is interrupted"),
        Step::Event(one) => event(one, paint),
        Step::DeletedQueue(name) => format!("deleted the queue {name}"),
        _ => return None,
    })
}

fn megabytes(bytes: usize) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// What a deployment did, in words.
pub fn change(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Updated => "updated",
        Change::Nothing => "nothing to change",
    }
}

/// The lines for a shell.
pub fn exports(url: &str, token: Option<&str>) -> String {
    let token = token.map(|token| format!("export WFG_TOKEN={}\n", shell_word(token))).unwrap_or_default();
    format!("export SERVER_URL={}\n{token}", shell_word(url))
}

fn event(event: &Event, paint: Paint) -> String {
    // 2026-11-29T21:03:04.000Z
    let time = event.time.get(11..19).unwrap_or_default();
    let Event { resource, kind, status, reason, .. } = event;
    let line = clean(&format!("{time:8}  {status:30}  {resource}  {kind}"));
    let reason = if reason.is_empty() { String::new() } else { format!("  {}", clean(reason)) };
    match status {
        failed if failed.ends_with("_FAILED") => paint.bold(&(line + &reason)),
        _ if event.is_of_stack() => line + &reason,
        _ => paint.dim(&(line + &reason)),
    }
}

/// The stack, its outputs and the newest events.
pub fn status(stack: &Stack, events: &[Event], paint: Paint) -> String {
    let reason = if stack.reason.is_empty() { String::new() } else { format!(": {}", clean(&stack.reason)) };
    let mut text = format!("{}  {}{reason}\n", paint.bold(&stack.name), stack.status);
    let version = stack.outputs.get("Version").map_or("unknown", String::as_str);
    let processor = stack.parameters.get("Architecture").map_or("unknown", String::as_str);
    text += &clean(&format!("functions {version} for {processor}; this is wfg {}", env!("CARGO_PKG_VERSION")));
    text.push('\n');
    if stack.is_protected {
        text += "protected from deletion\n";
    }
    for (name, value) in &stack.outputs {
        text += &format!("  {name:20} {}\n", clean(value));
    }
    for one in events {
        text += &format!("{}\n", event(one, paint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Event {
        let text = |text: &str| text.to_owned();
        Event {
            time: text("2026-11-29T21:03:04.000Z"),
            resource: text("Claim"),
            kind: text("AWS::Lambda::Function"),
            status: text("UPDATE_FAILED"),
            reason: text("no such zip"),
            ..Event::default()
        }
    }

    #[test]
    fn event_has_its_time_and_its_reason() {
        let line = step("wf", &Step::Event(&failed()), Paint::PLAIN).expect("a line");
        assert_eq!(line, "21:03:04  UPDATE_FAILED                   Claim  AWS::Lambda::Function  no such zip");
    }

    #[test]
    fn only_what_was_uploaded_is_told() {
        let uploaded =
            |was_there| step("wf", &Step::Uploaded { key: "a.zip", size: 5_940_001, was_there }, Paint::PLAIN);
        assert_eq!(uploaded(false).as_deref(), Some("uploaded a.zip, 6.0 MB"));
        assert_eq!(uploaded(true), None);
    }

    #[test]
    fn status_shows_both_versions_outputs_and_events() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let stack = Stack {
            name: "wf".to_owned(),
            status: "UPDATE_ROLLBACK_COMPLETE".to_owned(),
            parameters: [pair("Architecture", "arm64")].into(),
            outputs: [pair("Version", "1.2.3"), pair("ApiUrl", "https://x")].into(),
            ..Stack::default()
        };
        let text = status(&stack, &[failed()], Paint::PLAIN);
        let expected = format!(
            "wf  UPDATE_ROLLBACK_COMPLETE\nfunctions 1.2.3 for arm64; this is wfg {}\n  ApiUrl               https://x\n  Version              1.2.3\n{}\n",
            env!("CARGO_PKG_VERSION"),
            event(&failed(), Paint::PLAIN)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn exports_can_be_read_by_a_shell() {
        assert_eq!(exports("https://x", Some("wfg_a b")), "export SERVER_URL=https://x\nexport WFG_TOKEN='wfg_a b'\n");
        assert_eq!(exports("https://x", None), "export SERVER_URL=https://x\n");
    }
}
