//! The permissions of commands. The asker is the group whose folder had the file, as the store knows it now; nothing
//! in the file can change that. Only this module makes [`Authorized`] values, and handlers accept nothing else.

use parlor_protocol::{MessageFile, TaskFile};
use rusqlite::Connection;
use serde_json::Value;
use thiserror::Error;

use super::command::Command;
use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, TaskId};
use crate::ops::tasks::{NewTask, TaskChange, TaskFields};
use crate::ops::{Invalid, groups as group_ops};
use crate::store::{TxError, groups, inbound, tasks};

/// A command that its asker is allowed to give.
#[derive(Debug)]
pub(super) struct Authorized<C> {
    command: C,
}

impl<C> Authorized<C> {
    /// The command.
    pub(super) fn into_inner(self) -> C {
        self.command
    }
}

/// A text for a chat.
#[derive(Debug)]
pub(super) struct SendMessage {
    /// The registered chat that gets the text.
    pub(super) chat: ChatJid,
    /// True if it is the asker's own chat.
    pub(super) own: bool,
    /// The text.
    pub(super) text: String,
    /// The sender's name to show.
    pub(super) sender: Option<String>,
    /// The platform's id of the message that it replies to.
    pub(super) reply_to: Option<String>,
}

/// A file for a chat.
#[derive(Debug)]
pub(super) struct SendFile {
    /// The registered chat that gets the file.
    pub(super) chat: ChatJid,
    /// True if it is the asker's own chat.
    pub(super) own: bool,
    /// A text with the file.
    pub(super) caption: Option<String>,
    /// The platform's id of the message that it replies to.
    pub(super) reply_to: Option<String>,
}

/// A new task.
#[derive(Debug)]
pub(super) struct ScheduleTask {
    /// The group of the task.
    pub(super) group: Group,
    /// The task.
    pub(super) new: NewTask,
}

/// Changes to a task.
#[derive(Debug)]
pub(super) struct UpdateTask {
    /// The id of the task.
    pub(super) task: TaskId,
    /// The new values.
    pub(super) change: TaskChange,
}

/// Every verb with its authorised command.
#[derive(Debug)]
pub(super) enum Permitted {
    /// See [`super::handlers::message`].
    Message(Authorized<SendMessage>),
    /// See [`super::handlers::file`].
    File(Authorized<SendFile>),
    /// See [`super::handlers::schedule_task`].
    ScheduleTask(Authorized<ScheduleTask>),
    /// See [`super::handlers::update_task`].
    UpdateTask(Authorized<UpdateTask>),
    /// See [`super::handlers::pause_task`].
    PauseTask(Authorized<TaskId>),
    /// See [`super::handlers::resume_task`].
    ResumeTask(Authorized<TaskId>),
    /// See [`super::handlers::cancel_task`].
    CancelTask(Authorized<TaskId>),
    /// See [`super::handlers::run_task_now`].
    RunTaskNow(Authorized<TaskId>),
    /// See [`super::handlers::refresh_groups`].
    RefreshGroups(Authorized<()>),
    /// See [`super::handlers::register_group`].
    RegisterGroup(Authorized<group_ops::NewGroup>),
}

/// Why a command is not permitted.
#[derive(Debug, Error)]
pub(super) enum Denied {
    /// The asker may not do this, or the request is not valid.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TxError),
}

impl From<Invalid> for Denied {
    fn from(error: Invalid) -> Self {
        Self::Refused(error.0)
    }
}

