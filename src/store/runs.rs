//! Runs: how each was started and ended.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Ms, Tx, TxResult};
use crate::domain::ids::{ChatJid, GroupFolder, RunId, TaskId};
use crate::domain::run::{Lane, RunState};

/// A run's row.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The id of the run.
    pub id: RunId,
    /// The folder of its group.
    pub folder: GroupFolder,
    /// The chat of its group.
    pub jid: ChatJid,
    /// The lane in which it runs.
    pub lane: Lane,
    /// The task, for a task's run.
    pub task_id: Option<TaskId>,
    /// The due time, for a task's run.
    pub due: Option<DateTime<Utc>>,
    /// Its progress, or how it ended.
    pub state: RunState,
    /// The container's name.
    pub container: String,
    /// The session that it resumed or made.
    pub session_id: Option<String>,
    /// The time when the engine was asked.
    pub started_at: DateTime<Utc>,
    /// The time when the container was gone.
    pub ended_at: Option<DateTime<Utc>>,
    /// The container's exit code.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub error: Option<String>,
    /// The number of parsed outputs.
    pub outputs: u64,
    /// The cost in US dollars, if the provider reports it.
    pub cost_usd: Option<f64>,
    /// The number of tokens of all kinds, if the provider reports them.
    pub tokens: u64,
}

const COLUMNS: &str = "id, folder, jid, lane, task_id, due, state, container, session_id, started_at, ended_at, exit_code, error, outputs, cost_usd, tokens";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: row.get("id")?,
        folder: row.get("folder")?,
        jid: row.get("jid")?,
        lane: row.get("lane")?,
        task_id: row.get("task_id")?,
        due: row.get::<_, Option<Ms>>("due")?.map(|ms| ms.0),
        state: row.get("state")?,
        container: row.get("container")?,
        session_id: row.get("session_id")?,
        started_at: row.get::<_, Ms>("started_at")?.0,
        ended_at: row.get::<_, Option<Ms>>("ended_at")?.map(|ms| ms.0),
        exit_code: row.get("exit_code")?,
        error: row.get("error")?,
        outputs: row.get::<_, i64>("outputs")? as u64,
        cost_usd: row.get("cost_usd")?,
        tokens: row.get::<_, i64>("tokens")? as u64,
    })
}

/// Stores a run or its changes.
pub fn put(tx: &Tx<'_>, run: &Run) -> TxResult<()> {
    tx.prepare_cached(&format!(
        "INSERT OR REPLACE INTO runs ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    ))?
    .execute(rusqlite::params![
        run.id,
        run.folder,
        run.jid,
        run.lane,
        run.task_id,
        run.due.map(Ms),
        run.state,
        run.container,
        run.session_id,
        Ms(run.started_at),
        run.ended_at.map(Ms),
        run.exit_code,
        run.error,
        run.outputs as i64,
        run.cost_usd,
        run.tokens as i64,
    ])?;
    Ok(())
}

/// Deletes the row of a run that never began.
pub fn forget(tx: &Tx<'_>, id: RunId) -> TxResult<()> {
    tx.execute("DELETE FROM runs WHERE id = ?1 AND state = 'starting'", [id])?;
    Ok(())
}

/// Returns a run.
pub fn get(db: &Connection, id: RunId) -> TxResult<Option<Run>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?;
    Ok(s.query_row([id], from_row).optional()?)
}

/// Returns the runs of a group, or of all groups, newest first.
pub fn list(db: &Connection, folder: Option<&GroupFolder>, limit: u32) -> TxResult<Vec<Run>> {
    // With an optional condition in SQL, every run of every group would be checked.
    let of_folder = if folder.is_some() { "WHERE folder = ?2" } else { "WHERE ?2 IS NULL" };
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM runs {of_folder} ORDER BY id DESC LIMIT ?1"))?;
    let rows = s.query_map((limit, folder), from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the runs that have not ended.
pub fn live(db: &Connection) -> TxResult<Vec<Run>> {
    let mut s = db.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE state IN ('starting', 'running')"))?;
    let rows = s.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the last run for a group's chat that a host's end interrupted, if messages of it wait again.
pub fn interrupted_with_messages(db: &Connection, folder: &GroupFolder) -> TxResult<Option<RunId>> {
    // Needs the states and the chat of the index of open messages.
    let mut s = db.prepare_cached(
        "SELECT max(r.id) FROM groups g
         JOIN inbound i ON i.jid = g.jid AND i.state = 'pending' AND i.state IN ('pending', 'in_flight')
         JOIN runs r ON r.id = i.run_id
         WHERE g.folder = ?1 AND r.folder = ?1 AND r.lane = 'chat' AND r.state = 'interrupted'",
    )?;
    Ok(s.query_row([folder], |row| row.get(0))?)
}

/// Marks the runs that a dead host left behind as interrupted. Returns them as they were.
pub fn interrupt_live(tx: &Tx<'_>, now: DateTime<Utc>) -> TxResult<Vec<Run>> {
    let live = live(tx)?;
    tx.execute(
        "UPDATE runs SET state = 'interrupted', ended_at = ?1, error = 'the host ended while it ran'
         WHERE state IN ('starting', 'running')",
        [Ms(now)],
    )?;
    Ok(live)
}
