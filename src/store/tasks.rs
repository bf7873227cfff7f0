//! Scheduled tasks, and their firings: claims and history in one table.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use parlor_protocol::EXISTS_ALREADY;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Ms, Tx, TxError, TxResult, Wake};
use crate::domain::ids::{GroupFolder, RunId, TaskId};
use crate::domain::schedule::Schedule;
use crate::domain::task::{Fire, FireState, Task, TaskStatus};

/// The most active and paused tasks of a group.
pub const MAX_PER_GROUP: i64 = 100;

const COLUMNS: &str = "id, folder, jid, prompt, schedule_type, schedule_value, timezone, context_mode, missed, status, next_due, anchor, created_at";

fn bad(column: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Task> {
    let kind: String = row.get("schedule_type")?;
    let value: String = row.get("schedule_value")?;
    let zone: Option<String> = row.get("timezone")?;
    Ok(Task {
        id: row.get("id")?,
        folder: row.get("folder")?,
        jid: row.get("jid")?,
        prompt: row.get("prompt")?,
        schedule: match kind.as_str() {
            "cron" => Schedule::Cron(value),
            "once" => Schedule::Once(value),
            "interval" => Schedule::Interval(value.parse().map_err(|_| bad(5, value))?),
            _ => return Err(bad(4, kind)),
        },
        timezone: zone.map(|z| z.parse().map_err(|_| bad(6, z))).transpose()?,
        context_mode: row.get("context_mode")?,
        missed: row.get("missed")?,
        status: row.get("status")?,
        next_due: row.get::<_, Option<Ms>>("next_due")?.map(|ms| ms.0),
        anchor: row.get::<_, Ms>("anchor")?.0,
        created_at: row.get::<_, Ms>("created_at")?.0,
    })
}

/// Returns a task.
pub fn get(db: &Connection, id: &TaskId) -> TxResult<Option<Task>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"))?;
    Ok(s.query_row([id], from_row).optional()?)
}

