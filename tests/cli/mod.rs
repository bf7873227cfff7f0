//! The command line as people and scripts use it: output, exit codes, terminals.

mod chat;
mod commands;
mod config;
mod conformance;
mod doctor;
mod groups;
mod offline;
mod operator;
mod setup;
mod terminal;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::host::Host;
use crate::harness::image;

/// The result of a command.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // No code means that a signal ended it.
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// Returns a command of the program for a host's home, with the scripted agent as the image.
fn command(host: &Host, args: &[&str]) -> Command {
    let mut command = host.command();
    command.env("CONTAINER_IMAGE", image::test_agent()).env("USER", "ann").args(args).stdin(Stdio::null());
    command
}

fn run(host: &Host, args: &[&str]) -> Ran {
    Ran::of(&command(host, args).output().unwrap())
}

/// Runs a command with a text on stdin.
fn pipe(host: &Host, args: &[&str], input: &str) -> Ran {
    let mut command = command(host, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::of(&child.wait_with_output().unwrap())
}
