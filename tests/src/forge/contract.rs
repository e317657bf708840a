//! Checks requests to GitHub's API against its published description.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// Taken out of npm `@octokit/openapi` 23.0.2 by `tests/forge/extract.py`.
const EXTRACT: &str = include_str!("../../forge/github-requests.json");

struct Operation {
    method: String,
    path: Vec<String>,
    /// Names of query parameters with their schemas.
    query: Vec<(String, Validator)>,
    body: Option<Validator>,
}

fn operations() -> &'static [Operation] {
    static ALL: OnceLock<Vec<Operation>> = OnceLock::new();
    ALL.get_or_init(|| {
        let extract: Value = serde_json::from_str(EXTRACT).expect("JSON");
        extract["operations"].as_array().expect("a list").iter().map(operation).collect()
    })
}

fn operation(value: &Value) -> Operation {
    let schema = |value: &Value| jsonschema::validator_for(value).expect("a schema");
    let parameters = value["parameters"].as_array().expect("a list").iter();
    let query = parameters
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| (text(&parameter["name"]), schema(&parameter["schema"])))
        .collect();
    Operation {
        method: text(&value["method"]),
        path: text(&value["path"]).split('/').map(str::to_owned).collect(),
        query,
        body: value.get("body").filter(|body| !body.is_null()).map(schema),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The last variable of these paths has the rest of the path.
fn fits(template: &[String], path: &[&str]) -> bool {
    let is_variable = |part: &str| part.starts_with('{');
    let last = template.len() - 1;
    let open = ["{ref}", "{path}", "{basehead}"].contains(&template[last].as_str());
    if path.len() < template.len() || path.len() > template.len() && !open {
        return false;
    }
    template.iter().zip(path).all(|(part, given)| is_variable(part) && !given.is_empty() || part == given)
}

/// What is wrong with a request. `path` is the API's, without the prefix `/api/v3`.
pub(super) fn problem(method: &str, path: &str, query: &str, body: &[u8]) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let Some(operation) = operations().iter().find(|one| one.method == method && fits(&one.path, &parts)) else {
        return Some(format!("{method} {path}: not an operation of the extract"));
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((_, schema)) = operation.query.iter().find(|(known, _)| known == name) else {
            return Some(format!("{method} {path}: no query parameter {name:?}"));
        };
        let number = value.parse::<u64>().ok().filter(|_| !value.starts_with('0')).map(Value::from);
        let either = [number, Some(Value::from(value))];
        if !either.iter().flatten().any(|value| schema.is_valid(value)) {
            return Some(format!("{method} {path}: query parameter {name} may not be {value:?}"));
        }
    }
    let Some(schema) = &operation.body else {
        return (!body.is_empty()).then(|| format!("{method} {path}: takes no body"));
    };
    if body.is_empty() {
        return None;
    }
    let body: Value = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return Some(format!("{method} {path}: {error}")),
    };
    let problem = schema.iter_errors(&body).next()?;
    Some(format!("{method} {path}: at {}: {problem}", problem.instance_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_requests_pass_and_each_fault_is_named() {
        let check =
            |status: &str| format!(r#"{{"name": "ci", "head_sha": "{}", "status": "{status}"}}"#, "a".repeat(40));
        let post = |body: &str| problem("POST", "/repos/o/r/check-runs", "", body.as_bytes());
        assert_eq!(post(&check("queued")), None);
        assert!(post(&check("waiting-for-nothing")).expect("no such status").contains("/status"));
        assert!(post(r#"{"name": "ci"}"#).expect("no commit").contains("head_sha"));
        assert_eq!(problem("GET", "/repos/o/r/contents/.wfg/ci.yml", "ref=main", b""), None);
        assert_eq!(problem("GET", "/repos/o/r/git/ref/heads/a/b", "", b""), None);
        assert!(problem("GET", "/repos/o/r/contents/.wfg", "at=main", b"").expect("unknown").contains("at"));
        assert!(problem("DELETE", "/repos/o/r", "", b"").expect("unknown").contains("not an operation"));
    }
}
