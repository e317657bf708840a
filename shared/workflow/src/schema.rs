//! The JSON Schema of a workflow file, made from the table of keys.
//!
//! A schema cannot say everything that the parser checks: ids that must exist, cycles, sizes in bytes, and numbers that
//! are written as text.

use protocol::wire::WORKER_VARIABLES;
use protocol::{JobId, Label, SecretName, limits};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::events::MANUAL;
use super::keys::{Form, Key, Level};

/// The pattern of a text without a NUL.
const NO_NUL: &str = r"^[^\u0000]*$";

/// The JSON Schema of the file that people write, as an editor reads it.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = definition_schema();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "workflow-graph workflow".into();
    schema
}

/// The schema of [`json_schema`], to be part of another: `jobs` is a mapping, and unknown keys are refused.
#[must_use]
pub fn definition_schema() -> Value {
    let mut schema = Style::Written.level(Level::Workflow);
    schema["description"] = about_size().into();
    schema
}

/// The schema of the form that programs send: `jobs` is a list, unknown fields are ignored, and null is the same as
/// nothing.
#[must_use]
pub fn list_schema() -> Value {
    let mut schema = Style::Listed.level(Level::ListedWorkflow);
    schema["description"] = about_size().into();
    schema
}

fn about_size() -> String {
    format!("A workflow, at most {} bytes of text.", limits::DEFINITION)
}

/// How strictly a form is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// By people: numbers, true and false are taken as text, and one item stands for a list of one.
    Written,
    /// By programs: a text is a string and a list is a list. Only the items of a list may be any scalar.
    Listed,
}

