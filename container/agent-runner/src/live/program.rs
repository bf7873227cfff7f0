//! A vendor's program: its place, and the answers of a room that does not have it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use parlor_protocol::{ErrorKind, Output, Turn};

use super::failure::Sorted;
use super::signal::Signal;
use crate::provider::{Room, refused};

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
    /// How long it may take to exit after its stdin was closed. None if it would not: then it is ended at once.
    pub exit: Option<Duration>,
}

/// The usual time to exit, in which a program completes its files.
pub const EXIT_LIMIT: Duration = Duration::from_secs(10);

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

    /// The failure of a turn for which the program could not be started. Most of the reasons persist, so another try
    /// would not help.
    pub fn not_started(&self, path: &Path, error: &io::Error) -> Sorted {
        const ENOEXEC: i32 = 8;
        let stays = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
        ) || error.raw_os_error() == Some(ENOEXEC);
        let kind = if stays { ErrorKind::Refused } else { ErrorKind::Other };
        Sorted::new(kind, format!("{} ({}) cannot be started: {error}", self.title, path.display()))
    }
}
