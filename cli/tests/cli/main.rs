//! `wfg` as a user runs it: the program, real servers and real workers. One test program, so that little is linked.

mod common;

mod forge;
mod offline;
mod output;
mod release;
mod run;
mod secrets;
mod specified_example;
mod status;
mod terminal;
mod tokens;
mod watch;
mod worker_logs;
mod worker_many;
mod worker_shutdown;
