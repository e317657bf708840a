//! Generates the routes of both gateways, and the rate of each route, in `infra/template.yaml` from the route table, and fails if the file differs.
//! `BLESS=1 cargo test -p workflow-graph-api template` rewrites the file.

use std::fmt::Write;

use api::route::{Function, Rate, Route};
use api::routes;
use memory::Memory;

const TEMPLATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/template.yaml");

/// The routes with a rate of their own. The others have the gateway's default.
fn rated(routes: &[Route]) -> impl Iterator<Item = &Route> {
    routes.iter().filter(|route| route.rate != Rate::Api)
}

/// The limits of a route: its rate, and as many at once as in a second.
fn limits(route: &Route) -> String {
    format!("ThrottlingRateLimit: !Ref {0:?}RateLimit, ThrottlingBurstLimit: !Ref {0:?}RateLimit", route.rate)
}

/// The names of the resources of the rated routes, which the stage of the HTTP API waits for.
fn http_rated(routes: &[Route]) -> String {
    rated(routes).map(|route| format!("      - {}\n", resource(route))).collect()
}

/// The settings of the rated routes of the HTTP API.
fn http_rates(routes: &[Route]) -> String {
    rated(routes)
        .map(|route| format!("        \"{} {}\": {{ {} }}\n", route.method, route.path, limits(route)))
        .collect()
}

/// The settings of the rated methods of the REST API. A slash in a path is written `~1`, but for the first and the root.
fn rest_rates(routes: &[Route]) -> String {
    let path = |route: &Route| match rest_path(route).as_str() {
        "/" => "/".to_owned(),
        path => format!("/{}", path.replace('/', "~1")),
    };
    rated(routes)
        .map(|route| {
            let (path, method) = (path(route), &route.method);
            format!("        - {{ ResourcePath: \"{path}\", HttpMethod: {method}, {} }}\n", limits(route))
        })
        .collect()
}

/// The name of a route's resource.
fn resource(route: &Route) -> String {
    let id = route.id;
    format!("{}{}Route", id[..1].to_ascii_uppercase(), &id[1..])
}

/// The path in the REST API, which allows one variable name at one place.
fn rest_path(route: &Route) -> String {
    route.path.replace("{lease_id}", "{id}").replace("{workflow_id}", "{id}")
}

/// The routes of the HTTP API: a resource for each.
fn http_routes(routes: &[Route]) -> String {
    let mut text = String::new();
    for route in routes {
        let (name, Route { method, path, function, .. }) = (resource(route), route);
        let target = if_it_exists(*function, |name| format!("!Sub \"integrations/${{{name}Integration}}\""));
        let properties = format!("ApiId: !Ref HttpApi, RouteKey: \"{method} {path}\", Target: {target}");
        let _ = write!(
            text,
            "  {name}:\n    Type: AWS::ApiGatewayV2::Route\n    Condition: UseHttpApi\n    Properties: {{ {properties} }}\n\n"
        );
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

/// The paths of the REST API: the methods of each, and the query function for any other method.
fn rest_routes(routes: &[Route]) -> String {
    let mut paths: Vec<String> = Vec::new();
    for route in routes {
        if !paths.contains(&rest_path(route)) {
            paths.push(rest_path(route));
        }
    }
    let mut text = String::new();
    for path in paths {
        let _ = writeln!(text, "          {path}:");
        for route in routes.iter().filter(|route| rest_path(route) == path) {
            let method = route.method.as_str().to_ascii_lowercase();
            text += &rest_method(&method, route.function);
        }
        text += &rest_method("x-amazon-apigateway-any-method", Function::Query);
    }
    text
}

/// What refers to a function by its name. Without forges there is no function `hook`, and `query` says that there is no such route.
fn if_it_exists(function: Function, refer: impl Fn(&str) -> String) -> String {
    let own = refer(&format!("{function:?}"));
    if function == Function::Hook { format!("!If [UseForges, {own}, {}]", refer("Query")) } else { own }
}

fn rest_method(method: &str, function: Function) -> String {
    let uri = if_it_exists(function, |name| {
        format!(
            "!Sub \"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}:lambda:path/2015-03-31/functions/${{{name}Function.Arn}}/invocations\""
        )
    });
    let integration = format!("{{ type: aws_proxy, httpMethod: POST, uri: {uri} }}");
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
    let expected = replaced(&expected, "http rated routes", &http_rated(&routes));
    let expected = replaced(&expected, "http rates", &http_rates(&routes));
    let expected = replaced(&expected, "rest rates", &rest_rates(&routes));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TEMPLATE, &expected).expect("the template can be written");
        return;
    }
    for (line, (found, expected)) in template.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of infra/template.yaml: run this test with BLESS=1", line + 1);
    }
    assert_eq!(template.len(), expected.len(), "run this test with BLESS=1");
}
