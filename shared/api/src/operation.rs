//! The parts of a route's description in the `OpenAPI` document: parameters, body, answers and refusals.

#![allow(clippy::needless_pass_by_value, reason = "a schema goes into the one it is part of")]

mod schemas;

pub(crate) mod answers;
pub(crate) mod bodies;
pub(crate) mod parameters;

use serde_json::Value;

use answers::Described;
pub(crate) use schemas::{Schemas, tidy};

/// What a route doesn't say of its operation.
pub(crate) struct Operation {
    /// Of the query and the headers.
    pub parameters: Vec<Value>,
    pub body: Option<Value>,
    /// The answers to a request that succeeds.
    pub answers: Vec<Described>,
    /// The statuses of its refusals, besides those that every operation may answer.
    pub refusals: &'static [u16],
}

impl Operation {
    pub(crate) fn new(answer: Described) -> Self {
        Self { parameters: Vec::new(), body: None, answers: vec![answer], refusals: &[] }
    }

    pub(crate) fn or(mut self, answer: Described) -> Self {
        self.answers.push(answer);
        self
    }

    pub(crate) fn with(self, parameters: Vec<Value>) -> Self {
        Self { parameters, ..self }
    }

    pub(crate) fn taking(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn refused(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }
}