/// Returns the tasks of a group, or of all groups, oldest first. With `ended`, includes completed and cancelled ones.
pub fn list(db: &Connection, folder: Option<&GroupFolder>, ended: bool) -> TxResult<Vec<Task>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE (?1 IS NULL OR folder = ?1) AND (?2 OR status IN ('active', 'paused'))
         ORDER BY created_at, id"
    ))?;
    let rows = s.query_map((folder, ended), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Stores a new task. Refuses an id in use, and a task beyond the group's limit.
pub fn insert(tx: &mut Tx<'_>, task: &Task) -> TxResult<()> {
    if get(tx, &task.id)?.is_some() {
        return Err(TxError::Conflict(format!(
            "task {} {EXISTS_ALREADY}: choose another id, or leave it out",
            task.id
        )));
    }
    let live: i64 = tx.query_row(
        "SELECT count(*) FROM tasks WHERE folder = ?1 AND status IN ('active', 'paused')",
        [&task.folder],
        |row| row.get(0),
    )?;
    if live >= MAX_PER_GROUP {
        return Err(TxError::Conflict(format!(
            "group {} has {MAX_PER_GROUP} tasks already: cancel one first",
            task.folder
        )));
    }
    tx.execute(
        &format!("INSERT INTO tasks ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"),
        rusqlite::params![
            task.id,
            task.folder,
            task.jid,
            task.prompt,
            task.schedule.kind(),
            task.schedule.to_string(),
            task.timezone.map(Tz::name),
            task.context_mode,
            task.missed,
            task.status,
            task.next_due.map(Ms),
            Ms(task.anchor),
            Ms(task.created_at),
        ],
    )?;
    tx.wake(Wake::Scheduler);
    tx.wake(Wake::Snapshots);
    Ok(())
}

/// Stores every changed field of a task.
pub fn update(tx: &mut Tx<'_>, task: &Task) -> TxResult<()> {
    let changed = tx.execute(
        "UPDATE tasks SET prompt = ?2, schedule_type = ?3, schedule_value = ?4, timezone = ?5, context_mode = ?6,
           missed = ?7, status = ?8, next_due = ?9, anchor = ?10 WHERE id = ?1",
        rusqlite::params![
            task.id,
            task.prompt,
            task.schedule.kind(),
            task.schedule.to_string(),
            task.timezone.map(Tz::name),
            task.context_mode,
            task.missed,
            task.status,
            task.next_due.map(Ms),
            Ms(task.anchor),
        ],
    )?;
    if changed == 0 {
        return Err(TxError::NotFound(format!("there is no task {}", task.id)));
    }
    if task.status != TaskStatus::Active {
        // The change applies to a firing that waits for a slot, but not to one that runs.
        tx.execute("UPDATE fires SET state = 'cancelled' WHERE task_id = ?1 AND state = 'claimed'", [&task.id])?;
    }
    tx.wake(Wake::Scheduler);
    tx.wake(Wake::Snapshots);
    Ok(())
}

/// Returns the active tasks due at or before a time, earliest first.
pub fn due(db: &Connection, now: DateTime<Utc>, limit: u32) -> TxResult<Vec<Task>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE status = 'active' AND next_due <= ?1 ORDER BY next_due LIMIT ?2"
    ))?;
    let rows = s.query_map((Ms(now), limit), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns when the next active task is due.
pub fn next_due(db: &Connection) -> TxResult<Option<DateTime<Utc>>> {
    let mut s =
        db.prepare_cached("SELECT min(next_due) FROM tasks WHERE status = 'active' AND next_due IS NOT NULL")?;
    Ok(s.query_row([], |row| row.get::<_, Option<Ms>>(0))?.map(|ms| ms.0))
}

/// Claims a task for a due time. Returns false if it was claimed before.
pub fn claim(tx: &mut Tx<'_>, task: &Task, due: DateTime<Utc>, now: DateTime<Utc>) -> TxResult<bool> {
    let new = tx.execute(
        "INSERT OR IGNORE INTO fires (task_id, due, folder, state, claimed_at) VALUES (?1, ?2, ?3, 'claimed', ?4)",
        (&task.id, Ms(due), &task.folder, Ms(now)),
    )?;
    tx.wake(Wake::Group(task.jid.clone()));
    Ok(new > 0)
}

const FIRE: &str = "task_id, due, folder, state, run_id, claimed_at, ended_at, result, error";

fn fire_from_row(row: &Row<'_>) -> rusqlite::Result<Fire> {
    Ok(Fire {
        task_id: row.get("task_id")?,
        due: row.get::<_, Ms>("due")?.0,
        folder: row.get("folder")?,
        state: row.get("state")?,
        run_id: row.get("run_id")?,
        claimed_at: row.get::<_, Ms>("claimed_at")?.0,
        ended_at: row.get::<_, Option<Ms>>("ended_at")?.map(|ms| ms.0),
        result: row.get("result")?,
        error: row.get("error")?,
    })
}

/// Returns a group's claimed firings that wait to start, earliest due first, each with its task.
pub fn claimed(db: &Connection, folder: &GroupFolder) -> TxResult<Vec<(Fire, Task)>> {
    let mut s = db.prepare_cached(&format!(
        "SELECT {FIRE} FROM fires WHERE folder = ?1 AND state = 'claimed' AND state IN ('claimed', 'running')
         ORDER BY due, task_id"
    ))?;
    let fires: Vec<Fire> = s.query_map([folder], fire_from_row)?.collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for fire in fires {
        if let Some(task) = get(db, &fire.task_id)? {
            all.push((fire, task));
        }
    }
    Ok(all)
}

/// Returns true if a firing of the task waits to start.
pub fn waits(db: &Connection, task: &Task) -> TxResult<bool> {
    // Needs the folder and the states of the index of open firings.
    let mut s = db.prepare_cached(
        "SELECT 1 FROM fires WHERE folder = ?1 AND task_id = ?2 AND state = 'claimed'
         AND state IN ('claimed', 'running') LIMIT 1",
    )?;
    Ok(s.exists((&task.folder, &task.id))?)
}

/// Starts a firing: after this commit it never starts again for this due time. Returns false if it was taken back.
pub fn start(tx: &Tx<'_>, task: &TaskId, due: DateTime<Utc>, run: RunId) -> TxResult<bool> {
    Ok(tx.execute(
        "UPDATE fires SET state = 'running', run_id = ?3 WHERE task_id = ?1 AND due = ?2 AND state = 'claimed'",
        (task, Ms(due), run),
    )? > 0)
}

/// Makes a firing that the engine never started wait again, unless its task was paused or cancelled meanwhile.
pub fn unstart(tx: &Tx<'_>, task: &TaskId, due: DateTime<Utc>) -> TxResult<()> {
    tx.execute(
        "UPDATE fires SET run_id = NULL, state =
           iif((SELECT status FROM tasks WHERE id = ?1) IN ('active', 'completed'), 'claimed', 'cancelled')
         WHERE task_id = ?1 AND due = ?2 AND state = 'running'",
        (task, Ms(due)),
    )?;
    Ok(())
}

/// How a firing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FireEnd {
    /// Done, failed, cancelled or interrupted.
    pub state: FireState,
    /// The last text that it sent.
    pub result: Option<String>,
    /// The reason of a failure.
    pub error: Option<String>,
}

/// Stores the end of a firing.
pub fn end(tx: &Tx<'_>, task: &TaskId, due: DateTime<Utc>, end: &FireEnd, now: DateTime<Utc>) -> TxResult<()> {
    tx.execute(
        "UPDATE fires SET state = ?3, ended_at = ?4, result = ?5, error = ?6 WHERE task_id = ?1 AND due = ?2",
        (task, Ms(due), end.state, Ms(now), &end.result, &end.error),
    )?;
    Ok(())
}

/// Returns the firings of a task, newest first.
pub fn history(db: &Connection, task: &TaskId, limit: u32) -> TxResult<Vec<Fire>> {
    let mut s =
        db.prepare_cached(&format!("SELECT {FIRE} FROM fires WHERE task_id = ?1 ORDER BY due DESC LIMIT ?2"))?;
    let rows = s.query_map((task, limit), fire_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the firings of all groups in a state, for recovery.
pub fn in_state(db: &Connection, state: FireState) -> TxResult<Vec<Fire>> {
    let mut s =
        db.prepare_cached(&format!("SELECT {FIRE} FROM fires WHERE state = ?1 AND state IN ('claimed', 'running')"))?;
    let rows = s.query_map([state], fire_from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
