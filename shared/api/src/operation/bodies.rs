//! Requests' bodies. A definition has no type of its own: it is read into a tree and checked there, so its two forms are
//! described here.

use protocol::{JobId, Label, SecretName, limits};
use serde_json::{Map, Value, json};

use super::schemas::Schemas;

/// A body that must be there.
pub(crate) fn required(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

/// A body that may be left out.
pub(crate) fn optional(schema: Value) -> Value {
    json!({ "required": false, "content": { "application/json": { "schema": schema } } })
}

/// A workflow's definition: what people write, or the form with a list of jobs.
pub(crate) fn definition(schemas: &mut Schemas) -> Value {
    let job = job(schemas);
    let job = schemas.name("DefinitionJob", job);
    let written = written(&job, schemas);
    let written = schemas.name("Definition", written);
    let listed = listed(schemas);
    let listed = schemas.name("Submission", listed);
    let mut content = Map::new();
    content.insert("application/json".to_owned(), json!({ "schema": { "oneOf": [listed, written] } }));
    for yaml in ["application/yaml", "text/yaml", "application/x-yaml"] {
        content.insert(yaml.to_owned(), json!({ "schema": written }));
    }
    json!({ "required": true, "content": content })
}

/// A text; numbers, true and false are taken as written.
fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// A text that lists show.
fn shown() -> Value {
    json!({ "type": ["string", "number", "boolean"], "maxLength": limits::NAME })
}

fn one_or_many(one: &Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "items": one }] })
}

/// The form that people write: `jobs` is an object, and unknown keys are refused.
fn written(job: &Value, schemas: &mut Schemas) -> Value {
    let id = schemas.given::<JobId>();
    json!({
        "type": "object",
        "description": format!("A workflow, at most {} bytes of text.", limits::DEFINITION),
        "required": ["jobs"],
        "additionalProperties": false,
        "properties": {
            "name": shown(),
            "on": {
                "description": "Shown as its trigger; it starts nothing.",
                "anyOf": [shown(), { "type": "array", "items": scalar() }, { "type": "object" }],
            },
            "env": env(&scalar()),
            "jobs": {
                "type": "object",
                "description": "By id.",
                "minProperties": 1,
                "maxProperties": limits::JOBS,
                "propertyNames": id,
                "additionalProperties": job,
            },
        },
    })
}

fn env(value: &Value) -> Value {
    json!({
        "type": "object",
        "description": "Variables of the environment; the inner ones win.",
        "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
        "additionalProperties": value,
    })
}

fn job(schemas: &mut Schemas) -> Value {
    let id = schemas.given::<JobId>();
    let label = schemas.given::<Label>();
    let secret = schemas.given::<SecretName>();
    let from = json!({
        "type": "object",
        "description": "`<job>.<output>` of a job that is needed.",
        "required": ["from"],
        "additionalProperties": false,
        "properties": { "from": { "type": "string", "minLength": 3 } },
    });
    let script =
        json!({ "type": ["string", "number", "boolean"], "pattern": r"^[^\u0000]+$", "description": "For a shell." });
    json!({
        "type": "object",
        "additionalProperties": false,
        "oneOf": [{ "required": ["run"] }, { "required": ["steps"] }],
        "properties": {
            "name": scalar(),
            "needs": one_or_many(&id),
            "run": script,
            "steps": { "type": "array", "minItems": 1, "items": step(&script, &id) },
            "labels": one_or_many(&label),
            "secrets": one_or_many(&secret),
            "retries": tries(),
            "retry": retry(),
            "timeout": seconds(1),
            "queue_timeout": seconds(1),
            "outputs_from": { "enum": ["both", "stdout", "file"], "default": "both" },
            "metadata": { "description": "Kept and returned as given." },
            "env": env(&json!({ "anyOf": [scalar(), from] })),
        },
    })
}

fn step(script: &Value, id: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["run"],
        "additionalProperties": false,
        "properties": { "id": id, "name": scalar(), "run": script, "env": env(&scalar()) },
    })
}

fn tries() -> Value {
    json!({ "type": "integer", "description": "Tries on top of the first.", "minimum": 0, "maximum": limits::RETRIES })
}

fn seconds(least: u32) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": least, "maximum": limits::TIMEOUT_SECS },
        { "type": "string", "pattern": "^[0-9]{1,7}[smh]?$", "description": "As `90s`, `30m` or `6h`." },
    ] })
}

fn retry() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "max": tries(),
            "lost": tries(),
            "timeout": tries(),
            "backoff": { "enum": ["fixed", "exponential"] },
            "delay": seconds(0),
            "max_delay": seconds(0),
        },
    })
}

/// The form that programs send: `jobs` is a list. Fields that it doesn't know are ignored, and null is the same as nothing.
fn listed(schemas: &mut Schemas) -> Value {
    let id = schemas.given::<JobId>();
    let label = schemas.given::<Label>();
    let secret = schemas.given::<SecretName>();
    let kept = json!({ "description": "Kept and returned as given." });
    json!({
        "type": "object",
        "description": format!("A workflow, at most {} bytes of text.", limits::DEFINITION),
        "required": ["jobs"],
        "properties": {
            "name": { "type": ["string", "null"], "maxLength": limits::NAME },
            "trigger": { "type": ["string", "null"], "maxLength": limits::NAME },
            "jobs": { "type": "array", "minItems": 1, "maxItems": limits::JOBS, "items": {
                "type": "object",
                "required": ["id", "name", "command"],
                "properties": {
                    "id": id,
                    "name": { "type": "string" },
                    "command": { "type": "string", "pattern": r"^[^\u0000]*$" },
                    "depends_on": { "type": ["array", "null"], "items": id },
                    "required_labels": { "type": ["array", "null"], "items": label },
                    "secrets": { "type": ["array", "null"], "items": secret },
                    "max_retries": { "type": ["integer", "null"], "minimum": 0, "maximum": limits::RETRIES },
                    "metadata": kept,
                    "ports": kept,
                    "children": kept,
                    "collapsed": kept,
                },
            } },
        },
    })
}
