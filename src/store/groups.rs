//! Registered groups and known chats.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::{Ms, Tx, TxError, TxResult, Wake, events, fallbacks};
use crate::domain::event::{Event, TurnState};
use crate::domain::group::{ContainerConfig, Group, Pause};
use crate::domain::ids::{ChatJid, GroupFolder};

const COLUMNS: &str = "folder, jid, name, trigger_word, requires_trigger, is_main, container_config, created_at, paused_until, pause_reason";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Group> {
    let config: String = row.get("container_config")?;
    let until: Option<Ms> = row.get("paused_until")?;
    let reason: Option<String> = row.get("pause_reason")?;
    Ok(Group {
        folder: row.get("folder")?,
        jid: row.get("jid")?,
        name: row.get("name")?,
        trigger: row.get("trigger_word")?,
        requires_trigger: row.get("requires_trigger")?,
        is_main: row.get("is_main")?,
        container_config: serde_json::from_str(&config)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(6, rusqlite::types::Type::Text, Box::new(e)))?,
        created_at: row.get::<_, Ms>("created_at")?.0,
        paused: until.map(|until| Pause { until: until.0, reason: reason.unwrap_or_default() }),
    })
}

/// Returns the group of a chat.
pub fn by_jid(db: &Connection, jid: &ChatJid) -> TxResult<Option<Group>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM groups WHERE jid = ?1"))?;
    Ok(s.query_row([jid], from_row).optional()?)
}

/// Returns the group of a folder; upper and lower case are the same.
pub fn by_folder(db: &Connection, folder: &GroupFolder) -> TxResult<Option<Group>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM groups WHERE folder = ?1"))?;
    Ok(s.query_row([folder], from_row).optional()?)
}

/// Returns the owner's group.
pub fn main(db: &Connection) -> TxResult<Option<Group>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM groups WHERE is_main = 1"))?;
    Ok(s.query_row([], from_row).optional()?)
}

/// Returns an error if a filter by folder found nothing and there is no such group. Data of a removed group is still
/// found.
pub fn expect_known(db: &Connection, folder: Option<&GroupFolder>, found_nothing: bool) -> TxResult<()> {
    match folder.filter(|_| found_nothing) {
        Some(folder) if by_folder(db, folder)?.is_none() => Err(missing(folder)),
        _ => Ok(()),
    }
}

/// The error for a folder without a group.
pub fn missing(folder: &GroupFolder) -> TxError {
    TxError::NotFound(format!("there is no group {folder}: `parlor groups list` shows those there are"))
}

/// Returns every group, by folder.
pub fn all(db: &Connection) -> TxResult<Vec<Group>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM groups ORDER BY folder"))?;
    let rows = s.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Registers a group. Refuses a chat or folder in use, and a second main.
pub fn register(tx: &mut Tx<'_>, group: &Group) -> TxResult<()> {
    if let Some(other) = by_jid(tx, &group.jid)? {
        return Err(TxError::Conflict(format!(
            "chat {} is already registered with folder {}: remove that group first",
            group.jid, other.folder
        )));
    }
    if let Some(other) = by_folder(tx, &group.folder)? {
        return Err(TxError::Conflict(format!(
            "folder {} is already used by chat {}: choose another folder",
            other.folder, other.jid
        )));
    }
    if group.is_main
        && let Some(other) = main(tx)?
    {
        return Err(TxError::Conflict(format!("{} is main already: only one group can be", other.folder)));
    }
    tx.execute(
        "INSERT INTO groups (folder, jid, name, trigger_word, requires_trigger, is_main, container_config, created_at)
         VALUES (:folder, :jid, :name, :trigger, :requires, :main, :config, :created)",
        named_params! {
            ":folder": group.folder, ":jid": group.jid, ":name": group.name, ":trigger": group.trigger,
            ":requires": group.requires_trigger, ":main": group.is_main,
            ":config": config_json(&group.container_config), ":created": Ms(group.created_at),
        },
    )?;
    touch_chat(tx, &group.jid, Some(&group.name), None)?;
    tx.wake(Wake::Snapshots);
    tx.wake(Wake::Registered(group.folder.clone()));
    Ok(())
}

/// Changes a group's name, trigger and container settings; folder, chat and main stay. Ends a pause, because the old
/// settings may have caused it.
pub fn update(tx: &mut Tx<'_>, group: &Group) -> TxResult<()> {
    let changed = tx.execute(
        "UPDATE groups SET name = :name, trigger_word = :trigger, requires_trigger = :requires, container_config = :config,
             paused_until = NULL, pause_reason = NULL
         WHERE folder = :folder",
        named_params! {
            ":folder": group.folder, ":name": group.name, ":trigger": group.trigger,
            ":requires": group.requires_trigger, ":config": config_json(&group.container_config),
        },
    )?;
    if changed == 0 {
        return Err(missing(&group.folder));
    }
    tx.wake(Wake::Snapshots);
    tx.wake(Wake::Group(group.jid.clone()));
    Ok(())
}

