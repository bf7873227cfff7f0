//! A room's view of tasks and chats: `current_tasks.json` and `available_groups.json`, written before each run and
//! when groups or tasks change. Main sees everything, other groups see their own tasks and no chats.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parlor_protocol::{GroupSnapshot, GroupsSnapshot, TaskSnapshot};
use rusqlite::Connection;

use super::Shared;
use crate::domain::clock::rfc3339;
use crate::domain::group::Group;
use crate::domain::ids::GroupFolder;
use crate::domain::task::{Task, TaskStatus};
use crate::safe_dir::{Owner, SafeDir};
use crate::store::{TxResult, groups, tasks};

/// The fingerprint of a room's last snapshot. The writer holds its lock, so that an older state never replaces a
/// newer one.
pub(super) type Last = Arc<tokio::sync::Mutex<Option<u64>>>;

/// Writes a live room's snapshots if they have changed, or `always`; logs an error.
pub(super) async fn rewrite(shared: &Arc<Shared>, folder: &GroupFolder, always: bool) {
    let Some(last) = shared.snapshot_of(folder) else { return };
    if let Err(error) = write(shared, folder, &last, always).await {
        tracing::warn!("group {folder}: cannot write snapshots of tasks and groups: {error}");
    }
}

/// The same, with the room's fingerprint at hand, and with the error for the caller.
pub(super) async fn write(shared: &Arc<Shared>, folder: &GroupFolder, last: &Last, always: bool) -> io::Result<()> {
    let mut last = last.lock().await;
    let whose = folder.clone();
    let read = shared.store.read(move |db| Snapshot::read(db, &whose)).await;
    let Some(snapshot) = read.map_err(io::Error::other)? else { return Ok(()) };
    let fingerprint = snapshot.fingerprint();
    if !always && *last == Some(fingerprint) {
        return Ok(());
    }
    let (shared, folder) = (Arc::clone(shared), folder.clone());
    let now = rfc3339(shared.clock.now());
    let written = tokio::task::spawn_blocking(move || snapshot.write(&shared.data, &folder, shared.owner, now));
    written.await.map_err(io::Error::other)??;
    *last = Some(fingerprint);
    Ok(())
}

/// The facts that a room may know, ready to be written.
#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    tasks: Vec<TaskSnapshot>,
    groups: Vec<GroupSnapshot>,
}

impl Snapshot {
    /// Reads the facts that a group may know now; None if it is not registered.
    fn read(db: &Connection, folder: &GroupFolder) -> TxResult<Option<Self>> {
        let Some(group) = groups::by_folder(db, folder)? else { return Ok(None) };
        Ok(Some(Self::of(db, &group)?))
    }

    fn of(db: &Connection, group: &Group) -> TxResult<Self> {
        let whose = (!group.is_main).then_some(&group.folder);
        let tasks = tasks::list(db, whose, false)?.iter().map(task).collect();
        let mut chats = Vec::new();
        if group.is_main {
            chats = groups::chats(db)?
                .into_iter()
                .map(|chat| GroupSnapshot {
                    jid: chat.jid.into(),
                    name: chat.name,
                    last_activity: rfc3339(chat.last_activity),
                    is_registered: chat.is_registered,
                })
                .collect();
        }
        Ok(Self { tasks, groups: chats })
    }

    /// Returns a number that is the same for the same content.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        json(&self.tasks).hash(&mut hasher);
        json(&self.groups).hash(&mut hasher);
        hasher.finish()
    }

    /// Writes both files into `ipc/<folder>` below `data/`.
    fn write(self, data: &SafeDir, folder: &GroupFolder, owner: Option<Owner>, now: String) -> io::Result<()> {
        let dir = data.open_dir(&Path::new("ipc").join(folder.as_str()))?;
        dir.write_atomic(OsStr::new("current_tasks.json"), &json(&self.tasks), owner, 0o644)?;
        let groups = GroupsSnapshot { groups: self.groups, last_sync: now };
        dir.write_atomic(OsStr::new("available_groups.json"), &json(&groups), owner, 0o644)
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Only strings and flags: cannot fail.
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

fn task(task: &Task) -> TaskSnapshot {
    let status = match task.status {
        TaskStatus::Active => "active",
        TaskStatus::Paused => "paused",
        TaskStatus::Completed => "completed",
        TaskStatus::Cancelled => "cancelled",
    };
    TaskSnapshot {
        id: task.id.as_str().into(),
        group_folder: task.folder.as_str().into(),
        prompt: task.prompt.clone(),
        schedule_type: task.schedule.kind().into(),
        schedule_value: task.schedule.to_string(),
        status: status.into(),
        next_run: task.next_due.map(rfc3339),
    }
}
