//! The template's routes, of both gateways, are the table's: none missing, none more, each to its own function.

use std::collections::BTreeSet;

use api::routes::ROUTES;

/// `METHOD path function`, as each side writes it.
type Rows = BTreeSet<String>;

fn template() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/template.yaml");
    std::fs::read_to_string(path).expect("the template is in the repository")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

fn table(path_as: impl Fn(&str) -> String) -> Rows {
    ROUTES.iter().map(|route| format!("{} {} {:?}", route.method, path_as(route.path), route.function)).collect()
}

#[test]
fn the_http_apis_routes_are_the_tables() {
    let template = template();
    let routes = template.lines().filter_map(|line| {
        let key = between(line, "RouteKey: \"", "\"")?;
        let function = between(line, "integrations/${", "Integration}")?;
        (key != "$default").then(|| format!("{key} {function}"))
    });
    assert_eq!(routes.collect::<Rows>(), table(str::to_owned));
}

#[test]
fn the_rest_apis_routes_are_the_tables_with_one_variable_name_at_a_place() {
    let template = template();
    let (_, paths) = template.split_once("\n        paths:\n").expect("a definition of the REST API");
    let mut rows = Rows::new();
    let (mut path, mut method) = ("", String::new());
    for line in paths.lines().take_while(|line| line.starts_with("          ")) {
        let word = line.trim();
        match line.len() - line.trim_start().len() {
            10 => path = word.trim_end_matches(':'),
            12 => method = word.trim_end_matches(':').to_uppercase(),
            _ => {
                let function = between(line, "functions/${", "Function.Arn}").expect("an integration");
                if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" {
                    assert_eq!(function, "Query", "{path}: what no route matches is the query function's");
                } else {
                    rows.insert(format!("{method} {path} {function}"));
                }
            }
        }
    }
    let one_name = |path: &str| path.replace("{lease_id}", "{id}").replace("{workflow_id}", "{id}");
    assert_eq!(rows, table(one_name));
}
