//! Schemas, from the protocol's types.

use protocol::wire::Problem;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Generates schemas, and collects those that others refer to.
///
/// One type has two schemas: a field with a default is always in an answer, but may be absent in a request. So answers refer to
/// shared schemas, and each request's schema is complete in itself.
pub(crate) struct Schemas {
    answers: SchemaGenerator,
    requests: SchemaGenerator,
    named: Map<String, Value>,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.meta_schema = None;
                settings.definitions_path = "/components/schemas".into();
            })
        };
        let answers = settings().for_serialize().into_generator();
        let requests = settings().for_deserialize().with(|settings| settings.inline_subschemas = true).into_generator();
        Self { answers, requests, named: Map::new() }
    }

    /// The schema of a value in an answer.
    pub(crate) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// The complete schema of a value in a request.
    pub(crate) fn given<T: JsonSchema>(&mut self) -> Value {
        self.requests.subschema_for::<T>().to_value()
    }

    /// The schema of a request's body.
    pub(crate) fn request<T: JsonSchema>(&mut self) -> Value {
        let schema = self.given::<T>();
        self.name(&T::schema_name(), schema)
    }

    /// Adds a named schema, and returns a reference to it.
    pub(crate) fn name(&mut self, name: &str, schema: Value) -> Value {
        self.named.insert(name.to_owned(), schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// All named schemas.
    pub(crate) fn into_components(mut self) -> Value {
        let problem = self.answer::<Problem>();
        self.named.extend(self.answers.take_definitions(true));
        // The type leaves the details open.
        let details = json!({
            "type": "object",
            "required": ["problems"],
            "properties": { "problems": { "type": "array", "minItems": 1, "items": problem } },
        });
        if let Some(error) = self.named.get_mut("ErrorInfo") {
            error["if"] = json!({ "properties": { "code": { "const": "invalid_definition" } } });
            error["then"] = json!({ "required": ["details"], "properties": { "details": details } });
        }
        Value::Object(self.named)
    }
}

/// Adds the bounds of numbers, which the types don't state, and removes the brackets of links from descriptions.
pub(crate) fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some((least, most)) = fields.get("format").and_then(Value::as_str).and_then(bounds) {
                for (key, bound) in [("minimum", least), ("maximum", most)] {
                    fields.entry(key).or_insert(bound);
                }
                // `OpenAPI` registers no such format, and some readers reject it.
                fields.remove("format");
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace("crate::", "").replace('\n', " ");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn bounds(format: &str) -> Option<(Value, Value)> {
    Some(match format {
        "uint32" => (0.into(), u32::MAX.into()),
        "uint64" | "uint" => (0.into(), u64::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        _ => return None,
    })
}
