//! Forges: the adapters against a forge for tests (`harness::forge`), which answers what git says, and a server with links to it. No real
//! forge is asked.
//!
//! `adapters`, `answers` and `deliveries` ask without a server. The other modules run on the target of the end-to-end suite, except for
//! `alone`: its tests move the server's clock, or end the server.

mod adapters;
mod alone;
mod answers;
mod checkout;
mod deliveries;
mod fetch;
mod forks;
mod hook;
mod linked;
mod losses;
mod project;
mod redelivered;
mod reruns;
mod runs;
mod setting;
