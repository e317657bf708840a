//! The server in one process, over HTTP. One binary, so that it is linked once.

mod common;

mod connections;
mod proxies;
mod requests;
mod restart;
mod run_streams;
mod streams;
mod threads;
mod waits;
mod wide;
