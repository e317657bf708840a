//! The size of a `DynamoDB` item in its JSON form, by AWS's page "`DynamoDB` item sizes and formats".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The overhead of a list or a map, in bytes.
const CONTAINER: usize = 3;

/// The size of an item, in bytes: its attributes' names and values.
#[must_use]
pub fn size(item: &Map<String, Value>) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

/// The size of one attribute value such as `{"S": "text"}`, in bytes.
fn value_size(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let each = |size: fn(&str) -> usize| {
        let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(size).sum()
    };
    match kind.as_str() {
        "S" => value.as_str().map_or(0, str::len),
        "N" => value.as_str().map_or(0, number_size),
        "B" => value.as_str().map_or(0, binary_size),
        "SS" => each(str::len),
        "NS" => each(number_size),
        "BS" => each(binary_size),
        // Each element has one more byte of overhead.
        "L" => CONTAINER + value.as_array().into_iter().flatten().map(|one| 1 + value_size(one)).sum::<usize>(),
        "M" => {
            let fields = value.as_object().into_iter().flatten();
            CONTAINER + fields.map(|(name, one)| 1 + name.len() + value_size(one)).sum::<usize>()
        }
        // BOOL, NULL
        _ => 1,
    }
}

/// One byte, and one for every two significant digits. A negative number has one more.
fn number_size(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    1 + significant.div_ceil(2) + usize::from(text.starts_with('-'))
}

fn binary_size(text: &str) -> usize {
    STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(item: &Value) -> usize {
        size(item.as_object().expect("an item"))
    }

    #[test]
    fn a_text_counts_its_bytes_and_its_name() {
        assert_eq!(of(&json!({ "name": { "S": "grün" } })), 4 + 5);
        assert_eq!(of(&json!({ "b": { "B": STANDARD.encode([0; 30]) } })), 1 + 30);
    }

    #[test]
    fn a_number_counts_its_significant_digits() {
        for (text, bytes) in
            [("0", 1), ("7", 2), ("42", 2), ("1200", 2), ("0.0012", 2), ("-42", 3), ("1764425000123", 8)]
        {
            assert_eq!(of(&json!({ "n": { "N": text } })), 1 + bytes, "{text}");
        }
    }

    #[test]
    fn null_and_boolean_count_one_byte() {
        assert_eq!(of(&json!({ "a": { "NULL": true }, "b": { "BOOL": false } })), 4);
    }

    #[test]
    fn lists_and_maps_have_three_bytes_and_one_for_each_element() {
        assert_eq!(of(&json!({ "l": { "L": [] } })), 1 + 3);
        assert_eq!(of(&json!({ "l": { "L": [{ "S": "ab" }, { "S": "c" }] } })), 1 + 3 + (1 + 2) + (1 + 1));
        assert_eq!(of(&json!({ "m": { "M": { "key": { "S": "ab" } } } })), 1 + 3 + (1 + 3 + 2));
    }

    #[test]
    fn a_set_counts_its_members() {
        assert_eq!(of(&json!({ "s": { "SS": ["ab", "c"] }, "n": { "NS": ["1", "100"] } })), 1 + 3 + 1 + 4);
    }
}
