//! The requests that the guide knows, independent of their wording.

use super::lang::Lang;
use super::when::When;

/// A request to the guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make a task with this prompt.
    Schedule(When, String),
    /// A reminder, of which something is missing or unclear.
    Unclear(Unclear),
    /// List the tasks.
    ListTasks,
    /// Change the task that the text names.
    Change(Change, String),
    /// End all tasks of the group.
    CancelAll,
    /// Repeat the last reminder at this time.
    Snooze(When),
    /// Undo the last change.
    Undo,
    /// Accept the request that the guide offered.
    Yes,
    /// List a folder below the group's.
    ListFiles(String),
    /// Show a file's text.
    Show(String),
    /// Add a line to the group's memory.
    Remember(String),
    /// Remove a line from the group's memory.
    Forget(String),
    /// Show the group's memory.
    Recall,
    /// Run a shell command in the room.
    Run(String),
    /// Say a due reminder.
    Remind(String),
    /// Say a text as it is.
    Say(String),
    /// List the chats that the host knows.
    ListChats,
    /// Register a chat under a folder.
    Register(String, String),
    /// Explain the requests that the guide understands.
    Help,
    /// Introduce the guide.
    About,
    /// Report the group's state.
    Status,
    /// Tell the time.
    Time,
    /// A greeting.
    Greeting,
    /// Thanks.
    Thanks,
    /// A farewell.
    Farewell,
    /// Files came without a text.
    Files(Vec<String>),
    /// None of these; perhaps with the request that was meant.
    Unknown(Option<String>),
}

/// The part of a reminder that is missing or not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclear {
    /// The time is missing.
    NoTime,
    /// The subject is missing.
    NoSubject,
    /// This part of the text looks like a time, but is not understood; the second text is what was perhaps meant.
    Part(String, Option<String>),
}

/// A change of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Pause it.
    Pause,
    /// Let it go on.
    Resume,
    /// End it.
    Cancel,
    /// Run it now, in addition to its schedule.
    Run,
}

/// A request and the language it is in.
pub type Request = (Command, Lang);
