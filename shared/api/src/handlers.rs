//! The routes by subject. Each file has the rows of its routes and a handler for each: it reads the request, calls the use case and
//! builds the response.

pub(crate) mod access;
pub(crate) mod forges;
pub(crate) mod jobs;
pub(crate) mod page;
pub(crate) mod runs;
pub(crate) mod status;
pub(crate) mod workers;
pub(crate) mod workflows;
