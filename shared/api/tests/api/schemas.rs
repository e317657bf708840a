//! Compares the schemas of the protocol's types with what the types accept.

use protocol::access::{Allowed, NewToken};
use protocol::{JobId, Label, OutputName, SecretName, TokenName};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Asserts that the type accepts exactly what its schema allows.
fn agree<T: JsonSchema + DeserializeOwned>(values: &[Value]) {
    let schema = schema_for!(T).to_value();
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for value in values {
        let (read, allowed) = (serde_json::from_value::<T>(value.clone()).is_ok(), validator.is_valid(value));
        assert_eq!(read, allowed, "{} of {value}: {schema}", T::schema_name());
    }
}

#[test]
fn pattern_of_a_schema_agrees_with_its_type() {
    let long = |size| "x".repeat(size);
    let texts = [
        "",
        ".",
        "..",
        "...",
        "a",
        "A_b-c.d",
        "1a",
        "_a",
        "a/b",
        "a?",
        "#",
        "a b",
        " a ",
        "\ta\n",
        "a,b",
        "é",
        "straße:1@%",
        "a\u{a0}b",
        "a\u{85}b",
        "a\u{7f}",
        "a\u{9f}",
        "\u{2028}",
        "a\u{3000}",
        "a\u{200b}b",
        "a\0",
        "a\n",
        "a\\b",
        "[a]",
        "^",
        "*",
    ];
    let mut values: Vec<Value> = texts.map(Value::from).into();
    values.extend([63, 64, 65, 99, 100, 101, 127, 128, 129].map(|size| Value::from(long(size))));
    values.extend([json!(1), json!(null), json!([])]);
    agree::<JobId>(&values);
    agree::<OutputName>(&values);
    agree::<TokenName>(&values);
    agree::<SecretName>(&values);
    agree::<Label>(&values);
    agree::<Allowed<Label>>(&values.iter().cloned().chain([json!(["*", "GPU"]), json!(["a,b"])]).collect::<Vec<_>>());
}

#[test]
fn new_token_requires_only_name_and_scopes() {
    agree::<NewToken>(&[
        json!({ "name": "ci", "scopes": ["submit", "read"] }),
        json!({ "name": "ci", "scopes": ["work"], "labels": "*", "secrets": ["KEY"], "exclusive": true, "unknown": 1 }),
        json!({ "name": "c i", "scopes": ["read"] }),
        json!({ "name": "ci", "scopes": ["root"] }),
        json!({ "name": "ci", "scopes": ["read"], "labels": "gpu" }),
        json!({ "name": "ci", "scopes": ["read"], "expires_in_secs": -1 }),
        json!({ "name": "ci" }),
    ]);
}
