//! Forges: the adapters against a forge for tests (`harness::forge`), which answers what git says. No real forge is asked.

mod adapters;
mod answers;
mod deliveries;
mod hook;
mod linked;
mod redelivered;
mod runs;
mod setting;