impl From<crate::domain::ids::IdError> for Denied {
    fn from(error: crate::domain::ids::IdError) -> Self {
        Self::Refused(error.to_string())
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Denied> {
    Err(Denied::Refused(why.into()))
}

/// Decides whether a group may give a command.
pub(super) fn authorize(db: &Connection, who: &Group, command: Command) -> Result<Permitted, Denied> {
    let file = match command {
        Command::Message(file) => return message(db, who, file),
        Command::RegisterMain => {
            return refused("a group cannot be registered as main: the operator makes a group main");
        }
        Command::Task(file) => file,
    };
    Ok(match file {
        TaskFile::ScheduleTask {
            task_id,
            prompt,
            schedule_type,
            schedule_value,
            context_mode,
            target_jid,
            timezone,
            missed,
        } => {
            let group = target(db, who, &target_jid, "tasks for")?;
            let new = NewTask::parse(&TaskFields {
                id: task_id.as_deref(),
                prompt: &prompt,
                schedule_type: &schedule_type,
                schedule_value: &schedule_value,
                context_mode: context_mode.as_deref(),
                timezone: timezone.as_deref(),
                missed: missed.as_deref(),
            })?;
            Permitted::ScheduleTask(Authorized { command: ScheduleTask { group, new } })
        }
        TaskFile::UpdateTask { task_id, prompt, schedule_type, schedule_value, timezone } => {
            let task = own_task(db, who, &task_id)?;
            let change =
                TaskChange { prompt, schedule_type, schedule_value, timezone, context_mode: None, missed: None };
            Permitted::UpdateTask(Authorized { command: UpdateTask { task, change } })
        }
        TaskFile::PauseTask { task_id } => Permitted::PauseTask(Authorized { command: own_task(db, who, &task_id)? }),
        TaskFile::ResumeTask { task_id } => Permitted::ResumeTask(Authorized { command: own_task(db, who, &task_id)? }),
        TaskFile::CancelTask { task_id } => Permitted::CancelTask(Authorized { command: own_task(db, who, &task_id)? }),
        TaskFile::RunTaskNow { task_id } => Permitted::RunTaskNow(Authorized { command: own_task(db, who, &task_id)? }),
        TaskFile::RefreshGroups {} => {
            main_only(who, "refresh_groups")?;
            Permitted::RefreshGroups(Authorized { command: () })
        }
        TaskFile::RegisterGroup { jid, name, folder, trigger, requires_trigger, container_config } => {
            main_only(who, "register_group")?;
            let trigger = Some(trigger.as_str());
            let fields = group_ops::GroupFields { jid: &jid, name: &name, folder: &folder, trigger, requires_trigger };
            register(&fields, container_config.as_ref())?
        }
    })
}

fn message(db: &Connection, who: &Group, file: MessageFile) -> Result<Permitted, Denied> {
    Ok(match file {
        MessageFile::Message { chat_jid, text, sender, reply_to } => {
            let chat = target(db, who, &chat_jid, "messages to")?.jid;
            let (own, reply_to) = (chat == who.jid, answered(db, &chat, reply_to)?);
            Permitted::Message(Authorized { command: SendMessage { chat, own, text, sender, reply_to } })
        }
        MessageFile::File { chat_jid, path: _, caption, reply_to } => {
            let chat = target(db, who, &chat_jid, "files to")?.jid;
            let (own, reply_to) = (chat == who.jid, answered(db, &chat, reply_to)?);
            Permitted::File(Authorized { command: SendFile { chat, own, caption, reply_to } })
        }
    })
}

/// Checks that the message to reply to belongs to the chat.
fn answered(db: &Connection, chat: &ChatJid, id: Option<String>) -> Result<Option<String>, Denied> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    if inbound::knows(db, chat, &id)? {
        return Ok(Some(id));
    }
    let shown: String = id.chars().take(80).collect();
    refused(format!("there is no message {shown:?} in chat {chat} to answer: leave replyTo out"))
}

fn register(fields: &group_ops::GroupFields<'_>, config: Option<&Value>) -> Result<Permitted, Denied> {
    let config = group_ops::agent_config(config)?;
    Ok(Permitted::RegisterGroup(Authorized { command: group_ops::NewGroup::parse(fields, config)? }))
}

fn main_only(who: &Group, verb: &str) -> Result<(), Denied> {
    if who.is_main { Ok(()) } else { refused(format!("only the main group may use {verb}")) }
}

/// Returns the registered group of a chat: the asker's own, or any for main.
fn target(db: &Connection, who: &Group, chat: &str, what: &str) -> Result<Group, Denied> {
    if chat == who.jid.as_str() {
        return Ok(who.clone());
    }
    if !who.is_main {
        return refused(format!("only the main group may send {what} other chats; the own chat is {}", who.jid));
    }
    let jid: ChatJid = chat.parse()?;
    match groups::by_jid(db, &jid)? {
        Some(group) => Ok(group),
        None => refused(format!("chat {jid} is not registered: see available_groups.json, and register it first")),
    }
}

/// Returns the id of the asker's own task, or of any task for main. Other groups' tasks look missing.
fn own_task(db: &Connection, who: &Group, id: &str) -> Result<TaskId, Denied> {
    let id: TaskId = id.parse()?;
    match tasks::get(db, &id)? {
        Some(task) if who.is_main || task.folder == who.folder => Ok(id),
        _ => refused(format!("there is no task {id} that group {} may change: see current_tasks.json", who.folder)),
    }
}
