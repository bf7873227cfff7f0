//! Handled IPC files, and refused requests.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult};
use crate::domain::ids::GroupFolder;

/// Returns the stored result of a claimed file whose effect was committed before.
pub fn result(db: &Connection, claim: &str) -> TxResult<Option<String>> {
    let mut s = db.prepare_cached("SELECT result FROM ipc_files WHERE id = ?1")?;
    Ok(s.query_row([claim], |row| row.get(0)).optional()?)
}

/// Notes a claimed file as handled, in the transaction of its effect. `result` is the JSON for the agent.
pub fn record(
    tx: &Tx<'_>,
    claim: &str,
    folder: &GroupFolder,
    name: &str,
    result: &str,
    now: DateTime<Utc>,
) -> TxResult<()> {
    tx.prepare_cached("INSERT INTO ipc_files VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
        claim,
        folder,
        name,
        result,
        Ms(now),
    ))?;
    Ok(())
}

/// Notes a refusal.
pub fn refuse(tx: &Tx<'_>, folder: &GroupFolder, what: &str, why: &str, now: DateTime<Utc>) -> TxResult<()> {
    tx.execute("INSERT INTO refusals (folder, what, why, at) VALUES (?1, ?2, ?3, ?4)", (folder, what, why, Ms(now)))?;
    Ok(())
}

/// Forgets a handled file once it is removed and cannot be claimed again.
pub fn forget(tx: &Tx<'_>, claim: &str) -> TxResult<()> {
    tx.prepare_cached("DELETE FROM ipc_files WHERE id = ?1")?.execute([claim])?;
    Ok(())
}

/// Keeps a group's latest refusals and deletes older ones, so that no group can fill the disk with them.
pub fn trim_refusals(tx: &Tx<'_>, folder: &GroupFolder, keep: u32) -> TxResult<()> {
    tx.execute(
        "DELETE FROM refusals WHERE folder = ?1 AND seq <=
           (SELECT seq FROM refusals WHERE folder = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        (folder, keep),
    )?;
    Ok(())
}

/// A recorded refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The group that asked.
    pub folder: GroupFolder,
    /// The request.
    pub what: String,
    /// The reason.
    pub why: String,
    /// The time of the refusal.
    pub at: DateTime<Utc>,
}

/// Returns the latest refusals, newest first.
pub fn refusals(db: &Connection, limit: u32) -> TxResult<Vec<Refusal>> {
    let mut s = db.prepare_cached("SELECT folder, what, why, at FROM refusals ORDER BY seq DESC LIMIT ?1")?;
    let rows = s.query_map([limit], |row| {
        Ok(Refusal { folder: row.get(0)?, what: row.get(1)?, why: row.get(2)?, at: row.get::<_, Ms>(3)?.0 })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
