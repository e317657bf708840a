//! The end-to-end suite. It is one program, so that everything is linked once. Each module tests one subject.
//!
//! `chaos`, `check`, `redrive` and `upgrade` change what all other tests share (functions, dead-letter queues, the schema), so `cargo xtask test` runs
//! them on an emulator when nothing else runs there. `xtask/src/selection.rs` names the tests that run on `LocalStack`.

mod bad_input;
mod cancel;
mod chaos;
mod check;
mod claims;
mod conditions;
mod failures;
mod function_urls;
mod graphs;
mod groups;
mod labels;
mod language;
mod lists;
mod next;
mod other_languages;
mod outputs;
mod page;
mod published_worker;
mod real_worker;
mod redrive;
mod repeats;
mod secrets;
mod sqs_transport;
mod timers;
mod tokens;
mod upgrade;
mod why;
