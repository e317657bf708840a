//! The API without a connection. One binary, so that it is linked once.

mod described;

mod description;
mod limits;
mod page;
mod runs;
mod lists;
mod requests;
mod schemas;
mod template;
mod whole_workflow;