impl Style {
    fn level(self, level: Level) -> Value {
        let required: Vec<&str> = level.keys().iter().filter(|key| key.required).map(|key| key.name).collect();
        let properties: Map<String, Value> =
            level.keys().iter().map(|key| (key.name.to_owned(), self.key(key))).collect();
        let mut schema = json!({ "type": "object", "properties": properties });
        if self == Self::Written {
            schema["additionalProperties"] = false.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        rules_between_keys(level, &mut schema);
        schema
    }

    fn key(self, key: &Key) -> Value {
        let mut schema = self.form(key.form);
        if self == Self::Listed && !key.required {
            allow("null", &mut schema);
        }
        schema["description"] = key.about.into();
        schema
    }

    fn form(self, form: Form) -> Value {
        match form {
            Form::Shown => {
                let mut schema = self.text(json!({ "type": "string", "pattern": NO_NUL }));
                schema["maxLength"] = limits::NAME.into();
                schema
            }
            Form::Events => self.events(),
            Form::Event(level) => json!({ "anyOf": [self.level(level), { "type": "null" }] }),
            Form::Patterns => self.patterns(),
            Form::States => self.states(),
            Form::Env { references } => self.env(references),
            Form::Jobs => self.jobs(),
            Form::JobId => self.text(of::<JobId>()),
            Form::JobIds => self.list(&Self::Written.text(of::<JobId>()), &json!({ "uniqueItems": true })),
            // At most so many different ones, which no schema can count.
            Form::Labels => self.labels(),
            Form::Secrets => {
                // A number is no name, but `true` is one.
                let mut name = of::<SecretName>();
                allow("boolean", &mut name);
                self.list(&name, &json!({ "uniqueItems": true, "maxItems": limits::SECRETS_PER_JOB }))
            }
            Form::Script => self.text(json!({ "type": "string", "pattern": r"^[^\u0000]*[^\u0000\s][^\u0000]*$" })),
            Form::Command => self.text(json!({ "type": "string", "pattern": NO_NUL })),
            Form::Steps => {
                json!({ "type": "array", "minItems": 1, "maxItems": limits::STEPS, "items": self.level(Level::Step) })
            }
            Form::Tries => json!({ "type": "integer", "minimum": 0, "maximum": limits::RETRIES }),
            Form::Retry => self.level(Level::Retry),
            Form::ExitBudgets => json!({
                "type": "object",
                "maxProperties": limits::EXIT_BUDGETS,
                "propertyNames": { "pattern": "^[1-9][0-9]{0,2}(-[1-9][0-9]{0,2})?$" },
                "additionalProperties": self.form(Form::Tries),
            }),
            Form::Time { least } => json!({ "anyOf": [
                { "type": "integer", "minimum": least, "maximum": limits::TIMEOUT_SECS },
                { "type": "string", "pattern": "^([0-9]+|([0-9]+[smhd])+)$" },
            ] }),
            Form::Word(words) => json!({ "enum": words }),
            Form::Shell => json!({ "anyOf": [
                { "enum": ["bash", "sh"] },
                {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits::SHELL_WORDS,
                    "items": self.text(json!({ "type": "string", "minLength": 1, "maxLength": limits::SHELL_WORD, "pattern": NO_NUL })),
                },
            ] }),
            Form::Workdir => self.text(json!({
                "type": "string",
                "minLength": 1,
                "maxLength": limits::WORKDIR,
                "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))[^\u0000]*$",
            })),
            Form::Checkout => json!({ "anyOf": [{ "type": "boolean" }, self.level(Level::Checkout)] }),
            Form::Depth => json!({ "type": "integer", "minimum": 0, "maximum": limits::CHECKOUT_DEPTH }),
            Form::Folders => {
                let folder = self.text(json!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": limits::WORKDIR,
                    "pattern": r#"^(?!/)(?!(.*/)?\.\.(/|$))[^\u0000-\u001f"]*$"#,
                }));
                self.list(&folder, &json!({ "minItems": 1, "maxItems": limits::CHECKOUT_PATHS }))
            }
            Form::Defaults => self.level(Level::Defaults),
            Form::Inputs => json!({
                "type": "object",
                "maxProperties": limits::INPUTS,
                "propertyNames": axis_name(),
                "additionalProperties": { "anyOf": [self.level(Level::Input), { "type": "null" }] },
            }),
            Form::Matrix => {
                let mut matrix = self.level(Level::Matrix);
                let values = json!({ "type": "array", "items": matrix_value() });
                matrix["patternProperties"] = json!({ "^(?!(include|exclude|id)$)[A-Za-z_][A-Za-z0-9_-]*$": values });
                matrix
            }
            Form::Legs { ids } => {
                let mut name = axis_name();
                if !ids {
                    name["not"] = json!({ "const": "id" });
                }
                let leg = json!({ "type": "object", "propertyNames": name, "additionalProperties": matrix_value() });
                json!({ "type": "array", "items": leg })
            }
            Form::InputType => json!({ "enum": ["text", "number", "boolean"] }),
            Form::InputValue => input_value(),
            Form::InputValues => {
                json!({ "type": "array", "minItems": 1, "maxItems": limits::CHOICES, "items": input_value() })
            }
            Form::Group => self.text(of::<Label>()),
            Form::RunGroup => json!({ "anyOf": [self.text(of::<Label>()), self.level(Level::Concurrency)] }),
            Form::InputNames => self.list(&axis_name(), &json!({ "uniqueItems": true })),
            Form::Boolean => json!({ "type": "boolean" }),
            Form::ExitCode => json!({ "type": "integer", "minimum": 1, "maximum": 255 }),
            Form::OnFailure => self.level(Level::OnFailure),
            Form::Axis => axis_name(),
            Form::OutputOfJob => json!({ "type": "string", "minLength": 3 }),
            Form::Any => json!({}),
        }
    }

    fn events(self) -> Value {
        let names: Vec<&str> = std::iter::once(MANUAL).chain(Level::On.names()).collect();
        let name = json!({ "enum": names });
        let list = json!({ "type": "array", "items": name, "uniqueItems": true });
        json!({ "anyOf": [name, list, self.level(Level::On)] })
    }

    fn patterns(self) -> Value {
        let pattern = json!({ "type": "string", "pattern": r"^!*[^\u0000!][^\u0000]*$", "maxLength": limits::PATTERN });
        self.list(&self.text(pattern), &json!({ "minItems": 1, "maxItems": limits::PATTERNS }))
    }

    fn states(self) -> Value {
        let job = self.text(json!({ "type": "string" }));
        let jobs = json!({ "type": "array", "items": job, "uniqueItems": true, "maxItems": limits::STATES });
        json!({ "anyOf": [{ "const": "run" }, jobs] })
    }

    /// A schema of texts, and where people write, of the other scalars that are taken as texts.
    fn text(self, mut schema: Value) -> Value {
        if self == Self::Written {
            allow("number", &mut schema);
            allow("boolean", &mut schema);
        }
        schema
    }

    fn list(self, item: &Value, rules: &Value) -> Value {
        let mut list = json!({ "type": "array", "items": item });
        merge(&mut list, rules);
        if self == Self::Written { json!({ "anyOf": [item, list] }) } else { list }
    }

    fn labels(self) -> Value {
        let mut label = Self::Written.text(of::<Label>());
        if self == Self::Written {
            label = json!({ "anyOf": [label, self.level(Level::LabelReference)] });
        }
        self.list(&label, &json!({}))
    }

    fn jobs(self) -> Value {
        match self {
            Self::Written => json!({
                "type": "object",
                "minProperties": 1,
                "maxProperties": limits::JOBS,
                "propertyNames": of::<JobId>(),
                "additionalProperties": self.level(Level::Job),
            }),
            Self::Listed => json!({
                "type": "array",
                "minItems": 1,
                "maxItems": limits::JOBS,
                "items": self.level(Level::ListedJob),
            }),
        }
    }

    fn env(self, references: bool) -> Value {
        let text = json!({
            "type": ["string", "number", "boolean", "null"],
            "pattern": NO_NUL,
            "maxLength": limits::ENV_VALUE,
        });
        let value = if references { json!({ "anyOf": [text, self.level(Level::Reference)] }) } else { text };
        json!({
            "type": "object",
            "maxProperties": limits::ENV,
            "propertyNames": {
                "pattern": "^(?!INPUT_|MATRIX_|NEEDS_)[A-Za-z_][A-Za-z0-9_]*$",
                "not": { "enum": WORKER_VARIABLES },
            },
            "additionalProperties": value,
        })
    }
}

