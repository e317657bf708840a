//! Finds the route of a request by its method and path.

use std::collections::HashMap;

use engine::ports::Ports;
use http::{Method, StatusCode};
use matchit::{Match, Router};

use crate::error::ApiError;
use crate::part::Part;
use crate::request::{Params, decode};
use crate::route::Route;
use crate::routes::rows;
use crate::row::{Handler, Row};

/// Finds the route of a request.
pub(crate) struct RouteTable<P> {
    rows: Vec<Row<P>>,
    /// The paths of each method, with the index of the row. A path of one method doesn't hide a variable of another's.
    paths: Vec<(Method, Router<usize>)>,
}

impl<P: Ports> RouteTable<P> {
    /// All routes, with the handlers of those that `F` answers.
    ///
    /// # Panics
    /// If two rows have the same method and path, which every test would find.
    pub(crate) fn new<F: Part>() -> Self {
        let rows = rows::<P, F>();
        let mut paths: Vec<(Method, Router<usize>)> = Vec::new();
        for (index, Row { route, .. }) in rows.iter().enumerate() {
            let position = paths.iter().position(|(method, _)| *method == route.method).unwrap_or_else(|| {
                paths.push((route.method.clone(), Router::new()));
                paths.len() - 1
            });
            paths[position].1.insert(route.path, index).expect("one row for a method and path");
        }
        Self { rows, paths }
    }

    /// The route of a request, its handler, and the path's variables, decoded.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<(&Route, Handler<P>, Params), ApiError> {
        let trimmed = trimmed(path);
        let router = self.paths.iter().find(|(of, _)| of == method).map(|(_, router)| router);
        let Some(found) = router.and_then(|router| at(router, trimmed)) else {
            return Err(self.not_found(method, path));
        };
        let Row { route, handler } = &self.rows[*found.value];
        // A gateway sends each route to its function, and all else to the function that answers for the rest.
        let Some(handler) = handler else { return Err(no_such_route(path)) };
        let mut params = HashMap::new();
        for (name, segment) in found.params.iter() {
            let value = decode(segment).ok_or_else(|| {
                ApiError::bad_request("invalid_path", format!("path segment {segment:?} isn't percent-encoded UTF-8"))
            })?;
            params.insert(name.to_owned(), value);
        }
        Ok((route, *handler, params))
    }

    /// 405 with the methods that the path has, or 404.
    fn not_found(&self, method: &Method, path: &str) -> ApiError {
        let trimmed = trimmed(path);
        let methods = self.paths.iter().filter(|(_, router)| at(router, trimmed).is_some());
        let name = |method: &'_ Method| if *method == Method::GET { "GET, HEAD" } else { method.as_str() }.to_owned();
        let allow: Vec<String> = methods.map(|(method, _)| name(method)).collect();
        if allow.is_empty() {
            return no_such_route(path);
        }
        let allow = allow.join(", ");
        let message = format!("{method} isn't allowed on {path}; it takes {allow}");
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        ApiError { allow: Some(allow), ..error }
    }
}

/// The path without slashes at its end.
fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

/// The path's row. `matchit` lets a variable in the middle of a path be empty; here none may be.
fn at<'a>(router: &'a Router<usize>, path: &'a str) -> Option<Match<'a, 'a, &'a usize>> {
    router.at(path).ok().filter(|found| found.params.iter().all(|(_, segment)| !segment.is_empty()))
}

fn no_such_route(path: &str) -> ApiError {
    let message = format!("there is nothing at {path}; GET /api/openapi.json lists what there is");
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", message)
}

#[cfg(test)]
mod tests {
    use memory::Memory;

    use super::*;
    use crate::operation::Schemas;
    use crate::part::{Claim, Complete, Described, Hook, Query, Submit, Whole};
    use crate::route::Function;

    /// The id of the operation that a request finds, and the path's variables; else the error's code.
    fn find<F: Part>(method: &Method, path: &str) -> Result<(&'static str, Params), ApiError> {
        RouteTable::<Memory>::new::<F>().find(method, path).map(|(route, _, params)| (route.id, params))
    }

    fn id(method: &Method, path: &str) -> Option<&'static str> {
        find::<Whole>(method, path).ok().map(|(id, _)| id)
    }

    #[test]
    fn literal_segment_wins_over_a_variable_of_the_same_method() {
        assert_eq!(id(&Method::POST, "/api/jobs/claim"), Some("claim"));
        assert_eq!(id(&Method::POST, "/api/workers/register"), Some("register"));
        assert_eq!(id(&Method::DELETE, "/api/workers/register"), Some("unregister"));
        assert_eq!(id(&Method::POST, "/api/jobs/claim/heartbeat"), Some("heartbeat"));
    }

    #[test]
    fn variables_are_not_empty_and_slashes_at_the_end_do_not_count() {
        assert_eq!(id(&Method::GET, "/api/workflows//"), Some("list"));
        assert_eq!(id(&Method::GET, "/api/workflows/w/"), Some("workflow"));
        assert_eq!(id(&Method::POST, "/api/workflows//run"), None);
        assert_eq!(id(&Method::GET, "//api/workflows"), None);
        assert_eq!(id(&Method::GET, "/"), Some("page"));
    }

    #[test]
    fn variables_are_decoded_and_bad_encodings_are_refused() {
        let (id, params) = find::<Whole>(&Method::GET, "/api/workflows/w/jobs/a%20%C3%A9/outputs").expect("a route");
        assert_eq!((id, params["id"].as_str(), params["job_id"].as_str()), ("outputs", "w", "a é"));
        for bad in ["%zz", "%e", "%ff"] {
            let error = find::<Whole>(&Method::GET, &format!("/api/workflows/{bad}")).expect_err(bad);
            assert_eq!((error.status.as_u16(), error.code), (400, "invalid_path"), "{bad}");
        }
    }

    #[test]
    fn other_methods_of_a_known_path_are_named() {
        let error = find::<Whole>(&Method::PUT, "/api/workflows").expect_err("no such method");
        assert_eq!((error.status.as_u16(), error.allow.as_deref()), (405, Some("POST, GET, HEAD")));
        let error = find::<Whole>(&Method::GET, "/api/nothing").expect_err("no such path");
        assert_eq!((error.status.as_u16(), error.code), (404, "no_such_route"));
    }

    #[test]
    fn each_route_has_its_handler_in_one_function_and_its_description_in_none() {
        fn check<F: Part>(function: Function) {
            for Row { route, handler } in rows::<Memory, F>() {
                assert_eq!(handler.is_some(), route.function == function, "{} in {function:?}", route.id);
                assert!((route.describe)(&mut Schemas::new()).answers.is_empty(), "{} in {function:?}", route.id);
            }
        }
        check::<Submit>(Function::Submit);
        check::<Claim>(Function::Claim);
        check::<Complete>(Function::Complete);
        check::<Hook>(Function::Hook);
        check::<Query>(Function::Query);
        assert!(rows::<Memory, Whole>().iter().all(|row| row.handler.is_some()));
        assert!(rows::<Memory, Described>().iter().all(|row| row.handler.is_none()));
    }

    #[test]
    fn function_answers_only_its_own_routes() {
        let error = find::<Query>(&Method::POST, "/api/jobs/claim").expect_err("another function's");
        assert_eq!(error.code, "no_such_route");
        assert!(find::<Claim>(&Method::POST, "/api/jobs/claim").is_ok());
    }
}
