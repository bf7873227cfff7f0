//! Runs the real program against a real engine, with the scripted agent in its rooms. Everything here looks at Parlor
//! from outside: processes, containers, files, and the wire of the local API.
//!
//! A [`host::Host`] that is dropped after its test passed is ended by SIGTERM, and must leave no container and no error
//! in its log; so every test checks this, too.

// Each program that includes the harness uses a part of it.
#![allow(dead_code)]

pub mod claude;
pub mod cloud;
pub mod codex;
pub mod door;
pub mod engine;
pub mod events;
pub mod faults;
pub mod floods;
pub mod host;
pub mod http;
pub mod image;
pub mod models;
pub mod process;
pub mod rows;
pub mod terminal;
pub mod vendor;

use std::time::{Duration, Instant};

/// How long anything that should happen soon may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks again until there is an answer; for what has no event to wait for.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: one clock for the host and all containers.
pub fn monotonic_ns() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
