//! Reads the template that this program was built with: `infra/template.yaml`, with CloudFormation's short tags in their long form.

use serde_json::{Map, Number, Value, json};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Tag};

/// The template of this version.
pub(crate) const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

/// A list or a mapping whose end hasn't come.
enum Open {
    List(Vec<Value>, Option<String>),
    Map(Map<String, Value>, Option<String>, Option<String>),
}

/// The template as JSON: `!Ref x` is `{"Ref": "x"}`, and any other `!Name x` is `{"Fn::Name": x}`.
///
/// # Errors
/// A text that isn't YAML, or that has aliases.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut document = Value::Null;
    let mut options = Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let done = match event {
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let value = if plain { scalar(&text) } else { Value::String(text.into_owned()) };
                tagged(tag.map(|tag| name(&tag)).as_deref(), value)
            }
            Event::SequenceStart(_, _, tag) => {
                open.push(Open::List(Vec::new(), tag.map(|tag| name(&tag))));
                continue;
            }
            Event::MappingStart(_, _, tag) => {
                open.push(Open::Map(Map::new(), None, tag.map(|tag| name(&tag))));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list, tag)) => tagged(tag.as_deref(), Value::Array(list)),
                Some(Open::Map(map, _, tag)) => tagged(tag.as_deref(), Value::Object(map)),
                None => return Err("an end without a beginning".to_owned()),
            },
            Event::Alias(_) => return Err("an alias".to_owned()),
            _ => continue,
        };
        match open.last_mut() {
            None => document = done,
            Some(Open::List(list, _)) => list.push(done),
            Some(Open::Map(map, key, _)) => match key.take() {
                Some(key) => drop(map.insert(key, done)),
                None => *key = Some(done.as_str().map_or_else(|| done.to_string(), str::to_owned)),
            },
        }
    }
    Ok(document)
}

/// `Ref` of `!Ref`, and nothing of a tag of YAML's own.
fn name(tag: &Tag) -> String {
    tag.original().trim_start_matches('!').to_owned()
}

fn tagged(tag: Option<&str>, value: Value) -> Value {
    match tag {
        None | Some("") => value,
        Some(tag @ ("Ref" | "Condition")) => json!({ tag: value }),
        Some("GetAtt") => match value.as_str().and_then(|text| text.split_once('.')) {
            Some((resource, attribute)) => json!({ "Fn::GetAtt": [resource, attribute] }),
            None => json!({ "Fn::GetAtt": value }),
        },
        Some(tag) => json!({ (format!("Fn::{tag}")): value }),
    }
}

fn scalar(text: &str) -> Value {
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" | "~" | "null" => Value::Null,
        _ => text.parse::<Number>().map_or_else(|_| Value::String(text.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tags_are_written_in_full() {
        let text = "a: !Ref x\nb: !GetAtt T.Arn\nc: !If [C, 1, !Ref AWS::NoValue]\nd: !Sub ${x}-y\ne: \"5\"\nf: !Not [!Condition C]\n";
        let expected = json!({
            "a": { "Ref": "x" }, "b": { "Fn::GetAtt": ["T", "Arn"] }, "c": { "Fn::If": ["C", 1, { "Ref": "AWS::NoValue" }] },
            "d": { "Fn::Sub": "${x}-y" }, "e": "5", "f": { "Fn::Not": [{ "Condition": "C" }] }
        });
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn template_of_this_version_is_read_whole() {
        let template = read(TEMPLATE).expect("it is YAML");
        assert_eq!(template["Resources"]["JobsTable"]["Type"], "AWS::DynamoDB::Table");
        assert_eq!(template["Globals"]["Function"]["Timeout"], 29);
        assert_eq!(template["Outputs"]["Version"]["Value"], env!("CARGO_PKG_VERSION"), "as in Cargo.toml");
    }
}
