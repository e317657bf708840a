//! The parts of a route's description in the `OpenAPI` document: parameters, body, answers and refusals.

#![allow(clippy::needless_pass_by_value, reason = "a schema goes into the one it is part of")]

mod schemas;

pub(crate) mod answers;
pub(crate) mod bodies;
pub(crate) mod parameters;

use serde_json::Value;

pub(crate) use schemas::{Schemas, tidy};

/// What a route declares about its operation, besides its method, path and scopes.
#[derive(Default)]
pub(crate) struct Operation {
    /// The parameters in the query and the headers.
    pub parameters: Vec<Value>,
    pub body: Option<Value>,
    /// The answers to a request that succeeds: statuses and response objects.
    pub answers: Vec<(u16, Value)>,
    /// The statuses of its refusals, besides those that every operation may answer.
    pub refusals: &'static [u16],
}

impl Operation {
    /// Has this successful answer too.
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.answers.extend(other.answers);
        self
    }

    pub(crate) fn with(self, parameters: impl Into<Vec<Value>>) -> Self {
        Self { parameters: parameters.into(), ..self }
    }

    pub(crate) fn taking(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn refused(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }
}
