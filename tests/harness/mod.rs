//! Runs the real program against a real engine, with the scripted agent in its rooms. The harness sees Parlor only
//! from outside: processes, containers, files, and the wire of the local API.
//!
//! If a test passed, dropping its [`host::Host`] ends the host by SIGTERM and checks that it leaves no container and
//! no error in its log; so every test checks this, too.

// Each program that includes the harness uses only a part of it.
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

/// Time limit, on a busy machine, of anything that should happen soon.
pub const SOON: Duration = Duration::from_secs(30);

/// Calls `ask` again and again until it returns a value; for conditions without an event to wait for.
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

/// Returns `CLOCK_MONOTONIC` in nanoseconds, which is the same clock for the host and all containers.
pub fn monotonic_ns() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
