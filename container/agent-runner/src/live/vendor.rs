//! A vendor's program, as its driver knows it.

use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, Utc};
use parlor_protocol::Output;
use serde_json::Value;

use super::failure::Sorted;
use super::pending::Message;
use super::program::Program;
use crate::agent_toml::AgentToml;
use crate::provider::Room;

/// Decides on a conversation with a vendor's program, in the protocol of that program.
///
/// It has neither clock nor pipes: the [`driver`](super::driver) tells it about events, and takes the steps that it
/// returns. The only files that it touches are those of the program, and only where a method says so.
///
/// It holds each message until that is answered or has failed. What comes while no process runs, or while one is on its
/// way out, waits for the next one to be [`started`](Self::started), and is not written before that.
pub trait Vendor: Sized {
    /// The program.
    const PROGRAM: Program;

    /// Reads the group's settings and prepares for a conversation with the program at this path.
    fn new(room: &Room, program: PathBuf) -> Self;

    /// A text as a part of a message.
    fn text(text: &str) -> Value;

    /// A picture as a part of a message; `data` is base64.
    fn picture(media_type: &str, data: &str) -> Value;

    /// The group's settings, as far as the program follows them by now.
    fn settings(&self) -> &AgentToml;

    /// The program's own folder, which outlives the room.
    fn folder(&self) -> PathBuf;

    /// Writes the files that the program reads, and returns the command that starts it.
    ///
    /// # Errors
    /// When something is missing that the program needs, such as a key.
    fn command(&mut self, room: &Room) -> Result<Command, Sorted>;

    /// A process was started.
    fn started(&mut self) -> Vec<Step>;

    /// No process can be started: everything that waits fails.
    fn not_started(&mut self, why: Sorted) -> Vec<Step>;

    /// Messages came.
    fn give(&mut self, messages: Vec<Message>) -> Vec<Step>;

    /// The process wrote a line.
    fn line(&mut self, line: &str, now: DateTime<Utc>) -> Vec<Step>;

    /// The process did not open its conversation in time; the driver ends it.
    fn stuck(&mut self, now: DateTime<Utc>) -> Vec<Step>;

    /// The process is gone. `how` says in words how it ended, `said` is the end of its stderr.
    fn ended(&mut self, how: &str, said: &str, now: DateTime<Utc>) -> Vec<Step>;

    /// Returns true if the process has its conversation open.
    fn is_ready(&self) -> bool;

    /// Returns true if a message waits for its answer.
    fn has_pending(&self) -> bool;

    /// Completes the output that ends a turn, and may keep a record of it in the program's folder before the host reads it.
    fn complete(&mut self, _room: &Room, _output: &mut Output) {}
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write this line, which brings its own line end, to the process.
    Write(String),
    /// Give the agent this question of the runner itself, as one more message.
    Ask(&'static str),
    /// Put out a text of a turn that goes on.
    Say(String),
    /// Put out the output that ends a turn.
    Put(Box<Output>),
    /// A message still waits for its answer: the next turn begins.
    StillWorking,
    /// End the process: it is of no use any more.
    End,
}
