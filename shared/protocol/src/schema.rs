//! JSON Schemas of the text types. The patterns mean the same in every dialect: each excluded character is written out.
//! They count characters where the rules count bytes, so a text outside ASCII may match and still be too long.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::{JobId, Label, LabelSet, LinkName, OutputName, SecretName, TokenName, WorkerId, WorkflowId, limits};

/// Unicode white space.
const SPACE: &str = r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// White space and control characters.
const UNSEEN: &str = r"\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";

fn id(description: &str) -> Schema {
    let pattern = format!("^[^/?#{UNSEEN}]{{1,{}}}$", limits::ID);
    json_schema!({
        "type": "string",
        "description": format!("{description} 1 to {} bytes.", limits::ID),
        "pattern": pattern,
        // Clients remove these from a path.
        "not": { "enum": [".", ".."] },
    })
}

fn word(description: &str, first: &str, rest: &str, limit: usize) -> Schema {
    let pattern =
        format!("^{first}[{rest}]{{{},{}}}$", usize::from(first.is_empty()), limit - usize::from(!first.is_empty()));
    json_schema!({ "type": "string", "description": description, "pattern": pattern })
}

/// A name that stands in paths.
fn name(description: &str) -> Schema {
    let mut schema = word(description, "", "A-Za-z0-9_.-", limits::TOKEN_NAME);
    schema.insert("not".to_owned(), serde_json::json!({ "enum": [".", ".."] }));
    schema
}

macro_rules! texts {
    ($($name:ident => $schema:expr;)*) => {$(
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($name)).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

texts! {
    WorkflowId => id("A workflow, chosen by the engine.");
    JobId => id("A job within its workflow, chosen by the author.");
    WorkerId => id("A worker, chosen by itself.");
    OutputName => word("An output's name.", "", "A-Za-z0-9_.-", limits::OUTPUT_NAME);
    TokenName => name("A token's name, chosen by its creator.");
    LinkName => name("The name of a link to a forge, chosen by who adds it.");
    SecretName => {
        let description = "A secret's name, which is also the name of the variable in the job's environment.";
        word(description, "[A-Za-z_]", "A-Za-z0-9_", limits::SECRET_NAME)
    };
}

impl JsonSchema for Label {
    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let label = format!("[^,{UNSEEN}]{{1,{}}}", limits::LABEL);
        let (around, how) = if generator.contract().is_serialize() {
            (String::new(), "In lower case.")
        } else {
            (format!("[{SPACE}]*"), "Case and surrounding white space don't count.")
        };
        json_schema!({
            "type": "string",
            "description": format!("One label, 1 to {} bytes. {how}", limits::LABEL),
            "pattern": format!("^{around}{label}{around}$"),
        })
    }
}

impl JsonSchema for LabelSet {
    fn schema_name() -> Cow<'static, str> {
        "LabelSet".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<Label>();
        if generator.contract().is_serialize() {
            return json_schema!({ "type": "array", "items": items, "uniqueItems": true, "description": "Sorted." });
        }
        // The limit is on different ones, which no schema can count.
        let description = format!("Duplicates count once. A worker may have {}.", limits::LABELS_PER_WORKER);
        json_schema!({ "type": "array", "items": items, "description": description })
    }
}
