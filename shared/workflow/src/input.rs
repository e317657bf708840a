//! An input of a workflow, and the values that a run has of all of them.

use std::collections::BTreeMap;

use protocol::limits;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::leg::variable;
use super::problem::Problem;
use super::report::{nearest, quote};

/// A value that a run may be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    /// Unique in the definition.
    pub name: String,
    /// What its value must be.
    #[serde(rename = "type")]
    pub kind: InputType,
    /// The values there are to choose from. Any, if it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The value where none is given. Empty, unless the definition says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether a value of at least one byte must be given.
    pub required: bool,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The type of an input's value. The value itself is text in any case.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum InputType {
    /// Any text.
    #[default]
    Text,
    /// A decimal number, such as `-1.5`.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Input {
    /// The variable that has the value in each job's environment.
    #[must_use]
    pub fn variable(&self) -> String {
        input_variable(&self.name)
    }

    /// Why a value isn't allowed.
    pub(super) fn refuses(&self, value: &str) -> Option<String> {
        if value.contains('\0') {
            return Some("a NUL character is not allowed".to_owned());
        }
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == value) {
            let choices: Vec<_> = self.choices.iter().take(20).map(|choice| quote(choice)).collect();
            return Some(format!("{} is not one of its choices: {}", quote(value), choices.join(", ")));
        }
        let fits = match self.kind {
            InputType::Text => true,
            InputType::Number => {
                value.parse::<f64>().is_ok_and(f64::is_finite)
                    && value.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            }
            InputType::Boolean => matches!(value, "true" | "false"),
        };
        let kind = match self.kind {
            InputType::Boolean => "`true` or `false`",
            _ => "a number, such as 3 or -1.5",
        };
        (!fits).then(|| format!("{} is not {kind}", quote(value)))
    }
}

/// The variable of the input of this name.
#[must_use]
pub fn input_variable(name: &str) -> String {
    variable("INPUT", name)
}

/// The values of a run: those given, else the defaults, else empty ones.
///
/// # Errors
///
/// Every problem there is: `unknown_input`, `missing_input` or `bad_input`, each with the path `inputs.<name>`.
pub fn resolve(inputs: &[Input], given: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut problem = |code, name: &str, message| {
        problems.push(Problem { code, message, path: format!("inputs.{name}"), at: None });
    };
    for name in given.keys().filter(|name| !inputs.iter().any(|input| input.name == **name)) {
        let near = nearest(name, inputs.iter().map(|input| input.name.as_str()), &mut 1_000_000);
        let advice = match (near, inputs.is_empty()) {
            (Some(near), _) => format!("; did you mean {}?", quote(near)),
            (None, true) => "; this workflow has no inputs".to_owned(),
            (None, false) => {
                let names: Vec<_> = inputs.iter().take(20).map(|input| quote(&input.name)).collect();
                format!("; there are {}", names.join(", "))
            }
        };
        problem("unknown_input", name, format!("there is no input {}{advice}", quote(name)));
    }
    let mut values = BTreeMap::new();
    for input in inputs {
        let value = match given.get(&input.name) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
            Some(_) => {
                problem("bad_input", &input.name, "its value is a text, a number, true or false".to_owned());
                continue;
            }
        };
        if input.required && value.as_ref().is_none_or(String::is_empty) {
            let name = &input.name;
            problem(
                "missing_input",
                name,
                format!("the input {} is required; give it with `-f {name}=VALUE`", quote(name)),
            );
            continue;
        }
        if let Some(why) = value.as_ref().and_then(|value| input.refuses(value)) {
            problem("bad_input", &input.name, format!("input {}: {why}", quote(&input.name)));
        }
        values.insert(input.name.clone(), value.or_else(|| input.default.clone()).unwrap_or_default());
    }
    let size: usize = values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > limits::INPUTS_SIZE {
        let message =
            format!("the inputs are {size} bytes; at most {} are allowed (limit INPUTS_SIZE)", limits::INPUTS_SIZE);
        problems.push(Problem { code: "bad_input", message, path: "inputs".to_owned(), at: None });
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}
