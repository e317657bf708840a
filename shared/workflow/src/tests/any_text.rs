//! Whatever the text, the answer is a definition or problems.

use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::BROKEN;

/// Pieces that make a text likely to get past the first line.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "jobs:",
        "\n",
        "\n  ",
        "\n    ",
        "a",
        "b",
        ":",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "run: x",
        "needs: ",
        "env:",
        "&a ",
        "*a",
        "!t ",
        "? ",
        "|",
        ">",
        "'",
        "\"",
        "\\",
        "#",
        "---",
        "\t",
        "<<: ",
        "é",
        "\u{feff}",
        "steps:",
        "from: a.b",
        "retries: ",
        "1",
        "null",
        "\r",
        "\"jobs\":",
        "\\ud800",
        "labels: ",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn read_all(text: &str) {
    for result in [from_yaml(text), from_json(text)] {
        match result {
            Ok(definition) => assert_eq!(definition.topological_order().len(), definition.jobs.len()),
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    if let Some(at) = problem.at {
                        assert!(
                            at.line > 0 && at.column > 0 && text.get(at.offset..at.offset + at.len).is_some(),
                            "{problem:?}"
                        );
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        read_all(&text);
    }

    #[test]
    fn no_text_of_yaml_pieces_makes_it_panic(text in pieces()) {
        read_all(&text);
    }

    #[test]
    fn no_change_to_a_file_makes_it_panic(at in 0..BROKEN.len(), cut in 0usize..40, put in pieces()) {
        let end = (at + cut).min(BROKEN.len());
        if let (Some(before), Some(after)) = (BROKEN.get(..at), BROKEN.get(end..)) {
            read_all(&format!("{before}{put}{after}"));
        }
    }

    #[test]
    fn any_text_in_quotes_is_the_value(value in "\\PC{0,30}") {
        let quoted = value.replace('\'', "''");
        let definition = from_yaml(&format!("jobs: {{a: {{run: x, env: {{A: '{quoted}'}}}}}}"));
        prop_assert_eq!(definition.map(|d| d.jobs[0].settings.env[0].1.clone()), Ok(EnvValue::Text(value.clone())));
        let body = json!({"jobs": {"a": {"run": "x", "env": {"A": value}}}}).to_string();
        prop_assert_eq!(from_json(&body).map(|d| d.jobs[0].settings.env[0].1.clone()), Ok(EnvValue::Text(value)));
    }
}
