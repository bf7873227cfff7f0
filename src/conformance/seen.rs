//! The observations of an image: facts, no judgement.

use std::time::Duration;

use super::room::Ended;

/// A turn that ended well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// How long it took.
    pub took: Duration,
    /// Texts for the chat.
    pub replies: u32,
    /// True if its last output said `turn: done`.
    pub said_done: bool,
    /// The inputs that it said it took.
    pub consumed: Vec<String>,
    /// The last session that it named.
    pub session: Option<String>,
}

/// Why a turn did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nothing came for so long.
    Silence(Duration),
    /// The container ended.
    Ended(String),
    /// The agent said so, and whether it said of what kind the failure is.
    Failed(String, bool),
}

impl Default for Why {
    fn default() -> Self {
        Self::Silence(Duration::ZERO)
    }
}

/// A turn, or why there is none.
pub type Answer = Result<Turn, Why>;

/// A follow-up while the agent waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// The file's name.
    pub name: String,
    /// What came of it.
    pub answer: Answer,
    /// True if the agent removed the file.
    pub removed: bool,
}

/// `_close`, with a follow-up written just before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// What came of the follow-up; None if there was none.
    pub answer: Option<Answer>,
    /// True if the agent removed it.
    pub removed: bool,
    /// True if the agent exited by itself.
    pub by_itself: bool,
    /// With which code.
    pub code: Option<i32>,
    /// How long it took after the answer.
    pub took: Duration,
    /// The error of the run, for people.
    pub why: Option<String>,
}

/// SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signalled {
    /// Until the container was gone.
    pub took: Duration,
    /// Its exit code, where the engine told it.
    pub code: Option<i32>,
}

/// The turn that was to ask the host for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requests {
    /// What came of it.
    pub answer: Answer,
}

/// The turn that was to take long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Long {
    /// What came of it.
    pub answer: Answer,
    /// How long it took.
    pub took: Duration,
    /// Heartbeats during it.
    pub beats: usize,
}

/// A file for the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Folder and name.
    pub path: String,
    /// What it asks for, or why that is not understood.
    pub what: Result<String, String>,
    /// True if it asked for a result.
    pub with_id: bool,
}

/// Everything seen of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The user it ran as.
    pub uid: u32,
    /// What each wait was given.
    pub timeout: Duration,
    /// The first prompt.
    pub first: Answer,
    /// Whether it answers as user 1000; looked at only when it said nothing as another.
    pub as_node: Option<bool>,
    /// Outputs between marker lines.
    pub frames: usize,
    /// Outputs that could not be read, and disorder of markers.
    pub bad: Vec<String>,
    /// A line that holds a marker among other text, outside of outputs.
    pub stray: Option<String>,
    /// An output came before the end of stdin did.
    pub early: bool,
    /// stdin was taken to its end.
    pub stdin_taken: bool,
    /// An output of status error named its kind.
    pub error_kinds: usize,
    /// Outputs of status error.
    pub errors: usize,
    /// A follow-up.
    pub follow: Option<Follow>,
    /// `_close`.
    pub closing: Option<Closing>,
    /// The session that the second room was given.
    pub session: Option<String>,
    /// The second room.
    pub again: Option<Answer>,
    /// SIGTERM.
    pub signal: Option<Signalled>,
    /// The turn of `--ipc`.
    pub requests: Option<Requests>,
    /// Files for the host, of all rooms.
    pub asked: Vec<Asked>,
    /// Files that were left under another name than `*.json`.
    pub partial: Vec<String>,
    /// Results that the agent read.
    pub results_read: usize,
    /// The turn of `--long`.
    pub long: Option<Long>,
    /// True if a snapshot was read.
    pub snapshots_read: bool,
    /// Mounted folders in which the agent wrote something.
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
    /// Adds what one room's streams held.
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
