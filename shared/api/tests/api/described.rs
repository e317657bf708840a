//! Compares requests and answers with the API's `OpenAPI` document.

use std::collections::HashSet;

use bytes::Bytes;
use http::{Method, Response, header};
use serde_json::{Value, json};

/// The document, in which answers may have no other fields than described. For clients it allows more, for later versions.
pub struct Described(Value);

impl Described {
    pub fn new(mut described: Value) -> Self {
        let schemas = described["components"]["schemas"].as_object_mut().expect("schemas");
        for schema in schemas.values_mut() {
            if schema["properties"].is_object() {
                schema["unevaluatedProperties"] = json!(false);
            }
        }
        Self(described)
    }

    /// The operation of a method and a path, written as in the route table.
    pub fn operation(&self, method: &Method, path: &str) -> &Value {
        &self.0["paths"][path][method.as_str().to_ascii_lowercase()]
    }

    pub fn operations(&self) -> Vec<&Value> {
        let paths = self.0["paths"].as_object().expect("paths");
        paths.values().flat_map(|methods| methods.as_object().expect("methods").values()).collect()
    }

    /// Asserts that the answer's status, media type, body and headers are described.
    pub fn check(&self, method: &Method, path: &str, response: &Response<Bytes>) {
        let operation = self.operation(method, self.template(method, path));
        let status = response.status();
        let described = self.resolve(&operation["responses"][status.as_str()]);
        assert!(described.is_object(), "{method} {path}: {status} isn't described");
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            assert!(header["required"] != true || response.headers().contains_key(name), "{path}: {name} is missing");
        }
        let Some(kind) = response.headers().get(header::CONTENT_TYPE) else {
            assert!(described["content"].is_null() && response.body().is_empty(), "{method} {path}: no content type");
            return;
        };
        let schema = &described["content"][kind.to_str().expect("text")]["schema"];
        assert!(schema.is_object(), "{method} {path}: {status} with {kind:?} isn't described");
        if kind == "application/json" {
            let body = serde_json::from_slice(response.body()).expect("JSON");
            self.fits(schema, &body, &format!("{method} {path}: the answer {status}"));
        }
    }

    /// Asserts that the document allows this body.
    pub fn allows(&self, path: &str, body: &Value) {
        let operation = self.operation(&Method::POST, self.template(&Method::POST, path));
        if let Some(schema) = operation["requestBody"]["content"].get("application/json") {
            let mut open = self.0.clone();
            for schema in open["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
                schema.as_object_mut().expect("a schema").remove("unevaluatedProperties");
            }
            Self(open).fits(&schema["schema"], body, &format!("the body to {path}"));
        }
    }

    /// Asserts that references resolve, operation ids are unique, and schemas are valid.
    pub fn is_consistent(&self) {
        self.references_resolve(&self.0);
        let ids: Vec<&str> =
            self.operations().iter().filter_map(|operation| operation["operationId"].as_str()).collect();
        let different: HashSet<&str> = ids.iter().copied().collect();
        assert_eq!(different.len(), self.operations().len(), "{ids:?}");
        for (path, methods) in self.0["paths"].as_object().expect("paths") {
            for operation in methods.as_object().expect("methods").values() {
                let mut named = names_in_path(operation);
                let mut variables: Vec<&str> =
                    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
                named.sort_unstable();
                variables.sort_unstable();
                assert_eq!(named, variables, "{path}");
                self.links_resolve(operation);
            }
        }
        for (name, schema) in self.0["components"]["schemas"].as_object().expect("schemas") {
            assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}: {schema}");
        }
    }

    fn references_resolve(&self, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("a reference within the description");
                    assert!(self.0.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(|value| self.references_resolve(value));
            }
            Value::Array(items) => items.iter().for_each(|value| self.references_resolve(value)),
            _ => {}
        }
    }

    fn links_resolve(&self, operation: &Value) {
        let answers = operation["responses"].as_object().expect("answers").values();
        for link in answers.filter_map(|answer| answer["links"].as_object()).flat_map(serde_json::Map::values) {
            let to = self.operations().into_iter().find(|other| other["operationId"] == link["operationId"]);
            let mut named = names_in_path(to.expect("an operation"));
            named.sort_unstable();
            let given: Vec<&String> = link["parameters"].as_object().expect("parameters").keys().collect();
            assert_eq!(named, given, "{link}");
        }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.map_or(value, |pointer| self.0.pointer(pointer).expect("what is referred to"))
    }

    /// The path as the table writes it; one without variables comes first.
    fn template(&self, method: &Method, path: &str) -> &str {
        let fits = |template: &str| {
            let (parts, given) = (template.split('/'), path.split('/'));
            parts.clone().count() == given.clone().count()
                && parts.zip(given).all(|(part, given)| part.starts_with('{') || part == given)
        };
        let paths = self.0["paths"].as_object().expect("paths").keys().map(String::as_str);
        let here = paths.filter(|template| fits(template) && self.operation(method, template).is_object());
        here.min_by_key(|template| template.matches('{').count()).unwrap_or_else(|| panic!("no {method} {path}"))
    }

    fn fits(&self, schema: &Value, value: &Value, what: &str) {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        let validator = jsonschema::draft202012::new(&whole).expect("a schema");
        let problems: Vec<String> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{what} isn't as described: {problems:#?}\n{value}");
    }
}

fn names_in_path(operation: &Value) -> Vec<&str> {
    let parameters = operation["parameters"].as_array().expect("parameters").iter();
    parameters
        .filter(|parameter| parameter["in"] == "path")
        .filter_map(|parameter| parameter["name"].as_str())
        .collect()
}
