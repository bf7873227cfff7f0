//! The observations of an image: facts without judgement.

use std::time::Duration;

use super::room::Ended;

/// A turn that ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// The time from the prompt to the end of the turn.
    pub took: Duration,
    /// The number of texts for the chat.
    pub replies: u32,
    /// True if its last output had `turn: done`.
    pub said_done: bool,
    /// The names of the inputs in the output's `consumed`.
    pub consumed: Vec<String>,
    /// The last session id in its outputs.
    pub session: Option<String>,
}

/// Reasons why a turn did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No output came within this time.
    Silence(Duration),
    /// The container ended; the text says how.
    Ended(String),
    /// The agent reported an error: its text, and true if the output had an `errorKind`.
    Failed(String, bool),
}

impl Default for Why {
    fn default() -> Self {
        Self::Silence(Duration::ZERO)
    }
}

/// A turn, or the reason why there is none.
pub type Answer = Result<Turn, Why>;

/// A follow-up while the agent waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The name of the input file.
    pub name: String,
    /// The turn of the follow-up.
    pub answer: Answer,
    /// True if the agent removed the file.
    pub removed: bool,
}

/// `_close`, with a follow-up written just before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The turn of the follow-up; None if there was none.
    pub answer: Option<Answer>,
    /// True if the agent removed the follow-up's file.
    pub removed: bool,
    /// True if the agent exited by itself.
    pub by_itself: bool,
    /// The exit code of such an exit.
    pub code: Option<i32>,
    /// The time from the answer to the exit.
    pub took: Duration,
    /// The error of the run, for people.
    pub why: Option<String>,
}

/// The agent's reaction to SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signalled {
    /// The time until the container was gone.
    pub took: Duration,
    /// Its exit code, if the engine reported one.
    pub code: Option<i32>,
}

/// The turn of `--ipc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    /// The answer of the turn.
    pub answer: Answer,
}

/// The turn of `--long`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Long {
    /// The answer of the turn.
    pub answer: Answer,
    /// The duration of the turn.
    pub took: Duration,
    /// The number of heartbeats during it.
    pub beats: usize,
}

/// A file that the agent wrote for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its folder and name.
    pub path: String,
    /// Its request, or the reason why it is not understood.
    pub what: Result<String, String>,
    /// True if it asks for a result.
    pub with_id: bool,
}

/// All observations of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The id of the user as whom it ran.
    pub uid: u32,
    /// The time limit of each wait.
    pub timeout: Duration,
    /// The answer to the first prompt.
    pub first: Answer,
    /// Whether it answers as user 1000; tested only if it wrote nothing as the other user.
    pub as_node: Option<bool>,
    /// The number of outputs between marker lines.
    pub frames: usize,
    /// Outputs that could not be decoded, and misplaced markers.
    pub bad: Vec<String>,
    /// A line outside of outputs that has a marker among other text.
    pub stray: Option<String>,
    /// True if an output came before the end of stdin.
    pub early: bool,
    /// True if stdin was read to its end.
    pub stdin_taken: bool,
    /// The number of error outputs with an `errorKind`.
    pub error_kinds: usize,
    /// The number of outputs with the status `error`.
    pub errors: usize,
    /// The follow-up.
    pub follow: Option<Follow>,
    /// The exit after `_close`.
    pub closing: Option<Closing>,
    /// The session given to the second run.
    pub session: Option<String>,
    /// The answer of the second run.
    pub again: Option<Answer>,
    /// The reaction to SIGTERM.
    pub signal: Option<Signalled>,
    /// The turn of `--ipc`, if one was asked for.
    pub requests: Option<Requests>,
    /// The files for the host, of all runs.
    pub asked: Vec<Asked>,
    /// Files that were left under another name than `*.json`.
    pub partial: Vec<String>,
    /// The number of results that the agent read.
    pub results_read: usize,
    /// The turn of `--long`, if one was asked for.
    pub long: Option<Long>,
    /// True if the agent read a snapshot.
    pub snapshots_read: bool,
    /// Mounted folders in which the agent wrote.
    pub wrote: Vec<&'static str>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            uid: 0,
            timeout: Duration::ZERO,
            first: Err(Why::default()),
            as_node: None,
            frames: 0,
            bad: Vec::new(),
            stray: None,
            early: false,
            stdin_taken: true,
            error_kinds: 0,
            errors: 0,
            follow: None,
            closing: None,
            session: None,
            again: None,
            signal: None,
            requests: None,
            asked: Vec::new(),
            partial: Vec::new(),
            results_read: 0,
            long: None,
            snapshots_read: false,
            wrote: Vec::new(),
        }
    }
}

impl Seen {
    /// Adds the observations of a run's streams.
    pub(super) fn hear(&mut self, ended: &Ended) {
        let heard = &ended.heard;
        self.frames += heard.frames;
        self.bad.extend(heard.bad.iter().cloned());
        self.stray = self.stray.take().or_else(|| heard.stray.clone());
        self.early |= heard.early;
        self.stdin_taken &= heard.stdin_taken;
        self.errors += heard.errors;
        self.error_kinds += heard.error_kinds;
    }
}
