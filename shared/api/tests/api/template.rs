//! Generates the routes of both gateways in `infra/template.yaml` from the route table, and fails if the file differs.
//! `BLESS=1 cargo test -p workflow-graph-api template` rewrites the file.

use std::fmt::Write;

use api::route::Route;
use api::routes;
use memory::Memory;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/template.yaml");

/// The routes of the HTTP API: a resource for each.
fn http_routes(routes: &[Route]) -> String {
    let mut text = String::new();
    for Route { id, method, path, function, .. } in routes {
        let name = id[..1].to_ascii_uppercase() + &id[1..];
        let properties = format!(
            "ApiId: !Ref HttpApi, RouteKey: \"{method} {path}\", Target: !Sub \"integrations/${{{function:?}Integration}}\""
        );
        let _ = write!(
            text,
            "  {name}Route:\n    Type: AWS::ApiGatewayV2::Route\n    Condition: UseHttpApi\n    Properties: {{ {properties} }}\n\n"
        );
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

/// The paths of the REST API: the methods of each, and the query function for any other method.
fn rest_routes(routes: &[Route]) -> String {
    // The gateway allows one variable name at one place of a path.
    let key = |route: &Route| route.path.replace("{lease_id}", "{id}").replace("{workflow_id}", "{id}");
    let mut paths: Vec<String> = Vec::new();
    for route in routes {
        if !paths.contains(&key(route)) {
            paths.push(key(route));
        }
    }
    let mut text = String::new();
    for path in paths {
        let _ = writeln!(text, "          {path}:");
        for route in routes.iter().filter(|route| key(route) == path) {
            let method = route.method.as_str().to_ascii_lowercase();
            text += &rest_method(&method, &format!("{:?}", route.function));
        }
        text += &rest_method("x-amazon-apigateway-any-method", "Query");
    }
    text
}

fn rest_method(method: &str, function: &str) -> String {
    let uri = format!(
        "arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{function}Function.Arn}}/invocations"
    );
    let integration = format!("{{ type: aws_proxy, httpMethod: POST, uri: !Sub \"{uri}\" }}");
    format!("            {method}:\n              x-amazon-apigateway-integration: {integration}\n")
}

/// The template with the part between two marks replaced.
fn replaced(template: &str, part: &str, generated: &str) -> String {
    let (begin, end) = (format!("# BEGIN {part},"), format!("# END {part}\n"));
    let (before, rest) = template.split_once(&begin).expect("a mark for the beginning");
    let (mark, rest) = rest.split_once('\n').expect("more than the mark");
    let (_, after) = rest.split_once(&end).expect("a mark for the end");
    let indent = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    format!("{before}{begin}{mark}\n{generated}{indent}{end}{after}")
}

#[test]
fn template_has_the_routes_of_the_table() {
    let routes = routes::<Memory>();
    let template = std::fs::read_to_string(TEMPLATE).expect("the template is in the repository");
    let expected = replaced(&template, "http routes", &http_routes(&routes));
    let expected = replaced(&expected, "rest routes", &rest_routes(&routes));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TEMPLATE, &expected).expect("the template can be written");
        return;
    }
    for (line, (found, expected)) in template.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of infra/template.yaml: run this test with BLESS=1", line + 1);
    }
    assert_eq!(template.len(), expected.len(), "run this test with BLESS=1");
}
