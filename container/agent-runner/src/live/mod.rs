//! The common parts of providers that drive a vendor's CLI: one live process that speaks lines, the signals that its
//! loop waits for, and its brief about the room.
//!
//! A provider keeps its own protocol and its decisions; here is what all of them would do alike.

pub mod brief;
mod process;
pub mod said;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;
use std::{io, thread};

use parlor_protocol::inputs::{Input, Inputs, Next};
use parlor_protocol::{Output, Turn};

pub use self::process::Live;
use crate::agent_toml::AgentToml;
use crate::provider::{Room, refused};

/// How long a CLI may take to open its conversation.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// What it has for itself when its servers took all the time that they may.
const OPEN_REST: Duration = Duration::from_secs(60);

/// Returns how long a CLI with these settings may take to open its conversation.
pub fn open_limit(chosen: &AgentToml) -> Duration {
    let servers = chosen.servers.values().map(|server| server.start + OPEN_REST).max();
    servers.unwrap_or_default().max(OPEN_LIMIT)
}

/// What a provider's loop waits for.
#[derive(Debug)]
pub enum Signal {
    /// A line of the CLI's stdout.
    Line(String),
    /// The CLI is gone.
    Ended {
        /// How, in words.
        how: String,
        /// The end of its stderr.
        said: String,
    },
    /// Follow-ups from the host.
    Inputs(Vec<Input>),
    /// The host wants the run to end.
    Close,
}

/// A CLI that a provider drives.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name for people: `Claude Code`.
    pub title: &'static str,
    /// Its name in the PATH.
    pub name: &'static str,
    /// The variable that names another file.
    pub variable: &'static str,
    /// How to get an image that has it: a sentence for the chat.
    pub remedy: &'static str,
}

impl Program {
    /// Finds the program: where the variable says, else in the PATH.
    pub fn find(&self) -> Option<PathBuf> {
        if let Some(path) = std::env::var_os(self.variable) {
            return Some(path.into());
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(self.name)).find(|file| file.is_file())
    }

    /// Returns where it keeps its things: where the variable says, else in a folder of the agent's home.
    pub fn config_dir(variable: &str, folder: &str) -> PathBuf {
        std::env::var_os(variable).map_or_else(
            || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/home/node"), PathBuf::from).join(folder),
            PathBuf::from,
        )
    }

    /// Answers for a program that the image does not have: trying again would not make it appear.
    pub fn missing(&self, room: &Room, signals: &Receiver<Signal>) -> ExitCode {
        let refuse = |consumed| {
            room.wire.begin_turn();
            let reason =
                format!("This room has no {}: its image has no program `{}`. {}", self.title, self.name, self.remedy);
            room.wire.end_turn(&Output { consumed, turn: Some(Turn::Done), ..refused(reason) });
        };
        refuse(Vec::new());
        for signal in signals {
            match signal {
                Signal::Inputs(list) => refuse(list.into_iter().map(|input| input.name).collect()),
                Signal::Close => break,
                Signal::Line(_) | Signal::Ended { .. } => {}
            }
        }
        ExitCode::SUCCESS
    }
}

/// Passes on what the host wants, up to the end of the run.
///
/// # Errors
/// When the watching thread cannot be started.
pub fn watch_inputs(mut inputs: Inputs, to: Sender<Signal>) -> io::Result<()> {
    let watch = move || {
        loop {
            let (signal, last) = match inputs.wait() {
                Next::Inputs(list) => (Signal::Inputs(list), false),
                Next::Close => (Signal::Close, true),
            };
            if to.send(signal).is_err() || last {
                return;
            }
        }
    };
    thread::Builder::new().name("inputs".into()).spawn(watch).map(drop)
}

/// Says in a turn's usage which model it was, where the program did not: the host knows its price.
pub fn name_model(output: &mut Output, model: Option<&str>) {
    if let (Some(serde_json::Value::Object(usage)), Some(model)) = (&mut output.usage, model) {
        usage.entry("model").or_insert_with(|| model.into());
    }
}
