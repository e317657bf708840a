//! Finds the route of a request by its method and path.

use std::collections::HashMap;

use engine::ports::Ports;
use http::{Method, StatusCode};
use matchit::{Match, Router};

use crate::error::ApiError;
use crate::request::{Params, decode};
use crate::route::Function;
use crate::routes::rows;
use crate::row::Row;

/// Finds the route of a request.
pub(crate) struct RouteTable<P> {
    rows: Vec<Row<P>>,
    /// The paths of each method, with the index of the row. A path of one method doesn't hide a variable of another's.
    paths: Vec<(Method, Router<usize>)>,
}

impl<P: Ports> RouteTable<P> {
    /// All routes.
    ///
    /// # Panics
    /// If two rows have the same method and path, which every test would find.
    pub(crate) fn new() -> Self {
        let rows = rows();
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

    /// The row of a request and the path's variables, decoded. `only` limits the rows to those of one function.
    pub(crate) fn find(
        &self,
        only: Option<Function>,
        method: &Method,
        path: &str,
    ) -> Result<(&Row<P>, Params), ApiError> {
        let trimmed = trimmed(path);
        let router = self.paths.iter().find(|(of, _)| of == method).map(|(_, router)| router);
        let Some(found) = router.and_then(|router| at(router, trimmed)) else {
            return Err(self.not_found(method, path));
        };
        let row = &self.rows[*found.value];
        // A gateway sends each route to its function, and all else to the function that answers for the rest.
        if only.is_some_and(|only| only != row.route.function) {
            return Err(no_such_route(path));
        }
        let mut params = HashMap::new();
        for (name, segment) in found.params.iter() {
            let value = decode(segment).ok_or_else(|| {
                ApiError::bad_request("invalid_path", format!("path segment {segment:?} isn't percent-encoded UTF-8"))
            })?;
            params.insert(name.to_owned(), value);
        }
        Ok((row, params))
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

    /// The id of the operation that a request finds, and the path's variables; else the error's code.
    fn find(only: Option<Function>, method: &Method, path: &str) -> Result<(&'static str, Params), ApiError> {
        RouteTable::<Memory>::new().find(only, method, path).map(|(row, params)| (row.route.id, params))
    }

    fn id(method: &Method, path: &str) -> Option<&'static str> {
        find(None, method, path).ok().map(|(id, _)| id)
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
        let (id, params) = find(None, &Method::GET, "/api/workflows/w/jobs/a%20%C3%A9/outputs").expect("a route");
        assert_eq!((id, params["id"].as_str(), params["job_id"].as_str()), ("outputs", "w", "a é"));
        for bad in ["%zz", "%e", "%ff"] {
            let error = find(None, &Method::GET, &format!("/api/workflows/{bad}")).expect_err(bad);
            assert_eq!((error.status.as_u16(), error.code), (400, "invalid_path"), "{bad}");
        }
    }

    #[test]
    fn other_methods_of_a_known_path_are_named() {
        let error = find(None, &Method::PUT, "/api/workflows").expect_err("no such method");
        assert_eq!((error.status.as_u16(), error.allow.as_deref()), (405, Some("POST, GET, HEAD")));
        let error = find(None, &Method::GET, "/api/nothing").expect_err("no such path");
        assert_eq!((error.status.as_u16(), error.code), (404, "no_such_route"));
    }

    #[test]
    fn function_answers_only_its_own_routes() {
        let error = find(Some(Function::Query), &Method::POST, "/api/jobs/claim").expect_err("another function's");
        assert_eq!(error.code, "no_such_route");
        assert!(find(Some(Function::Claim), &Method::POST, "/api/jobs/claim").is_ok());
    }
}
