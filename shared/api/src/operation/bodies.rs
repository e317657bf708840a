//! Requests' bodies. The schemas of a definition come from the table of keys in the workflow crate.

use serde_json::{Map, Value, json};

use protocol::requests::SubmitWithInputs;

use super::schemas::Schemas;

/// A body that must be there.
pub(crate) fn required(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// A body that may be left out.
pub(crate) fn optional(schema: Value) -> Value {
    json!({ "required": false, "content": { "application/json": { "schema": schema } } })
}

/// Any JSON value, such as the payload of a forge.
pub(crate) fn any_json() -> Value {
    required(json!({}))
}

/// A text in YAML.
pub(crate) fn yaml() -> Value {
    json!({ "required": true, "content": { "application/yaml": { "schema": { "type": "object" } } } })
}

/// A workflow's definition: what people write, or the form with a list of jobs.
pub(crate) fn definition(schemas: &mut Schemas) -> Value {
    let written = schemas.name("Definition", workflow::definition_schema());
    let listed = schemas.name("Submission", workflow::list_schema());
    let mut content = Map::new();
    let mut with_inputs = schemas.request::<SubmitWithInputs>();
    if with_inputs.get("$ref").is_none() {
        with_inputs = schemas.name("SubmitWithInputs", with_inputs);
    }
    content.insert("application/json".to_owned(), json!({ "schema": { "anyOf": [listed, written, with_inputs] } }));
    for yaml in ["application/yaml", "text/yaml", "application/x-yaml"] {
        content.insert(yaml.to_owned(), json!({ "schema": written }));
    }
    json!({ "required": true, "content": content })
}
