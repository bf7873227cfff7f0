//! The parts that rules of several verbs share.

use rusqlite::Connection;

use crate::domain::group::Group;
use crate::domain::ids::{ChatJid, TaskId};
use crate::ipc::authorize::Denied;
use crate::store::{groups, inbound, tasks};

pub(super) fn refused<T>(why: impl Into<String>) -> Result<T, Denied> {
    Err(Denied::Refused(why.into()))
}

pub(super) fn main_only(who: &Group, verb: &str) -> Result<(), Denied> {
    if who.is_main { Ok(()) } else { refused(format!("only the main group may use {verb}")) }
}

/// The registered group of a chat: the asker's own, or any for main. `sent` is the thing that only main may send to
/// other chats.
pub(super) fn target(db: &Connection, who: &Group, chat: &str, sent: &str) -> Result<Group, Denied> {
    if chat == who.jid.as_str() {
        return Ok(who.clone());
    }
    if !who.is_main {
        return refused(format!("only the main group may send {sent} other chats; the own chat is {}", who.jid));
    }
    let jid: ChatJid = chat.parse()?;
    match groups::by_jid(db, &jid)? {
        Some(group) => Ok(group),
        None => refused(format!("chat {jid} is not registered: see available_groups.json, and register it first")),
    }
}

/// A task of the asker, or any task for main. A task of others looks as if it were not there.
pub(super) fn own_task(db: &Connection, who: &Group, id: &str) -> Result<TaskId, Denied> {
    let id: TaskId = id.parse()?;
    match tasks::get(db, &id)? {
        Some(task) if who.is_main || task.folder == who.folder => Ok(id),
        _ => refused(format!("there is no task {id} that group {} may change: see current_tasks.json", who.folder)),
    }
}

/// The message that is answered must be one of the chat.
pub(super) fn answered(db: &Connection, chat: &ChatJid, id: Option<&str>) -> Result<Option<String>, Denied> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    if inbound::knows(db, chat, id)? {
        return Ok(Some(id.to_owned()));
    }
    let shown: String = id.chars().take(80).collect();
    refused(format!("there is no message {shown:?} in chat {chat} to answer: leave replyTo out"))
}