/// Makes another group main.
pub fn make_main(tx: &mut Tx<'_>, folder: &GroupFolder) -> TxResult<()> {
    let before = main(tx)?;
    tx.execute("UPDATE groups SET is_main = 0 WHERE is_main = 1", [])?;
    if tx.execute("UPDATE groups SET is_main = 1, requires_trigger = 0 WHERE folder = ?1", [folder])? == 0 {
        return Err(missing(folder));
    }
    // Their rooms have mounts that do not fit any more.
    for group in before.into_iter().chain(main(tx)?) {
        tx.wake(Wake::Group(group.jid));
    }
    tx.wake(Wake::Snapshots);
    Ok(())
}

/// Removes a group: cancels its tasks, forgets its session, fails its open messages. Its folder stays.
pub fn remove(tx: &mut Tx<'_>, folder: &GroupFolder, now: DateTime<Utc>) -> TxResult<()> {
    let Some(group) = by_folder(tx, folder)? else {
        return Err(missing(folder));
    };
    if group.is_main {
        return Err(TxError::Conflict(format!("{folder} is main: make another group main first")));
    }
    // The chat keeps its group's last name.
    touch_chat(tx, &group.jid, Some(&group.name), None)?;
    tx.execute("DELETE FROM groups WHERE folder = ?1", [folder])?;
    tx.execute("DELETE FROM sessions WHERE folder = ?1", [folder])?;
    fallbacks::forget(tx, folder)?;
    tx.execute(
        "UPDATE tasks SET status = 'cancelled', next_due = NULL WHERE folder = ?1 AND status IN ('active', 'paused')",
        [folder],
    )?;
    tx.execute(
        "UPDATE fires SET state = 'cancelled' WHERE folder = ?1 AND state = 'claimed' AND state IN ('claimed', 'running')",
        [folder],
    )?;
    let last: Option<i64> = tx.query_row(
        "SELECT max(seq) FROM inbound WHERE jid = ?1 AND state IN ('pending', 'in_flight')
           AND (role IN ('trigger', 'command') OR state = 'in_flight')",
        [&group.jid],
        |row| row.get(0),
    )?;
    tx.execute(
        "UPDATE inbound SET state = 'failed' WHERE jid = ?1 AND state IN ('pending', 'in_flight')",
        [&group.jid],
    )?;
    if let Some(through_seq) = last {
        let reason = Some("the group was removed".to_owned());
        let event = Event::Turn { chat_jid: group.jid.clone(), state: TurnState::Failed, through_seq, reason };
        events::append(tx, &event, now)?;
    }
    tx.wake(Wake::Snapshots);
    tx.wake(Wake::Scheduler);
    tx.wake(Wake::Group(group.jid));
    Ok(())
}

/// Pauses a group until a time, or ends its pause.
pub fn set_pause(tx: &mut Tx<'_>, folder: &GroupFolder, pause: Option<&Pause>) -> TxResult<()> {
    tx.execute(
        "UPDATE groups SET paused_until = ?2, pause_reason = ?3 WHERE folder = ?1",
        (folder, pause.map(|p| Ms(p.until)), pause.map(|p| &p.reason)),
    )?;
    Ok(())
}

fn config_json(config: &ContainerConfig) -> String {
    // Only strings and numbers: cannot fail.
    serde_json::to_string(config).unwrap_or_default()
}

/// A known chat, with or without a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The chat's id.
    pub jid: ChatJid,
    /// The group's name if the chat has a group, else the chat's last known name.
    pub name: String,
    /// The time of the last message.
    pub last_activity: DateTime<Utc>,
    /// True if a registered group has this chat.
    pub is_registered: bool,
}

/// Notes a chat, with its name or the time of its last message.
pub fn touch_chat(tx: &Tx<'_>, jid: &ChatJid, name: Option<&str>, at: Option<DateTime<Utc>>) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO chats (jid, name, last_activity) VALUES (?1, coalesce(?2, ?1), coalesce(?3, 0))
         ON CONFLICT (jid) DO UPDATE SET name = coalesce(?2, name), last_activity = max(last_activity, coalesce(?3, 0))",
    )?
    .execute((jid, name, at.map(Ms)))?;
    Ok(())
}

/// Returns every known chat, latest first. A registered chat has its group's name.
pub fn chats(db: &Connection) -> TxResult<Vec<Chat>> {
    let mut s = db.prepare_cached(
        "SELECT c.jid, coalesce(g.name, c.name), c.last_activity, g.folder IS NOT NULL
         FROM chats c LEFT JOIN groups g ON g.jid = c.jid
         ORDER BY c.last_activity DESC, c.jid",
    )?;
    let rows = s.query_map([], |row| {
        Ok(Chat {
            jid: row.get(0)?,
            name: row.get(1)?,
            last_activity: row.get::<_, Ms>(2)?.0,
            is_registered: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
