//! One handler for each route: reads the request, calls the use case and builds the response.

pub(crate) mod access;
pub(crate) mod jobs;
pub(crate) mod status;
pub(crate) mod workers;
pub(crate) mod workflows;
