//! Deletes old, finished rows. A reader finds them page by page, and small transactions delete them by key, so no
//! message or output waits for long.
//!
//! Rows that are still needed stay at any age: waiting and unfinished ones, the context of a later message, the texts
//! of a broken-off turn, and the last firing of a task that continues.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ToSql};
use ulid::Ulid;

use super::inbound::CONTEXT_MESSAGES;
use super::{Ms, Store, StoreError, Tx, TxResult};
use crate::domain::clock::to_ms;
use crate::domain::ids::ChatJid;

/// The number of rows in one read.
const PAGE: u32 = 1_000;
/// The most rows that one write deletes.
const BATCH: usize = 100;
/// The most bytes of text in them, except for a single larger row.
const BATCH_BYTES: i64 = 256 << 10;

/// A part of a table.
struct Page<K> {
    /// The rows to delete, and the bytes of their text.
    old: Vec<(K, i64)>,
    /// The start of the next page; None after the last page with an old row.
    next: Option<K>,
}

impl<K: Clone> Page<K> {
    /// Makes a page of rows in the order of their keys: key, whether it can be deleted, whether it is old, bytes.
    fn of(rows: Vec<(K, bool, bool, i64)>) -> Self {
        let whole = rows.len() == PAGE as usize && rows.iter().any(|(_, _, is_old, _)| *is_old);
        let next = rows.last().filter(|_| whole).map(|(key, ..)| key.clone());
        let old = rows.into_iter().filter(|(_, goes, ..)| *goes).map(|(key, _, _, bytes)| (key, bytes)).collect();
        Self { old, next }
    }

    /// Splits the rows into writes.
    fn batches(self) -> Vec<Vec<K>> {
        let mut batches: Vec<Vec<K>> = Vec::new();
        let mut bytes = 0;
        for (key, size) in self.old {
            bytes += size;
            match batches.last_mut() {
                Some(batch) if batch.len() < BATCH && bytes <= BATCH_BYTES => batch.push(key),
                _ => {
                    batches.push(vec![key]);
                    bytes = size;
                }
            }
        }
        batches
    }
}

/// Goes through a table from its first key. Returns the number of deleted rows.
async fn walk<K: Clone + Send + 'static>(
    store: &Store,
    find: impl Fn(&Connection, Option<&K>) -> TxResult<Page<K>> + Clone + Send + 'static,
    delete: impl Fn(&Tx<'_>, &K) -> TxResult<usize> + Clone + Send + 'static,
) -> Result<usize, StoreError> {
    let (mut from, mut gone) = (None, 0);
    loop {
        let (find, after) = (find.clone(), from);
        let page = store.read(move |db| find(db, after.as_ref())).await?;
        from = page.next.clone();
        for batch in page.batches() {
            let delete = delete.clone();
            gone += store.write(move |tx| batch.iter().try_fold(0, |sum, key| Ok(sum + delete(tx, key)?))).await?;
        }
        if from.is_none() {
            return Ok(gone);
        }
    }
}

fn rows<K: rusqlite::types::FromSql>(
    db: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
) -> TxResult<Vec<(K, bool, bool, i64)>> {
    let mut s = db.prepare_cached(sql)?;
    let rows = s.query_map(params, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn delete(tx: &Tx<'_>, sql: &str, key: &dyn ToSql) -> TxResult<usize> {
    Ok(tx.prepare_cached(sql)?.execute([key])?)
}

/// Deletes old delivered texts; to be called after the events that show them have expired.
pub async fn deliveries(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let find = move |db: &Connection, from: Option<&i64>| {
        let sql =
            "SELECT seq, state = 'delivered' AND ended_at < ?2 AND turn_open = 0, created_at < ?2, octet_length(text)
                   FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&0), &Ms(before), &PAGE]).map(Page::of)
    };
    walk(store, find, |tx, seq| {
        let receipts = "DELETE FROM receipts WHERE delivery =
             (SELECT id FROM outbox WHERE seq = ?1 AND state = 'delivered' AND turn_open = 0)";
        delete(tx, receipts, seq)?;
        delete(tx, "DELETE FROM outbox WHERE seq = ?1 AND state = 'delivered' AND turn_open = 0", seq)
    })
    .await
}

/// Deletes old records of handled IPC files and old refusals.
pub async fn records(store: &Store, before: DateTime<Utc>) -> Result<(), StoreError> {
    let find = move |db: &Connection, from: Option<&String>| {
        let first = String::new();
        let sql = "SELECT id, at < ?2, 1, octet_length(result) FROM ipc_files WHERE id > ?1 ORDER BY id LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&first), &Ms(before), &PAGE]).map(Page::of)
    };
    walk(store, find, |tx, id| delete(tx, "DELETE FROM ipc_files WHERE id = ?1", id)).await?;
    let find = move |db: &Connection, from: Option<&i64>| {
        let sql = "SELECT seq, at < ?2, at < ?2, octet_length(why) FROM refusals WHERE seq > ?1 ORDER BY seq LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&0), &Ms(before), &PAGE]).map(Page::of)
    };
    walk(store, find, |tx, seq| delete(tx, "DELETE FROM refusals WHERE seq = ?1", seq)).await.map(drop)
}

/// Deletes old messages that are answered, cancelled or failed. Their ids are forgotten, too.
pub async fn messages(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let find = move |db: &Connection, from: Option<&i64>| {
        let sql =
            "SELECT seq, state IN ('done', 'cancelled', 'failed') AND received_at < ?2, received_at < ?2, octet_length(text)
             FROM inbound WHERE seq > ?1 ORDER BY seq LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&0), &Ms(before), &PAGE]).map(Page::of)
    };
    let gone = walk(store, find, |tx, seq| {
        delete(tx, "DELETE FROM inbound WHERE seq = ?1 AND state IN ('done', 'cancelled', 'failed')", seq)
    })
    .await?;
    Ok(gone + context(store, before).await?)
}

