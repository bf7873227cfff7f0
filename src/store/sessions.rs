//! The session each group's agent resumes.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};

use super::{Ms, Tx, TxResult};
use crate::domain::ids::GroupFolder;

/// The stored session.
pub fn get(db: &Connection, folder: &GroupFolder) -> TxResult<Option<String>> {
    let mut s = db.prepare_cached("SELECT session_id FROM sessions WHERE folder = ?1")?;
    Ok(s.query_row([folder], |row| row.get(0)).optional()?)
}

/// Stores the session that the next run resumes.
pub fn set(tx: &Tx<'_>, folder: &GroupFolder, session: &str, now: DateTime<Utc>) -> TxResult<()> {
    tx.prepare_cached(
        "INSERT INTO sessions VALUES (?1, ?2, ?3)
         ON CONFLICT (folder) DO UPDATE SET session_id = ?2, updated_at = ?3 WHERE session_id <> ?2",
    )?
    .execute((folder, session, Ms(now)))?;
    Ok(())
}

/// Forgets it: the next run starts a new one. Returns whether there was one.
pub fn forget(tx: &Tx<'_>, folder: &GroupFolder) -> TxResult<bool> {
    Ok(tx.execute("DELETE FROM sessions WHERE folder = ?1", [folder])? > 0)
}

/// Every stored session: folder, id, when it was stored.
pub fn all(db: &Connection) -> TxResult<Vec<(GroupFolder, String, DateTime<Utc>)>> {
    let mut s = db.prepare_cached("SELECT folder, session_id, updated_at FROM sessions ORDER BY folder")?;
    let rows = s.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Ms>(2)?.0)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
