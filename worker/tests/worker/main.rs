//! The worker against a scripted server: the library, the program, and the docs of its settings.

mod common;

mod client;
mod jobs;
mod lifecycle;
mod next;
mod program;
mod rates;
mod secrets;
mod settings;
mod shell;
#[cfg(feature = "sqs")]
mod sqs;