/// Deletes old context that no message will use, because more than a window of newer context waits before the next
/// triggering message.
async fn context(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let chats = store
        .read(|db| {
            let mut s = db.prepare(
                "SELECT jid FROM inbound WHERE state = 'pending' AND state IN ('pending', 'in_flight')
                   AND role IN ('context', 'denied') GROUP BY jid HAVING count(*) > ?1",
            )?;
            let rows = s.query_map([CONTEXT_MESSAGES], |row| row.get(0))?;
            Ok(rows.collect::<Result<Vec<ChatJid>, _>>()?)
        })
        .await?;
    let mut gone = 0;
    for jid in chats {
        let find = move |db: &Connection, from: Option<&i64>| {
            // The window's oldest message is before the first triggering one, even if that one failed and may be
            // retried.
            let sql = "SELECT seq, received_at < ?2, 1, octet_length(text) FROM inbound
                       WHERE jid = ?4 AND seq > ?1 AND state = 'pending' AND state IN ('pending', 'in_flight')
                         AND role IN ('context', 'denied') AND seq < (
                           SELECT seq FROM inbound WHERE jid = ?4 AND state = 'pending' AND state IN ('pending', 'in_flight')
                             AND role IN ('context', 'denied') AND seq < min(
                               coalesce((SELECT min(seq) FROM inbound WHERE jid = ?4 AND state IN ('pending', 'in_flight')
                                         AND role IN ('trigger', 'command')), 9e18),
                               coalesce((SELECT min(seq) FROM inbound WHERE jid = ?4 AND state = 'failed'), 9e18))
                           ORDER BY seq DESC LIMIT 1 OFFSET ?5)
                       ORDER BY seq LIMIT ?3";
            let last = CONTEXT_MESSAGES - 1;
            rows(db, sql, &[from.unwrap_or(&0), &Ms(before), &PAGE, &jid, &last]).map(Page::of)
        };
        gone += walk(store, find, |tx, seq| {
            delete(
                tx,
                "DELETE FROM inbound WHERE seq = ?1 AND state = 'pending' AND role IN ('context', 'denied')",
                seq,
            )
        })
        .await?;
    }
    Ok(gone)
}

/// Deletes ended runs, except those whose turn a later run continues.
pub async fn runs(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let end = Ulid::from_parts(to_ms(before).try_into().unwrap_or(0), 0).to_string();
    let find = move |db: &Connection, from: Option<&String>| {
        let first = String::new();
        // Ids begin with the start time.
        let sql = "SELECT id, state NOT IN ('starting', 'running') AND ended_at < ?2
                     AND id NOT IN (SELECT run_id FROM inbound WHERE state IN ('pending', 'in_flight') AND run_id IS NOT NULL)
                     AND id NOT IN (SELECT run_id FROM outbox WHERE turn_open = 1 AND run_id IS NOT NULL),
                     1, coalesce(octet_length(error), 0)
                   FROM runs WHERE id > ?1 AND id < ?4 ORDER BY id LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&first), &Ms(before), &PAGE, &end]).map(Page::of)
    };
    walk(store, find, |tx, id| {
        delete(tx, "DELETE FROM runs WHERE id = ?1 AND state NOT IN ('starting', 'running')", id)
    })
    .await
}

/// Deletes ended firings, and then ended tasks that have no firings left.
pub async fn tasks(store: &Store, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let find = move |db: &Connection, from: Option<&(String, i64)>| {
        let mut s = db.prepare_cached(
            "SELECT task_id, due, state NOT IN ('claimed', 'running') AND coalesce(ended_at, claimed_at) < ?3
               AND (due < (SELECT max(due) FROM fires later WHERE later.task_id = fires.task_id)
                    OR NOT EXISTS (SELECT 1 FROM tasks WHERE id = task_id AND status IN ('active', 'paused'))),
               coalesce(octet_length(result), 0) + coalesce(octet_length(error), 0)
             FROM fires WHERE (task_id, due) > (?1, ?2) ORDER BY task_id, due LIMIT ?4",
        )?;
        let first = (String::new(), i64::MIN);
        let (task, due) = from.unwrap_or(&first);
        let rows = s.query_map((task, due, Ms(before), PAGE), |row| {
            Ok(((row.get(0)?, row.get(1)?), row.get(2)?, true, row.get(3)?))
        })?;
        Ok(Page::of(rows.collect::<Result<_, _>>()?))
    };
    let gone = walk(store, find, |tx, (task, due)| {
        let sql = "DELETE FROM fires WHERE task_id = ?1 AND due = ?2 AND state NOT IN ('claimed', 'running')";
        Ok(tx.prepare_cached(sql)?.execute((task, due))?)
    })
    .await?;
    let find = move |db: &Connection, from: Option<&String>| {
        let first = String::new();
        let sql = "SELECT id, created_at < ?2 AND NOT EXISTS (SELECT 1 FROM fires WHERE task_id = tasks.id), 1,
                     octet_length(prompt)
                   FROM tasks WHERE id > ?1 AND status IN ('completed', 'cancelled') ORDER BY id LIMIT ?3";
        rows(db, sql, &[from.unwrap_or(&first), &Ms(before), &PAGE]).map(Page::of)
    };
    let ended = walk(store, find, |tx, id| {
        let sql = "DELETE FROM tasks WHERE id = ?1 AND status IN ('completed', 'cancelled')
                     AND NOT EXISTS (SELECT 1 FROM fires WHERE task_id = ?1)";
        delete(tx, sql, id)
    })
    .await?;
    Ok(gone + ended)
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
