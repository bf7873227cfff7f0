//! Receipts: the platforms' ids of parts that have arrived. They go with their text.

use rusqlite::{Connection, OptionalExtension};

use super::{Tx, TxResult};
use crate::domain::ids::{ChatJid, DeliveryId};

/// Keeps a receipt; a part that arrives again has the newer one.
pub fn put(tx: &Tx<'_>, delivery: DeliveryId, part: u32, jid: &ChatJid, platform_id: &str) -> TxResult<()> {
    let sql = "INSERT INTO receipts (delivery, part, jid, platform_id) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (delivery, part) DO UPDATE SET platform_id = excluded.platform_id";
    tx.prepare_cached(sql)?.execute((delivery, part, jid, platform_id))?;
    Ok(())
}

/// Returns the platform's ids of a text's parts, in order.
pub fn of(db: &Connection, delivery: DeliveryId) -> TxResult<Vec<String>> {
    let mut s = db.prepare_cached("SELECT platform_id FROM receipts WHERE delivery = ?1 ORDER BY part")?;
    let ids = s.query_map([delivery], |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Returns the text that a chat's platform knows by an id.
pub fn delivery(db: &Connection, jid: &ChatJid, platform_id: &str) -> TxResult<Option<DeliveryId>> {
    let mut s = db.prepare_cached("SELECT delivery FROM receipts WHERE jid = ?1 AND platform_id = ?2 LIMIT 1")?;
    Ok(s.query_row((jid, platform_id), |row| row.get(0)).optional()?)
}