fn axis_name() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_-]*$", "maxLength": limits::AXIS_NAME })
}

fn matrix_value() -> Value {
    let kinds = ["string", "number", "boolean", "null"];
    json!({ "type": kinds, "pattern": NO_NUL, "maxLength": limits::MATRIX_VALUE })
}

fn input_value() -> Value {
    let kinds = ["string", "number", "boolean", "null"];
    json!({ "type": kinds, "pattern": NO_NUL, "maxLength": limits::INPUTS_SIZE })
}

/// Rules between several keys of one mapping.
fn rules_between_keys(level: Level, schema: &mut Value) {
    match level {
        Level::Job | Level::OnFailure => {
            merge(
                schema,
                &json!({
                    "oneOf": [{ "required": ["run"] }, { "required": ["steps"] }],
                    "not": { "required": ["retries", "retry"] },
                }),
            );
            if level == Level::Job {
                let failure = json!({ "required": ["if"], "properties": { "if": { "const": "failure" } } });
                merge(schema, &json!({ "if": failure, "then": { "required": ["needs"] } }));
            }
        }
        Level::Defaults => merge(schema, &json!({ "not": { "required": ["retries", "retry"] } })),
        Level::Reference => merge(schema, &json!({ "minProperties": 1, "maxProperties": 1 })),
        Level::Input => {
            let without = json!({ "not": { "required": ["default"] } });
            merge(
                schema,
                &json!({ "if": { "properties": { "required": { "const": true } }, "required": ["required"] }, "then": without }),
            );
        }
        Level::Retry => {
            let exponential =
                json!({ "required": ["backoff"], "properties": { "backoff": { "const": "exponential" } } });
            merge(schema, &json!({ "dependentSchemas": { "max_delay": exponential } }));
        }
        _ => {}
    }
}

/// The schema of a type of the protocol as it is read.
fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| settings.inline_subschemas = true);
    T::json_schema(&mut SchemaGenerator::new(settings)).to_value()
}

fn merge(schema: &mut Value, rules: &Value) {
    for (name, rule) in rules.as_object().into_iter().flatten() {
        schema[name] = rule.clone();
    }
}

/// Allows one more type, where the schema limits the types.
fn allow(kind: &str, schema: &mut Value) {
    match schema.get_mut("type") {
        Some(Value::Array(kinds)) => kinds.push(kind.into()),
        Some(one) => *one = json!([one.take(), kind]),
        None => {}
    }
}
