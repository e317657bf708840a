//! A row of the route table: a route and its handler. The handlers' files declare their rows with these.

use std::pin::Pin;

use engine::Engine;
use http::Method;
use protocol::access::{AuditAction, Scope};

use crate::request::Input;
use crate::response::Answer;
use crate::route::{Describe, Effect, Function, Route};

/// Answers the requests of one route.
pub(crate) type Handler<P> =
    for<'a> fn(&'a Engine<P>, &'a Input<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// A route and its handler.
pub(crate) struct Row<P> {
    pub route: Route,
    /// `None` in a program that doesn't answer the route.
    pub handler: Option<Handler<P>>,
}

impl<P> Clone for Row<P> {
    fn clone(&self) -> Self {
        Self { route: self.route.clone(), handler: self.handler }
    }
}

/// A row of the table of a [`Part`](crate::part::Part): the part, the route, the handler. The route is a constant. If the part doesn't
/// answer it, nothing refers to the handler.
macro_rules! row {
    ($part:ident, $route:expr, $handler:path) => {
        $crate::row::Row {
            route: const { $part::ANSWERS.keep($route) },
            handler: if const { $part::ANSWERS.includes($route) } {
                Some(|engine, input| Box::pin($handler(engine, input)))
            } else {
                None
            },
        }
    };
}

pub(crate) use row;

/// A route that shows something to a caller with the scope `read`.
pub(crate) const fn read(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::GET, path, Function::Query, &[Scope::Read], summary, describe)
}

/// A route on which a caller with the scope `submit` changes something, which is recorded.
pub(crate) const fn change(
    action: AuditAction,
    id: &'static str,
    method: Method,
    path: &'static str,
    summary: &'static str,
    describe: Describe,
) -> Route {
    let mut route = Route::new(id, method, path, Function::Submit, &[Scope::Submit], summary, describe);
    route.audit = Some(action);
    route.effect(Effect::Changes)
}

/// A route on which a worker registers or asks for jobs.
pub(crate) const fn ask(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::POST, path, Function::Claim, &[Scope::Work], summary, describe)
}

/// A route on which a worker reports on the job that it runs.
pub(crate) const fn report(id: &'static str, path: &'static str, summary: &'static str, describe: Describe) -> Route {
    Route::new(id, Method::POST, path, Function::Complete, &[Scope::Work], summary, describe)
}
