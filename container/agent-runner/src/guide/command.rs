//! The requests that the guide knows, whatever words they came in.

use super::lang::Lang;
use super::when::When;

/// Something the guide was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A task with this prompt.
    Schedule(When, String),
    /// A reminder was asked for, but something is missing or not understood.
    Unclear(Unclear),
    /// The list of tasks.
    ListTasks,
    /// A change of the task that the text names.
    Change(Change, String),
    /// The end of every task of the group.
    CancelAll,
    /// The last reminder once more, after so many milliseconds.
    Snooze(When),
    /// Take back what was done last.
    Undo,
    /// The request that the guide offered.
    Yes,
    /// The files of a folder below the group's.
    ListFiles(String),
    /// A file's text.
    Show(String),
    /// A line for the group's memory.
    Remember(String),
    /// A line of the group's memory that shall go.
    Forget(String),
    /// The group's memory.
    Recall,
    /// A command in the room.
    Run(String),
    /// A due reminder.
    Remind(String),
    /// A text to say as it is.
    Say(String),
    /// The chats the host knows.
    ListChats,
    /// A chat and the folder under which to register it.
    Register(String, String),
    /// The list of requests that the guide understands.
    Help,
    /// Who the guide is.
    About,
    /// How things are.
    Status,
    /// The time.
    Time,
    /// A greeting.
    Greeting,
    /// Thanks.
    Thanks,
    /// A farewell.
    Farewell,
    /// Files came, and no word with them.
    Files(Vec<String>),
    /// None of these, and what may have been meant.
    Unknown(Option<String>),
}

/// The part of a reminder that is missing or not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unclear {
    /// The time.
    NoTime,
    /// The subject.
    NoSubject,
    /// This part of the text is a time, and none that is known; perhaps the whole request was meant so.
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
    /// Run it now, beside its schedule.
    Run,
}

/// A request and the language it is in.
pub type Request = (Command, Lang);
