//! All tests that use Parlor from outside, as one program, so that it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agent_home;
mod cli;
mod commands;
mod contract;
mod conversation;
mod crash;
mod disk;
mod docs;
mod engine_faults;
mod engines;
mod exits;
mod extra_mounts;
mod follow_ups;
mod guide;
mod harness;
mod host_users;
mod hostile;
mod image;
mod installation;
mod intake;
mod ipc;
mod ipc_crash;
mod layers;
mod outputs;
mod outside;
mod resumed;
mod retries;
mod room;
mod schedule;
mod secrets;
mod shell_agent;
mod shutdown;
mod slots;
mod timeouts;
