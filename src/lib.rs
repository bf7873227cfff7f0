//! Parlor gives every chat group an AI agent in a container of its own.
//!
//! A message travels `channel → ingest → store → dispatch → actor → container/run → output → actor → store (outbox) →
//! outbound → channel`. An IPC file travels `watcher → command → authorize → handler → store, scheduler wake or
//! outbox`. A due task goes `scheduler → dispatch → actor`, and then as a message.
//!
//! Layers, each of which may use those below it: 4 `main app cli`; below them `conformance`; 3 `dispatch scheduler ipc api
//! import backup retention channel::{intake, delivery, receive, typing}`; below them `ops`, which uses `store` too; 2 `store
//! channel container agent`; 1 `config policy safe_dir`; 0 `domain host_log lifecycle` and the protocol's types.
//! `tests/layers.rs` checks every path to another module against this.

// The print macros panic if the output is closed; `cli::output` writes with errors handled.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod agent;
pub mod api;
pub mod app;
pub mod backup;
pub mod channel;
pub mod cli;
pub mod config;
pub mod conformance;
pub mod container;
pub mod dispatch;
pub mod domain;
pub mod host_log;
pub mod import;
pub mod ipc;
pub mod lifecycle;
pub mod ops;
pub mod policy;
pub mod retention;
pub mod safe_dir;
pub mod scheduler;
pub mod store;
