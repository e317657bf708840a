//! Compares the properties of a resource with what it should have.

use serde_json::Value;

use super::scope::{UNKNOWN, text};

/// The longest text of a value in a finding.
const SHOWN: usize = 300;

/// A property that isn't as the template says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The resource's name in the template.
    pub resource: String,
    /// The property, with the fields inside it after dots.
    pub property: String,
    /// What the template says.
    pub expected: String,
    /// What the stack has.
    pub found: String,
}

/// Compares what was read with what is expected. Of an object, only the expected fields are compared.
pub(crate) fn findings(resource: &str, property: &str, expected: &Value, found: &Value) -> Vec<Finding> {
    let mut all = Vec::new();
    differences(property, expected, found, &mut |property, expected, found| {
        let (property, expected, found) = (property.to_owned(), shown(expected), shown(found));
        all.push(Finding { resource: resource.to_owned(), property, expected, found });
    });
    all
}

fn differences(path: &str, expected: &Value, found: &Value, report: &mut dyn FnMut(&str, &Value, &Value)) {
    match (expected, found) {
        (Value::String(unknown), _) if unknown == UNKNOWN => {}
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                differences(&format!("{path}.{key}"), value, found.get(key).unwrap_or(&Value::Null), report);
            }
        }
        (Value::Array(expected_list), Value::Array(found_list)) => {
            if expected_list.len() != found_list.len() {
                return report(path, expected, found);
            }
            let mut left: Vec<&Value> = found_list.iter().collect();
            let unmatched: Vec<(usize, &Value)> = expected_list
                .iter()
                .enumerate()
                .filter(|(_, one)| match left.iter().position(|other| agree(one, other)) {
                    Some(at) => {
                        left.remove(at);
                        false
                    }
                    None => true,
                })
                .collect();
            for ((at, one), other) in unmatched.into_iter().zip(left) {
                differences(&format!("{path}[{at}]"), one, other, report);
            }
        }
        _ => {
            if !same(expected, found) {
                report(path, expected, found);
            }
        }
    }
}

fn agree(expected: &Value, found: &Value) -> bool {
    let mut agreed = true;
    differences("", expected, found, &mut |_, _, _| agreed = false);
    agreed
}

/// Scalars are compared as text, since services write numbers and flags as text or not; texts of JSON as JSON.
fn same(expected: &Value, found: &Value) -> bool {
    let json = |value: &Value| {
        value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object)
    };
    match (json(expected), json(found)) {
        (Some(expected), Some(found)) => expected == found,
        _ => text(expected) == text(found),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(expected: &Value, found: &Value) -> Vec<(String, String, String)> {
        findings("R", "P", expected, found).into_iter().map(|one| (one.property, one.expected, one.found)).collect()
    }

    #[test]
    fn values_agree_whatever_their_form_and_order() {
        let expected = json!({ "n": 60, "on": "true", "list": [{ "Id": "a", "x": 1 }, { "Id": "b", "x": 2 }], "p": "{\"a\": [1]}" });
        let found = json!({ "n": "60.0", "on": true, "list": [{ "x": 2, "Id": "b", "more": 1 }, { "x": "1", "Id": "a" }], "p": "{\"a\":[1]}" });
        assert_eq!(all(&expected, &found), []);
        assert_eq!(all(&json!(UNKNOWN), &json!("anything")), []);
    }

    #[test]
    fn difference_is_named_where_it_is() {
        let row =
            |property: &str, expected: &str, found: &str| (property.to_owned(), expected.to_owned(), found.to_owned());
        let expected = json!({ "a": { "b": true }, "list": [{ "Id": "a", "x": 1 }, { "Id": "b", "x": 2 }] });
        let found = json!({ "a": { "b": false }, "list": [{ "Id": "b", "x": 2 }, { "Id": "a", "x": 3 }] });
        assert_eq!(all(&expected, &found), [row("P.a.b", "true", "false"), row("P.list[0].x", "1", "3")]);
        assert_eq!(all(&json!(null), &json!(0)), [row("P", "nothing", "0")]);
        assert_eq!(all(&json!({ "a": 1 }), &json!(null)), [row("P", "{\"a\":1}", "nothing")]);
    }
}
